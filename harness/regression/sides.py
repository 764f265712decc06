"""What ``touchstone check`` compares: folders, runs and methods by what a user types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.catalog import Suite
from harness.errors import ExitCode, TouchstoneError
from harness.execute import Progress, Session
from harness.record import Record
from harness.registry import parse_method
from harness.regression.check import Cell, Stored, newest, pair_stored, run_candidates
from harness.store import Store


def baseline_of(text: str, results: Store, suite: Suite | None) -> list[Stored]:
    """The runs of a results folder, or the one run of *results* whose id *text* begins; of *suite* alone
    where one is given. None at all is a TouchstoneError that ends in *nothing measured*.
    """
    found = _stored(text, results)
    if suite is not None:
        names = {task.name for task in suite.tasks}
        found = [one for one in found if one.record.run.task.name in names]
    if not found:
        raise TouchstoneError(
            "the baseline holds no finished run" + (f" of the suite '{suite.name}'" if suite else ""),
            where=text,
            fix=f"touchstone run --suite {suite.name if suite else 'NAME'} --results {text}",
            exit_code=ExitCode.NOTHING_MEASURED,
        )
    return found


def cells_of(
    baseline: Sequence[Stored], candidate: str | None, results: Store, session: Session, progress: Progress
) -> list[Cell]:
    """Pair *baseline* with what *candidate* names: a folder, a run id, a method, or None for its own methods
    run again. What has to run, runs in *session*.
    """
    if candidate is None:
        return run_candidates(baseline, session, progress)
    if Path(candidate).is_dir():
        return pair_stored(baseline, newest(Store(Path(candidate))))
    if _is_run(candidate, results):
        record = results.get(candidate)
        return [_against(one, Stored(results, record)) for one in baseline if _same_task(one, record)] or [
            Cell(one, problem=f"the candidate is of the task {record.run.task.name}") for one in baseline
        ]
    method = parse_method(candidate)
    tasks = [one.record.run.task.name for one in baseline]
    if len(set(tasks)) != len(tasks):
        raise TouchstoneError(
            "the baseline holds several methods of one task",
            why=f"{candidate} is to be compared with one",
            fix="name the baseline run by its id",
        )
    return run_candidates(baseline, session, progress, method)


def _stored(text: str, results: Store) -> list[Stored]:
    if Path(text).is_dir():
        return newest(Store(Path(text)))
    if _is_run(text, results):
        return [Stored(results, results.get(text))]
    raise TouchstoneError(
        "the baseline is neither a folder nor a run", where=text, why=f"runs are looked for in {results.root}"
    )


def _is_run(text: str, results: Store) -> bool:
    """Whether *text* begins the id of a stored run; one that begins several is left to ``Store.get``."""
    return any(record.id.startswith(text) for record in results.find())


def _same_task(one: Stored, record: Record) -> bool:
    return one.record.run.task.name == record.run.task.name


def _against(one: Stored, candidate: Stored) -> Cell:
    if candidate.record.status != "done":
        return replace(Cell(one), problem=f"the run {candidate.record.id} failed")
    return Cell(one, candidate)
