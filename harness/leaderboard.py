"""What the leaderboard shows, worked out from stored results. No page is written here.

A result is current when its run is done, has seed 0 and all items, and is the newest of its method and task.
A task's current results all come from one version of its data: the one that most methods were measured on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from harness.answers import Ints
from harness.catalog import Catalog, Suite
from harness.errors import TouchstoneError
from harness.record import Cost, Record
from harness.registry import find_adapters
from harness.scores import Summary, mean_of
from harness.spec import Kind, MethodSpec, TaskSpec, digest
from harness.stats import bootstrap_interval, holm, paired_randomisation
from harness.store import Store

if TYPE_CHECKING:
    import pandas as pd

Doubles = npt.NDArray[np.float64]

ALPHA = 0.05
RESAMPLES = 2_000  # for rank intervals
BLOCK = 1 << 24  # random numbers drawn at once


@dataclass(frozen=True)
class Method:
    """A row: an adapter with settings, whatever names it was stored under. bound: a floor or a ceiling, never ranked.

    kinds is empty when the adapter is not installed here.
    """

    key: str
    name: str
    spec: MethodSpec
    bound: bool
    kinds: frozenset[Kind]


@dataclass(frozen=True, eq=False)
class TaskResults:
    """A column. current and failed by method key; a method is in one of them at most.

    values: float64[n, m] of the main measure, columns in the order of *current*; groups int[n]: the score is the
    mean of group means (one group for most measures). items: the ids of the n items.
    """

    task: TaskSpec
    current: Mapping[str, Record]
    failed: Mapping[str, Record]
    items: tuple[str, ...]
    values: Doubles
    groups: Ints


@dataclass(frozen=True, eq=False)
class Pool:
    """Scores of the same items, of one task or several: values float64[n, m], strata int[n].

    A method's score is the mean over strata of its mean in each of them. Several tasks are strata, so that each
    counts alike; where a task's measure is itself a mean of group means, its groups are, scaled to count as one task.
    """

    values: Doubles
    strata: Ints

    def score(self, column: int) -> Summary:
        """The score of a method with its bootstrap interval."""
        values = self.values[:, column]
        low, high = bootstrap_interval(values, groups=self.strata)
        return Summary(mean_of(values, self.strata), low, high, len(values))


@dataclass(frozen=True)
class Pair:
    """Two methods on the same items. difference: better - worse, with its 95 % bootstrap interval low..high.

    p_value: paired randomisation test, corrected by Holm over all pairs of the same table.
    wins, losses, ties: items where *better* is above, below, equal.
    """

    better: str
    worse: str
    difference: float
    low: float
    high: float
    p_value: float
    wins: int
    losses: int
    ties: int


@dataclass(frozen=True)
class Row:
    """A method on the tasks of a suite. cells: its current (else its failed) record on each task, None where neither is.

    score is None when a cell is missing or failed, or when the suite is not averaged. rank: 95 % interval of its
    rank; tier: from 1 for the best; behind: the leader against it (None for the leader). Only ranked rows have these.
    """

    method: Method
    cells: tuple[Record | None, ...]
    score: Summary | None = None
    cost: Cost | None = None
    rank: tuple[int, int] | None = None
    tier: int = 0
    behind: Pair | None = None

    @property
    def complete(self) -> bool:
        """Whether every task has a result."""
        return all(cell is not None and cell.status == "done" for cell in self.cells)


@dataclass(frozen=True)
class Board:
    """A suite's leaderboard. ranked: best first; bounds: floors and ceilings; incomplete: rows with a hole."""

    suite: Suite
    ranked: tuple[Row, ...]
    bounds: tuple[Row, ...]
    incomplete: tuple[Row, ...]
    not_run: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Results:
    """All that a site shows. records: newest first; methods by key; tasks by name; left_out: suites that cannot be read."""

    records: tuple[Record, ...]
    methods: Mapping[str, Method]
    tasks: Mapping[str, TaskResults]
    boards: tuple[Board, ...]
    left_out: tuple[str, ...]


