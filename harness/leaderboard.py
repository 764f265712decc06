"""What the leaderboard shows, worked out from stored results. No page is written here.

A result is current when its run is done, has seed 0 and all items, and is the newest of its method and task.
A task's current results all come from one version of its data: the one that most methods were measured on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from harness.answers import Ints
from harness.catalog import Catalog, Suite
from harness.errors import TouchstoneError
from harness.ranking import Pair, Pool, compare, corrected_p_values, rank_intervals, tiers
from harness.record import Cost, Record
from harness.registry import find_adapters
from harness.scores import Summary
from harness.spec import Kind, MethodSpec, TaskSpec, digest
from harness.store import Store
from harness.tasks.choose import GROUPED

if TYPE_CHECKING:
    import pandas as pd

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Method:
    """A row: an adapter with settings, whatever names it was stored under.

    bound: a floor or a ceiling, never ranked. kinds is empty when the adapter is not installed here.
    """

    key: str
    name: str
    spec: MethodSpec
    bound: bool
    kinds: frozenset[Kind]


@dataclass(frozen=True, eq=False)
class TaskResults:
    """A column. current and failed by method key; a method is in one of them at most.

    values: float64[n, m] of the main measure, columns in the order of *current*. groups int[n]: the score is
    the mean of group means (one group for most measures). items: the ids of the n items.
    """

    task: TaskSpec
    current: Mapping[str, Record]
    failed: Mapping[str, Record]
    items: tuple[str, ...]
    values: Doubles
    groups: Ints


@dataclass(frozen=True)
class Row:
    """A method on the tasks of a suite. cells: its current (else failed) record on each task, None without.

    score and cost are None when a cell is missing or failed, or when the suite is not averaged. Only
    ranked rows have rank (95 % interval), tier (from 1 for the best) and behind (the leader against it;
    None for the leader).
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
    """A suite's leaderboard. ranked: best first; bounds: floors and ceilings; incomplete: rows with a hole.

    not_run: the suite's own methods that have no record.
    """

    suite: Suite
    ranked: tuple[Row, ...]
    bounds: tuple[Row, ...]
    incomplete: tuple[Row, ...]
    not_run: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Results:
    """All that a site shows. records: newest first; methods by key; tasks by name.

    left_out: a line for each suite that cannot be read.
    """

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
    """The methods of *records* (oldest first), by newest name; equal names get their settings added."""
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
    return TaskResults(task, current, failed, tuple(first["item"]), values, _groups(first, task.main_measure))


def pool(columns: Sequence[TaskResults], keys: Sequence[str], weights: Sequence[float] | None = None) -> Pool:
    """The scores of the methods *keys* on all of *columns*; each must be current there.

    weights: how much each column counts, together 1; all alike by default.
    """
    weights = weights or [1 / len(columns)] * len(columns)
    sizes = [int(column.groups.max()) + 1 for column in columns]
    parts, strata = [], []
    for number, column in enumerate(columns):
        order = {key: place for place, key in enumerate(column.current)}
        share = sum(sizes) * weights[number] / sizes[number]
        parts.append(column.values[:, [order[key] for key in keys]] * share)
        strata.append(column.groups + sum(sizes[:number]))
    return Pool(np.concatenate(parts), np.concatenate(strata))


def competitors(column: TaskResults, methods: Mapping[str, Method]) -> list[str]:
    """The methods to rank on a task: all with a current result but the bounds, best first."""
    scores = {key: record.scores[column.task.main_measure].value for key, record in column.current.items()}
    keys = [key for key in column.current if not methods[key].bound]
    return sorted(keys, key=lambda key: (-scores[key], methods[key].name))


def board(suite: Suite, tasks: Mapping[str, TaskResults], methods: Mapping[str, Method]) -> Board:
    """The leaderboard of a suite: every method with a record on one of its tasks."""
    columns = [tasks.get(task.name) for task in suite.tasks]
    held = [column for column in columns if column is not None]
    keys = sorted({key for column in held for key in (*column.current, *column.failed)})
    rows = [Row(methods[key], tuple(_cell(column, key) for column in columns)) for key in keys]
    complete = [row for row in rows if row.complete]
    if complete and (suite.aggregate == "mean" or len(held) == 1):
        complete = _scored(complete, held, _weights(suite, held))
    bounds = [row for row in complete if row.method.bound]
    bounds += [row for row in rows if row.method.bound and not row.complete]
    ranked = _ranked([row for row in complete if not row.method.bound], held, _weights(suite, held))
    holes = [row for row in rows if not row.method.bound and not row.complete]
    seen = set(keys)
    not_run = tuple(method.name for method in suite.methods if digest(method.identity) not in seen)
    return Board(suite, ranked, _sorted(bounds), _sorted(holes), not_run)


