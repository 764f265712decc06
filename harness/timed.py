"""The timed mode: latency of single queries, one after the other, over a loaded model and index."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from harness.answers import Ints
from harness.errors import TouchstoneError
from harness.execute import Planned, Progress, Session
from harness.meter import machine
from harness.modes import Mode, in_mode
from harness.record import Latency, Record
from harness.store import limited


@dataclass(frozen=True)
class TimedSpec:
    """How many items are timed, after how many that only warm up; fewer when the task has fewer."""

    count: int = 200
    warm_up: int = 20


def time_single(
    session: Session, record: Record, planned: Planned, spec: TimedSpec, progress: Progress
) -> Record:
    """The stored *record* with the latency of its method on its task.

    The adapter answers a seeded sample of the items in blocks of one; a query's latency is the time from the
    request for its block to its answer. Loading, indexing and the rankings of other methods come before the
    first block and do not count. The answers are thrown away: those of the run stay as they are.
    """
    task = limited(planned.task, planned.run.limit)
    items, warm_up = _sample(task.items, spec)
    context = session.context(planned, progress)
    seconds = []
    with in_mode(Mode(single_items=True)):
        answering = iter(planned.adapter.run(task.select(items), context))
        for number in range(len(items)):
            start = time.perf_counter()
            answers = next(answering, None)
            seconds.append(time.perf_counter() - start)
            if answers is None or len(answers) != 1:
                raise TouchstoneError(
                    f"{planned.run.method.name} cannot be timed query by query",
                    why=f"it gave {0 if answers is None else len(answers)} answers at once",
                    fix="its run must cut the items with harness.tasks.base.blocks",
                )
            progress("timed", number + 1, len(items))
    p50, p95, p99 = np.percentile(seconds[warm_up:], [50, 95, 99]).round(9).tolist()
    latency = Latency(
        p50,
        p95,
        p99,
        count=len(items) - warm_up,
        warm_up=warm_up,
        hardware={**machine(), "device": session.device},
        excludes=planned.adapter.part_methods(),
        measured=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return session.store.add_latency(record, latency)


def _sample(items: Ints, spec: TimedSpec) -> tuple[Ints, int]:
    """(items drawn without repetition, the same at every call; how many of the first warm up, at least one:
    its time holds the loading).
    """
    if len(items) < 2:
        raise TouchstoneError("too few items to time", why=f"there are {len(items)}", fix="2 or more")
    warm_up = max(1, min(spec.warm_up, len(items) // 3))
    return np.random.default_rng(0).permutation(items)[: warm_up + spec.count], warm_up
