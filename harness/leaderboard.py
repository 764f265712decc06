"""What the leaderboard shows, worked out from stored results. No page is written here."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from harness.catalog import Catalog, Suite
from harness.columns import (
    Before,
    Chosen,
    ItemScores,
    Method,
    TaskResults,
    choose,
    methods_of,
    pool,
    read_scores,
)
from harness.errors import TouchstoneError
from harness.parallel import MOST, each
from harness.ranking import Pair, Pool
from harness.record import Cost, Latency, Record, read_bytes, record_of
from harness.scores import Summary
from harness.spec import MethodSpec, digest
from harness.standings import item_weights, standings, summaries_of
from harness.stats import borda
from harness.store import Store
from harness.walk import parts_of, records_below

WORTH = 2_000  # results from which several processes pay
BATCH = 500  # folders of a store that one process looks through before it gets others


@dataclass(frozen=True)
class Row:
    """A method on the tasks of a suite. cells: its current (else failed) record on each task, None without.

    score and cost are None when a cell is missing or failed, or when the suite is not averaged; latency is
    the slowest task's, None unless all were timed. Only ranked rows have rank (95 % interval), tier (from 1
    for the best), points (Borda's count over the tasks) and behind (the leader against it; None for the
    leader).
    """

    method: Method
    cells: tuple[Record | None, ...]
    score: Summary | None = None
    cost: Cost | None = None
    latency: Latency | None = None
    points: float | None = None
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
    """All that a site shows. records: newest first; methods by key; tasks by name. left_out: a line for each
    suite that cannot be read. digests, sizes: SHA-256 and bytes of each record's file, by run id.
    """

    records: tuple[Record, ...]
    methods: Mapping[str, Method]
    tasks: Mapping[str, TaskResults]
    boards: tuple[Board, ...]
    left_out: tuple[str, ...]
    digests: Mapping[str, str]
    sizes: Mapping[str, int]


def read_results(store: Store, catalog: Catalog, before: Path | None = None) -> Results:
    """Everything in *store*, arranged by the suites and tasks of *catalog*.

    before: folder of the tasks of an earlier build, whose per-item scores are taken where they are the same.
    """
    parts = parts_of(store.root)
    processes = MOST if len(parts) >= WORTH else 1  # also beyond the cores: they wait for the disk
    batches = [parts[start : start + BATCH] for start in range(0, len(parts), BATCH)]
    stored = _once_each(one for batch in each(_records, None, batches, processes) for one in batch)
    records = [one.record for one in stored]
    _share_methods(records)
    digests = {one.record.id: one.sha256 for one in stored}
    sizes = {one.record.id: one.bytes for one in stored}
    by_task: dict[str, list[Record]] = {}
    for record in records:
        by_task.setdefault(record.run.task.name, []).append(record)
    names = sorted(by_task)
    chosen = {name: choose(by_task[name], catalog.tasks.get(name)) for name in names}
    shared = _Shared(chosen, store, Before(before, digests) if before else None)
    scores = each(_scores, shared, names, processes)
    tasks = {name: TaskResults(*chosen[name], *found) for name, found in zip(names, scores, strict=True)}
    methods = methods_of(records)
    boards, left_out = [], []
    for name in sorted(catalog.suite_files()):
        try:
            suite = catalog.suite(name)
        except TouchstoneError as error:
            left_out.append(error.line)
            continue
        if any(task.name in tasks for task in suite.tasks):
            boards.append(board(suite, tasks, methods))
    newest_first = tuple(reversed(records))
    return Results(newest_first, methods, tasks, tuple(boards), tuple(left_out), digests, sizes)


@dataclass(frozen=True, eq=False)
class _Shared:
    chosen: Mapping[str, Chosen]
    store: Store
    before: Before | None


class _Stored(NamedTuple):
    record: Record
    sha256: str  # of its file
    bytes: int


def _records(_: None, parts: Sequence[str]) -> list[_Stored]:
    """The records below some folders."""
    found = []
    same: dict[Any, Any] = {}
    for path in (path for part in parts for path in records_below(part)):
        text = read_bytes(path)
        record = _compact(record_of(text, path), same)
        record.run.method.key  # noqa: B018  worked out here, by one of several processes, and kept
        found.append(_Stored(record, hashlib.sha256(text).hexdigest(), len(text)))
    return found


def _compact(record: Record, same: dict[Any, Any]) -> Record:
    """The record with one object for all equal values of *same*: a large store must fit into memory."""

    def one(value: Any) -> Any:
        return same.setdefault(repr(value), value) if isinstance(value, dict) else value

    def named(values: Mapping[str, Any]) -> dict[str, Any]:
        return {sys.intern(name): one(value) for name, value in values.items()}

    latency = record.latency
    return replace(
        record,
        run=replace(record.run, task=same.setdefault(record.run.task, record.run.task)),
        scores=named(record.scores),
        counts=one(record.counts),
        cost=replace(record.cost, phases=named(record.cost.phases)),
        provenance=named(record.provenance),
        latency=replace(latency, hardware=one(latency.hardware)) if latency else None,
    )


def _share_methods(records: Iterable[Record]) -> None:
    """Give runs of one method one object: those of different tasks come from different processes."""
    methods: dict[tuple[str, str], MethodSpec] = {}
    for record in records:
        method = record.run.method
        shared = methods.setdefault((method.key, method.name), method)
        object.__setattr__(record.run, "method", shared)  # frozen, and nobody has seen it yet


def _scores(shared: _Shared, name: str) -> ItemScores:
    task, current, _ = shared.chosen[name]
    return read_scores(task, list(current.values()), shared.store, shared.before)


def board(suite: Suite, tasks: Mapping[str, TaskResults], methods: Mapping[str, Method]) -> Board:
    """The leaderboard of a suite: every method with a record on one of its tasks."""
    columns = [tasks.get(task.name) for task in suite.tasks]
    held = [column for column in columns if column is not None]
    keys = sorted({key for column in held for key in (*column.current, *column.failed)})
    rows = [Row(methods[key], tuple(_cell(column, key) for column in columns)) for key in keys]
    ranked: Sequence[Row] = [row for row in rows if row.complete and not row.method.bound]
    bounds: Sequence[Row] = [row for row in rows if row.complete and row.method.bound]
    if suite.aggregate == "mean" or len(held) == 1:
        ranked = _ranked(ranked, held, _weights(suite, held)) if ranked else ()
        bounds = _scored(bounds, held, _weights(suite, held)) if bounds else ()
    bounds = [*bounds, *(row for row in rows if row.method.bound and not row.complete)]
    holes = [row for row in rows if not row.method.bound and not row.complete]
    seen = set(keys)
    not_run = tuple(method.name for method in suite.methods if digest(method.identity) not in seen)
    return Board(suite, _sorted(ranked), _sorted(bounds), _sorted(holes), not_run)


def _cell(column: TaskResults | None, key: str) -> Record | None:
    return (column.current.get(key) or column.failed.get(key)) if column else None


def _weights(suite: Suite, columns: Sequence[TaskResults]) -> list[float]:
    """How much each column counts: tasks that the suite combines count together as one."""
    sizes = {name: len(names) for names in suite.combined.values() for name in names}
    shares = [1 / sizes.get(column.task.name, 1) for column in columns]
    return [share / sum(shares) for share in shares]


def _scored(rows: Sequence[Row], columns: Sequence[TaskResults], weights: Sequence[float]) -> list[Row]:
    """Complete rows with score and costs."""
    scores = summaries_of(pool(columns, [row.method.key for row in rows], weights))
    return [
        replace(row, score=score, cost=_total(row), latency=_slowest(row))
        for row, score in zip(rows, scores, strict=True)
    ]


def _ranked(rows: Sequence[Row], columns: Sequence[TaskResults], weights: Sequence[float]) -> list[Row]:
    """Complete rows best first, with score, costs, rank, tier and distance to the leader."""
    named = sorted(rows, key=lambda row: row.method.name)
    scores = pool(columns, [row.method.key for row in named], weights)
    places = np.argsort(-(item_weights(scores) @ scores.values), kind="stable")
    order = [named[place] for place in places]
    keys = [row.method.key for row in order]
    found = standings(Pool(scores.values[:, places], scores.strata), keys)
    table = [[main.value if cell and (main := cell.main) else np.nan for cell in row.cells] for row in order]
    return [
        replace(row, cost=_total(row), latency=_slowest(row), points=points, **vars(one))
        for row, one, points in zip(order, found, borda(np.array(table)).tolist(), strict=True)
    ]


def _sorted(rows: Iterable[Row]) -> tuple[Row, ...]:
    return tuple(sorted(rows, key=lambda row: (-row.score.value if row.score else 0.0, row.method.name)))


def _total(row: Row) -> Cost:
    """The costs of a complete row together: times and indexes add up, the peak is the largest."""
    records = [cell for cell in row.cells if cell]
    costs = [record.cost for record in records]
    items = [main.n if (main := record.main) else 0 for record in records]
    devices = [cost.peak_device_bytes for cost in costs if cost.peak_device_bytes is not None]
    joules = [sum(cost.joules.values()) for cost in costs if cost.joules]
    rates = [cost.items_per_second for cost in costs]
    answering = sum(n / rate for n, rate in zip(items, rates, strict=True)) if all(rates) else 0.0
    return Cost(
        seconds=sum(cost.seconds for cost in costs),
        reused_seconds=sum(cost.reused_seconds for cost in costs),
        items_per_second=sum(items) / answering if answering else 0.0,
        peak_memory_bytes=max(cost.peak_memory_bytes for cost in costs),
        index_bytes=sum(cost.index_bytes for cost in costs),
        peak_device_bytes=max(devices) if devices else None,
        joules={"all": sum(joules)} if len(joules) == len(costs) else None,
    )


def _slowest(row: Row) -> Latency | None:
    """The latency of the task with the highest median, None unless every task was timed."""
    timed = [cell.latency for cell in row.cells if cell and cell.latency]
    return max(timed, key=lambda latency: latency.p50) if len(timed) == len(row.cells) else None


def _once_each(found: Iterable[_Stored]) -> list[_Stored]:
    """Oldest first, one for each run: one stored under two method names keeps the newer."""
    kept: dict[str, _Stored] = {}
    for one in sorted(found, key=lambda one: (one.record.status == "done", one.record.finished)):
        kept[one.record.id] = one
    return sorted(kept.values(), key=lambda one: (one.record.finished, one.record.id))