def _cell(column: TaskResults | None, key: str) -> Record | None:
    return (column.current.get(key) or column.failed.get(key)) if column else None


def _weights(suite: Suite, columns: Sequence[TaskResults]) -> list[float]:
    """How much each column counts: tasks that the suite combines count together as one."""
    sizes = {name: len(names) for names in suite.combined.values() for name in names}
    shares = [1 / sizes.get(column.task.name, 1) for column in columns]
    return [share / sum(shares) for share in shares]


def _scored(rows: Sequence[Row], columns: Sequence[TaskResults], weights: Sequence[float]) -> list[Row]:
    scores = pool(columns, [row.method.key for row in rows], weights)
    return [replace(row, score=scores.score(n), cost=_total(row)) for n, row in enumerate(rows)]


def _ranked(rows: Sequence[Row], columns: Sequence[TaskResults], weights: Sequence[float]) -> tuple[Row, ...]:
    """Rows best first with rank, tier and distance to the leader; without scores, by name."""
    order = _sorted(rows)
    if not order or order[0].score is None:
        return order
    keys = [row.method.key for row in order]
    scores = pool(columns, keys, weights)
    p_values = corrected_p_values(scores)
    behind = [compare(scores, keys, 0, n, float(p_values[0, n])) if n else None for n in range(len(keys))]
    return tuple(
        replace(row, rank=rank, tier=tier, behind=pair)
        for row, rank, tier, pair in zip(order, rank_intervals(scores), tiers(p_values), behind, strict=True)
    )


def _sorted(rows: Iterable[Row]) -> tuple[Row, ...]:
    return tuple(sorted(rows, key=lambda row: (-row.score.value if row.score else 0.0, row.method.name)))


def _total(row: Row) -> Cost:
    """The costs of a complete row together: times and indexes add up, the peak is the largest."""
    records = [cell for cell in row.cells if cell]
    costs = [record.cost for record in records]
    items = [record.main.n if record.main else 0 for record in records]
    rates = [cost.items_per_second for cost in costs]
    answering = sum(n / rate for n, rate in zip(items, rates, strict=True)) if all(rates) else 0.0
    return Cost(
        seconds=sum(cost.seconds for cost in costs),
        reused_seconds=sum(cost.reused_seconds for cost in costs),
        items_per_second=sum(items) / answering if answering else 0.0,
        peak_memory_bytes=max(cost.peak_memory_bytes for cost in costs),
        index_bytes=sum(cost.index_bytes for cost in costs),
    )


def hardest(column: TaskResults, keys: Sequence[str], count: int) -> list[tuple[str, float, float]]:
    """The items with the lowest mean score of the methods *keys*: (item, mean, best), lowest first."""
    order = list(column.current)
    values = column.values[:, [order.index(key) for key in keys]]
    means, best = values.mean(axis=1), values.max(axis=1)
    worst = sorted(range(len(values)), key=lambda item: (means[item], best[item], item))[:count]
    return [(column.items[item], float(means[item]), float(best[item])) for item in worst]


def _once_each(records: Iterable[Record]) -> list[Record]:
    """Records oldest first, one for each run: one stored under two method names keeps the newer."""
    kept: dict[str, Record] = {}
    for record in sorted(records, key=lambda r: (r.status == "done", r.finished)):
        kept[record.id] = record
    return sorted(kept.values(), key=lambda record: (record.finished, record.id))


def _items(store: Store, record: Record) -> pd.DataFrame:
    try:
        return store.items(record)
    except (OSError, ValueError) as error:
        raise TouchstoneError(
            "cannot read the per-item scores", where=str(store.folder(record)), why=str(error)
        ) from error


def _groups(frame: pd.DataFrame, measure: str) -> Ints:
    """int32[n]: the group of each item when *measure* averages group means, else all 0."""
    if measure not in GROUPED:
        return np.zeros(len(frame), np.int32)
    numbers = {name: number for number, name in enumerate(sorted(set(frame["group"])))}
    return np.array([numbers[name] for name in frame["group"]], np.int32)
