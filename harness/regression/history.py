"""A number over the runs of a method on a task, and where it changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from harness.compare import pair_items
from harness.errors import ExitCode, TouchstoneError
from harness.record import Record
from harness.regression.check import Stored
from harness.spec import MethodSpec
from harness.stats import Comparison, compare_paired
from harness.stats.intervals import Doubles, checked
from harness.store import Store

LEAST = 2  # runs on either side of a change
SHUFFLES = 9_999
BLOCK = 1 << 22  # numbers shuffled at once


@dataclass(frozen=True)
class Change:
    """From run *at* on (position from 0) the mean is *after* instead of *before*. p_value: by permutation."""

    at: int
    before: float
    after: float
    p_value: float


@dataclass(frozen=True)
class Point:
    """A run of a history. value: of the measure or cost; step: against the run before it, item by item, None
    for the first one, for costs, and where the two do not share data or items.
    """

    record: Record
    value: float
    step: Comparison | None


def history(stores: Sequence[Store], method: MethodSpec, task: str) -> list[Stored]:
    """The finished whole runs of *method*, by name or by adapter and settings, on *task*, oldest first.

    A run that several stores hold counts once. No run is a TouchstoneError that ends in *nothing measured*.
    """
    found: dict[str, Stored] = {}
    for store in stores:
        for record in store.find(task):
            same = method.name == record.run.method.name or method.identity == record.run.method.identity
            if same and record.status == "done" and not record.run.limit:
                found.setdefault(record.id, Stored(store, record))
    if not found:
        raise TouchstoneError(
            f"no finished run of {method.name} on {task}",
            where=", ".join(str(store.root) for store in stores),
            fix=f"touchstone run --task {task} --method '{method.expression}'",
            exit_code=ExitCode.NOTHING_MEASURED,
        )
    return sorted(found.values(), key=lambda one: (one.record.finished, one.record.id))


def scores_of(runs: Sequence[Stored], measure: str) -> list[Point]:
    """The points of a measure; '' for the main one. Runs without it are left out."""
    name = measure or runs[-1].record.run.task.main_measure
    held = [one for one in runs if name in one.record.scores]
    if not held:
        known = ", ".join(runs[-1].record.scores)
        raise TouchstoneError(f"no run has '{name}'", fix=f"known: {known}")
    steps = [None, *(_step(*two, name) for two in pairwise(held))]
    values = [one.record.scores[name].value for one in held]
    return [Point(one.record, v, step) for one, v, step in zip(held, values, steps, strict=True)]


def _step(before: Stored, after: Stored, measure: str) -> Comparison | None:
    try:
        paired = pair_items((before.store, before.record), (after.store, after.record), measure)
    except TouchstoneError:
        return None  # other data or items: shown as a break
    b, a = paired.items["b"].to_numpy(np.float64), paired.items["a"].to_numpy(np.float64)
    return compare_paired(b, a, groups=paired.groups)


def change_points(values: Doubles, alpha: float = 0.05, seed: int = 0) -> list[Change]:
    """Changes of the mean of values float64[n], in the order of time.

    The split with the largest drop of the squared error is a change when at most a share *alpha* of random
    orders of the same values has one as large; both sides are then searched in the same way (binary
    segmentation, Scott & Knott 1974, with the permutation test of Matteson & James 2014). Fewer than six
    values never show a change at 0.05: too few orders exist.
    """
    values = checked(values)
    ends = sorted(_splits(values, 0, len(values), (alpha, seed)))
    edges = [0, *(at for at, _ in ends), len(values)]
    means = [float(values[a:b].mean()) for a, b in pairwise(edges)]
    return [Change(at, means[n], means[n + 1], p) for n, (at, p) in enumerate(ends)]


def _splits(values: Doubles, start: int, stop: int, test: tuple[float, int]) -> list[tuple[int, float]]:
    part = values[start:stop]
    if len(part) < 2 * LEAST or np.ptp(part) == 0.0:
        return []
    gains = _gains(part[None])[0]
    at = int(gains.argmax())
    p_value = _permutation(part, float(gains[at]), test[1])
    if p_value > test[0]:
        return []
    middle = start + LEAST + at
    return [(middle, p_value), *_splits(values, start, middle, test), *_splits(values, middle, stop, test)]


def _gains(rows: Doubles) -> Doubles:
    """float64[r, n - 2 LEAST + 1]: the squared error that a split of each row after LEAST, LEAST + 1, ...
    values takes away.
    """
    n = rows.shape[1]
    left = np.cumsum(rows - rows.mean(axis=1, keepdims=True), axis=1)[:, LEAST - 1 : n - LEAST]
    sizes = np.arange(LEAST, n - LEAST + 1)
    gains: Doubles = left**2 * n / (sizes * (n - sizes))
    return gains


def _permutation(part: Doubles, reached: float, seed: int) -> float:
    generator, extreme, rows = np.random.default_rng(seed), 0, max(1, BLOCK // len(part))
    for first in range(0, SHUFFLES, rows):
        shuffled = generator.permuted(np.tile(part, (min(rows, SHUFFLES - first), 1)), axis=1)
        extreme += int((_gains(shuffled).max(axis=1) >= reached * (1.0 - 1e-12)).sum())
    return (1 + extreme) / (1 + SHUFFLES)
