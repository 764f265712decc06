"""What a request means: its cells, which of them are stored already, which cannot run here and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.errors import TouchstoneError
from harness.execute import Planned, Session
from harness.record import Record
from harness.registry import adapter_named
from harness.spec import MethodSpec, RunSpec, TaskSpec

State = Literal["stored", "to do", "not here"]


@dataclass(frozen=True)
class Cell:
    """One method on one task, and where it stands."""

    run: RunSpec
    state: State
    planned: Planned | None = None
    record: Record | None = None
    problem: TouchstoneError | None = None


@dataclass(frozen=True)
class Request:
    """Tasks and methods to pair. A method is paired with the tasks of the kinds that it does."""

    tasks: Sequence[TaskSpec]
    methods: Sequence[MethodSpec]
    seed: int = 0
    limit: int = 0

    def runs(self) -> Iterable[RunSpec]:
        """Task by task, methods in the given order."""
        for task in self.tasks:
            for method in self.methods:
                if task.kind in adapter_named(method.adapter).kinds:
                    yield RunSpec(method, task, self.seed, self.limit)


def cells(request: Request, session: Session) -> list[Cell]:
    """Every cell of a request with its state."""
    return [_cell(run, session) for run in request.runs()]


def _cell(run: RunSpec, session: Session) -> Cell:
    try:
        planned = session.plan(run)
    except TouchstoneError as error:
        return Cell(run, "not here", problem=error)
    record = session.store.done(planned.id, run.task.name, run.method.name)
    return Cell(run, "stored" if record else "to do", planned, record)