def read_results(store: Store, catalog: Catalog) -> Results:
    """Everything in *store*, arranged by the suites and tasks of *catalog*."""
    records = _once_each(store.find())
    methods = methods_of(records)
    names = sorted({record.run.task.name for record in records})
    tasks = {
        name: task_results([r for r in records if r.run.task.name == name], catalog.tasks.get(name), store)
        for name in names
    }
    boards, left_out = [], []
    for name in sorted(catalog.suite_files()):
        try:
            suite = catalog.suite(name)
        except TouchstoneError as error:
            left_out.append(error.line)
            continue
        if any(task.name in tasks for task in suite.tasks):
            boards.append(board(suite, tasks, methods))
    return Results(tuple(reversed(records)), methods, tasks, tuple(boards), tuple(left_out))


def method_key(record: Record) -> str:
    """One key for all names of an adapter with the same settings."""
    return digest(record.run.method.identity)


def methods_of(records: Sequence[Record]) -> dict[str, Method]:
    """The methods of *records* (oldest first), each under its newest name; names that clash get their settings added."""
    specs = {method_key(record): record.run.method for record in records}
    names = [spec.name for spec in specs.values()]
    adapters = find_adapters().adapters
    found = {}
    for key, spec in sorted(specs.items(), key=lambda pair: (pair[1].name, pair[0])):
        name = spec.name if names.count(spec.name) == 1 else f"{spec.name}: {spec.expression}"
        adapter = adapters.get(spec.adapter)
        found[key] = Method(
            key, name, spec, adapter.bound if adapter else False, adapter.kinds if adapter else frozenset()
        )
    return found


def current_records(records: Iterable[Record], measure: str) -> dict[str, Record]:
    """The current results among one task's records (oldest first), by method key."""
    versions: dict[str, dict[str, Record]] = {}
    for record in records:
        whole = record.status == "done" and not record.run.limit and not record.run.seed
        if whole and measure in record.scores:
            versions.setdefault(str(record.provenance.get("data")), {})[method_key(record)] = record
    if not versions:
        return {}
    chosen = max(versions.values(), key=lambda v: (len(v), max((r.finished, r.id) for r in v.values())))
    return dict(sorted(chosen.items()))


def task_results(records: Sequence[Record], spec: TaskSpec | None, store: Store) -> TaskResults:
    """The column of one task. spec: the task as defined now; None takes it from the newest record."""
    task = spec or records[-1].run.task
    current = current_records(records, task.main_measure)
    failed = {
        method_key(record): record
        for record in records
        if record.status == "failed" and not record.run.limit and not record.run.seed
    }
    failed = {key: record for key, record in sorted(failed.items()) if key not in current}
    frames = {key: _items(store, record) for key, record in current.items()}
    if not frames:
        return TaskResults(task, current, failed, (), np.empty((0, 0)), np.empty(0, np.int32))
    first = next(iter(frames.values()))
    for key, frame in frames.items():
        if list(frame["item"]) != list(first["item"]):
            raise TouchstoneError("its items are not those of the other runs", where=f"run {current[key].id}")
    values = np.stack([frame[task.main_measure].to_numpy(np.float64) for frame in frames.values()], axis=1)
    return TaskResults(
        task, current, failed, tuple(first["item"]), values, _groups(first, task.main_measure)
    )


def pool(columns: Sequence[TaskResults], keys: Sequence[str]) -> Pool:
    """The scores of the methods *keys* on all of *columns*; each must be current there."""
    sizes = [int(column.groups.max()) + 1 for column in columns]
    parts, strata = [], []
    for number, column in enumerate(columns):
        order = {key: place for place, key in enumerate(column.current)}
        share = sum(sizes) / (len(columns) * sizes[number])
        parts.append(column.values[:, [order[key] for key in keys]] * share)
        strata.append(column.groups + sum(sizes[:number]))
    return Pool(np.concatenate(parts), np.concatenate(strata))


