"""What the leaderboard shows, worked out from stored results. No page is written here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

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
from harness.parallel import each
from harness.ranking import Pair, Pool
from harness.record import Cost, Latency, Record, migrated, read_bytes, record_of
from harness.scores import Summary
from harness.spec import digest
from harness.standings import item_weights, standings, summaries_of
from harness.stats import borda
from harness.store import Store, records_below

WORTH = 2_000  # results from which several processes pay
BATCH = 500  # folders of a store that one process looks through before it gets others
KEPT = (
    "finished",
    "data",
    "device",
    "machine",
    "made_with",
)  # provenance that other pages than a run's own show


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
    """All that a site shows. records: newest first, without what only their own pages show; methods by
    key; tasks by name. digests: of the bytes of each record, by run id. left_out: a line for each suite that
    cannot be read.
    """

    records: tuple[Record, ...]
    methods: Mapping[str, Method]
    tasks: Mapping[str, TaskResults]
    boards: tuple[Board, ...]
    left_out: tuple[str, ...]
    digests: Mapping[str, str]


def read_results(store: Store, catalog: Catalog, before: Path | None = None) -> Results:
    """Everything in *store*, arranged by the suites and tasks of *catalog*.

    before: folder of the tasks of an earlier build, whose per-item scores are taken where they are the same.
    """
    parts = store.parts()
    processes = 0 if len(parts) >= WORTH else 1
    batches = [parts[start : start + BATCH] for start in range(0, len(parts), BATCH)]
    pairs = [pair for batch in each(_headers, None, batches, processes) for pair in batch]
    records = _once_each(record for record, _ in pairs)
    digests = {record.id: text for record, text in pairs}
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
    return Results(newest_first, methods, tasks, tuple(boards), tuple(left_out), digests)


@dataclass(frozen=True, eq=False)
class _Shared:
    chosen: Mapping[str, Chosen]
    store: Store
    before: Before | None


def _headers(_: None, parts: Sequence[str]) -> list[tuple[Record, str]]:
    """The records below some folders without what only their own pages show, each with the digest of its
    bytes.
    """
    found = []
    same: dict[Any, Any] = {}  # one object for all equal values: a large store must fit into memory
    for path in (path for part in parts for path in records_below(part)):
        text = read_bytes(Path(path))
        record = record_of(text, path)
        held = record.provenance
        kept = {name: same.setdefault(name + repr(held[name]), held[name]) for name in KEPT if name in held}
        scores = {same.setdefault(name, name): summary for name, summary in record.scores.items()}
        run = replace(record.run, task=same.setdefault(record.run.task, record.run.task))
        latency = replace(record.latency, hardware={}) if record.latency else None
        cost = replace(record.cost, phases={})
        header = replace(
            record, run=run, scores=scores, counts={}, cost=cost, provenance=kept, latency=latency
        )
        header.run.method.key  # noqa: B018  worked out here, by one of several processes, and kept
        found.append((header, hashlib.sha256(text).hexdigest()[:32]))
    return found


def whole(header: Record, text: bytes) -> Record:
    """The record that *header* was made of, from the bytes that it was made of: they were checked then."""
    body = migrated(json.loads(text), header.id)
    cost = replace(header.cost, phases=body["cost"].get("phases", {}))
    latency = header.latency
    if latency:
        latency = replace(latency, hardware=body["latency"]["hardware"])
    given = {name: body.get(name, {}) for name in ("provenance", "counts")}
    return replace(header, cost=cost, latency=latency, **given)


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
    table = [[cell.main.value if cell and cell.main else np.nan for cell in row.cells] for row in order]
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
    items = [record.main.n if record.main else 0 for record in records]
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


def _once_each(records: Iterable[Record]) -> list[Record]:
    """Records oldest first, one for each run: one stored under two method names keeps the newer."""
    kept: dict[str, Record] = {}
    for record in sorted(records, key=lambda r: (r.status == "done", r.finished)):
        kept[record.id] = record
    return sorted(kept.values(), key=lambda record: (record.finished, record.id))