def rank_intervals(scores: Pool, seed: int = 0) -> list[tuple[int, int]]:
    """The 95 % interval of each method's rank over RESAMPLES bootstrap resamples of the items.

    Items are drawn within strata, the same for all methods; equal scores share the better rank.
    """
    generator = np.random.default_rng(seed)
    count = int(scores.strata.max()) + 1
    totals = np.zeros((RESAMPLES, scores.values.shape[1]))
    for stratum in range(count):
        values = scores.values[scores.strata == stratum]
        n = len(values)
        rows = max(1, BLOCK // n)
        for start in range(0, RESAMPLES, rows):
            part = min(rows, RESAMPLES - start)
            draws = generator.integers(0, n, (part, n)) + n * np.arange(part)[:, None]
            times = np.bincount(draws.ravel(), minlength=part * n).reshape(part, n)
            totals[start : start + part] += times @ values / (n * count)
    ranks = np.stack(
        [1 + (totals > totals[:, [column]] + 1e-12).sum(axis=1) for column in range(totals.shape[1])], axis=1
    )
    low, high = np.quantile(ranks, [0.025, 0.975], axis=0, method="inverted_cdf")
    return list(zip(low.astype(int).tolist(), high.astype(int).tolist(), strict=True))


def compare_all(scores: Pool, keys: Sequence[str]) -> list[Pair]:
    """Every pair of *keys*, which come best first.

    The number of sign flips grows with that of pairs, so that the smallest p-value stays below ALPHA after Holm.
    """
    weights = 1.0 / np.bincount(scores.strata)[scores.strata]
    couples = [(a, b) for a in range(len(keys)) for b in range(a + 1, len(keys))]
    flips = max(10_000, 40 * len(couples))
    found, p_values = [], []
    for a, b in couples:
        left, right = scores.values[:, a], scores.values[:, b]
        p_values.append(paired_randomisation(left * weights, right * weights, flips))
        low, high = bootstrap_interval(left - right, groups=scores.strata)
        wins, losses = int((left > right).sum()), int((left < right).sum())
        difference = mean_of(left - right, scores.strata)
        found.append((keys[a], keys[b], difference, low, high, wins, losses, len(left) - wins - losses))
    corrected = holm(np.array(p_values)).tolist() if found else []
    return [
        Pair(*pair[:5], p_value, *pair[5:]) for pair, p_value in zip(found, corrected, strict=True)
    ]


def tiers(keys: Sequence[str], pairs: Iterable[Pair]) -> dict[str, int]:
    """The tier of each method of *keys* (best first).

    The best method leads tier 1; a method joins the first tier whose leader is not separated from it (corrected
    p < ALPHA separates), else it leads a tier of its own.
    """
    separated = {(pair.better, pair.worse) for pair in pairs if pair.p_value < ALPHA}
    leaders: list[str] = []
    found = {}
    for key in keys:
        place = next((n for n, leader in enumerate(leaders) if (leader, key) not in separated), len(leaders))
        if place == len(leaders):
            leaders.append(key)
        found[key] = place + 1
    return found


def competitors(column: TaskResults, methods: Mapping[str, Method]) -> list[str]:
    """The methods to rank on a task: all with a current result but the bounds, best first."""
    scores = {key: record.scores[column.task.main_measure].value for key, record in column.current.items()}
    keys = [key for key in column.current if not methods[key].bound]
    return sorted(keys, key=lambda key: (-scores[key], methods[key].name))


def board(suite: Suite, tasks: Mapping[str, TaskResults], methods: Mapping[str, Method]) -> Board:
    """The leaderboard of a suite: every method with a record on one of its tasks."""
    columns = [tasks[task.name] for task in suite.tasks if task.name in tasks]
    keys = sorted({key for column in columns for key in (*column.current, *column.failed)})
    rows = {key: Row(methods[key], tuple(_cells(suite, tasks, key))) for key in keys}
    complete = [key for key, row in rows.items() if row.complete]
    scored = _scored(suite, columns, {key: rows[key] for key in complete})
    bounds = [scored.get(key, row) for key, row in rows.items() if row.method.bound]
    holes = [row for row in rows.values() if not row.method.bound and not row.complete]
    ranked = _ranked([row for row in scored.values() if not row.method.bound], columns)
    known = {digest(row.method.spec.identity) for row in rows.values()}
    not_run = [method.name for method in suite.methods if digest(method.identity) not in known]
    return Board(
        suite,
        tuple(ranked),
        tuple(sorted(bounds, key=_place)),
        tuple(sorted(holes, key=_place)),
        tuple(not_run),
    )


def hardest(column: TaskResults, keys: Sequence[str], count: int) -> list[tuple[str, float, float]]:
    """The items with the lowest mean score of the methods *keys*: (item, mean, best), lowest first."""
    order = list(column.current)
    values = column.values[:, [order.index(key) for key in keys]]
    means, best = values.mean(axis=1), values.max(axis=1)
    worst = sorted(range(len(values)), key=lambda item: (means[item], best[item], item))[:count]
    return [(column.items[item], float(means[item]), float(best[item])) for item in worst]
