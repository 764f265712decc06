"""The results of one task, side by side: which are current, their scores item by item, their methods.

A result is current when its run is done, has seed 0 and all items, and is the newest of its method and task.
A task's current results all come from one version of its data: the one that most methods were measured on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from harness.answers import Ints
from harness.errors import TouchstoneError
from harness.ranking import Pool
from harness.record import Record
from harness.registry import find_adapters
from harness.spec import Json, Kind, MethodSpec, TaskSpec, digest
from harness.store import ITEMS_FILE, Store, slug
from harness.tasks.choose import GROUPED

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

Doubles = npt.NDArray[np.float64]
UNREADABLE = (OSError, ValueError, KeyError)  # what reading a broken file of scores raises
INPUTS = b"touchstone.inputs"  # metadata of a written file: what its scores were read from


@dataclass(frozen=True)
class Method:
    """A row: an adapter with settings, whatever names it was stored under.

    bound: a floor or a ceiling, never ranked. kinds and family are empty when the adapter is not installed
    here. models: the models that its runs named, as the runs name them.
    """

    key: str
    name: str
    spec: MethodSpec
    bound: bool
    kinds: frozenset[Kind]
    family: str = ""
    models: tuple[str, ...] = ()


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

    @cached_property
    def places(self) -> dict[str, int]:
        """The columns of *values* by method key."""
        return {key: place for place, key in enumerate(self.current)}

    @cached_property
    def version(self) -> Json:
        """The digest of the data that its current results were measured on."""
        return next((record.provenance.get("data") for record in self.current.values()), None)


@dataclass(frozen=True)
class Before:
    """Where an earlier build wrote per-item scores: *folder*/<slug of the task>/ITEMS_FILE.

    digests: of the bytes of each record, by run id; scores of other bytes are not taken.
    """

    folder: Path
    digests: Mapping[str, str]

    def inputs(self, measure: str, records: Iterable[Record]) -> str:
        """What tells whether written scores are those of *records*."""
        return digest([measure, [[record.id, self.digests[record.id]] for record in records]])


def methods_of(records: Sequence[Record]) -> dict[str, Method]:
    """The methods of *records* (oldest first), by newest name; equal names get their settings added."""
    specs = {record.run.method.key: record.run.method for record in records}
    models: dict[str, dict[str, None]] = {}
    by_id = {record.id: record for record in records}
    told: dict[int, tuple[str, ...]] = {}  # by what runs were made with, an object that many of them share
    for record in records:
        made_with = id(record.provenance.get("made_with"))
        if made_with not in told:
            told[made_with] = tuple(models_of(record, by_id))
        models.setdefault(record.run.method.key, {}).update(dict.fromkeys(told[made_with]))
    shared = Counter(spec.name for spec in specs.values())
    adapters = find_adapters().adapters
    found = {}
    for key, spec in sorted(specs.items(), key=lambda pair: (pair[1].name, pair[0])):
        name = spec.name if shared[spec.name] == 1 else f"{spec.name}: {spec.expression}"
        adapter = adapters.get(spec.adapter)
        found[key] = Method(
            key,
            name,
            spec,
            adapter.bound if adapter else False,
            adapter.kinds if adapter else frozenset(),
            adapter.family if adapter else "",
            tuple(models[key]),
        )
    return found


def models_of(record: Record, by_id: Mapping[str, Record]) -> Iterator[str]:
    """The names of the models that a run was made with, those of the runs it was made from included."""
    seen, left = {record.id}, [record]
    while left:
        made_with = left.pop().provenance.get("made_with")
        yield from _models(made_with)
        parts = made_with.get("parts") if isinstance(made_with, dict) else None
        fresh = {str(part) for part in parts.values()} - seen if isinstance(parts, dict) else set()
        seen |= fresh
        left += [by_id[part] for part in sorted(fresh) if part in by_id]


def _models(value: Json) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("model"), str):
            yield str(value["model"])
        for inner in value.values():
            yield from _models(inner)


def hardware_of(record: Record) -> str:
    """What a run ran on, in a few words: its accelerator, else its processor."""
    machine = record.provenance.get("machine")
    held = machine if isinstance(machine, dict) else {}
    gpus = held.get("gpus") or held.get("gpu")
    if gpus and record.provenance.get("device") != "cpu":
        return str(gpus[0] if isinstance(gpus, list) else gpus)
    return f"{held['cpu']}, {held.get('cores', '?')} cores" if held.get("cpu") else "unknown"


def current_records(records: Iterable[Record], measure: str) -> dict[str, Record]:
    """The current results among one task's records (oldest first), by method key."""
    versions: dict[str, dict[str, Record]] = {}
    for record in records:
        if is_whole(record) and measure in record.scores:
            versions.setdefault(str(record.provenance.get("data")), {})[record.run.method.key] = record
    if not versions:
        return {}
    chosen = max(versions.values(), key=lambda v: (len(v), max((r.finished, r.id) for r in v.values())))
    return dict(sorted(chosen.items()))


def is_whole(record: Record) -> bool:
    """Whether a run is done, over all items, with the seed that is compared."""
    return record.status == "done" and not record.run.limit and not record.run.seed


class Chosen(NamedTuple):
    """What of a task's records its column shows: the first three fields of TaskResults."""

    task: TaskSpec
    current: Mapping[str, Record]
    failed: Mapping[str, Record]


class ItemScores(NamedTuple):
    """The scores of a column item by item: the last three fields of TaskResults."""

    items: tuple[str, ...]
    values: Doubles
    groups: Ints


def choose(records: Sequence[Record], spec: TaskSpec | None) -> Chosen:
    """What is shown of one task's records (oldest first). spec: the task as defined now; None takes it from
    the newest record.
    """
    task = spec or records[-1].run.task
    current = current_records(records, task.main_measure)
    failed = {
        record.run.method.key: record
        for record in records
        if record.status == "failed" and not record.run.limit and not record.run.seed
    }
    return Chosen(
        task, current, {key: record for key, record in sorted(failed.items()) if key not in current}
    )


def read_scores(
    task: TaskSpec, runs: Sequence[Record], store: Store, before: Before | None = None
) -> ItemScores:
    """The stored scores of a task's current runs."""
    if not runs:
        return ItemScores((), np.empty((0, 0)), np.empty(0, np.int32))
    held = _written(task, runs, before) if before else None
    return held or _stored(task.main_measure, runs, store)


def _written(task: TaskSpec, records: Sequence[Record], before: Before) -> ItemScores | None:
    """What ``_stored`` gives, from the file of an earlier build; None when that is of other records."""
    import pyarrow.parquet as pq

    path = before.folder / slug(task.name) / ITEMS_FILE
    try:
        with pq.ParquetFile(path) as file:
            table = file.read(use_threads=False)
    except (OSError, ValueError):
        return None
    if (table.schema.metadata or {}).get(INPUTS) != before.inputs(task.main_measure, records).encode():
        return None
    shape = len(records), len(table) // len(records)
    groups = table.column("group").to_numpy()[: shape[1]].astype(np.int32)
    items = tuple(table.column("item")[: shape[1]].to_pylist())
    return ItemScores(items, table.column("score").to_numpy().reshape(shape).T.copy(), groups)


def write_items(path: Path, column: TaskResults, names: Sequence[str], before: Before) -> None:
    """Write the current scores of a task item by item, a row each; names: the methods' names in order."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    n, m = column.values.shape
    runs = list(column.current.values())
    columns = {
        "method": _repeated(names, np.repeat(np.arange(m), n)),
        "run": _repeated([record.id for record in runs], np.repeat(np.arange(m), n)),
        "item": _repeated(column.items, np.tile(np.arange(n), m)),
        "group": np.tile(column.groups, m),
        "score": column.values.T.ravel(),
    }
    inputs = before.inputs(column.task.main_measure, runs)
    table = pa.table(columns).replace_schema_metadata({INPUTS: inputs, b"measure": column.task.main_measure})
    pq.write_table(table, path, compression="zstd")


def _repeated(names: Sequence[str], places: npt.NDArray[np.int64]) -> pa.DictionaryArray:
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(
        pa.array(places.astype(np.int32)), pa.array(list(names), pa.string())
    )


def _stored(measure: str, records: Sequence[Record], store: Store) -> ItemScores:
    """Item ids, float64[n, m] of *measure* and the items' groups of runs over the same items."""
    first = item_scores(store, records[0], ["item", *(["group"] if measure in GROUPED else [])])
    items, stored = first.column("item"), b""
    values = np.empty((len(items), len(records)))
    for place, record in enumerate(records):
        try:
            file, held = _opened(store, record)
            found = _stored_items(file, held)
            same = found == stored != b"" or _read(file, ["item"]).column("item").equals(items)
            if not same:
                raise TouchstoneError("its items are not those of the other runs", where=f"run {record.id}")
            stored = found
            values[:, place] = _read(file, [measure]).column(measure).to_numpy()
        except UNREADABLE as error:
            raise _unreadable(store, record, error) from error
    groups = np.zeros(len(values), np.int32)
    if measure in GROUPED:
        groups = np.unique(first.column("group").to_pylist(), return_inverse=True)[1].astype(np.int32)
    return ItemScores(tuple(items.to_pylist()), values, groups)


def _stored_items(file: pq.ParquetFile, held: bytes) -> bytes:
    """The column of item ids as stored, which when equal need not be decoded; b"" of several pieces."""
    if file.num_row_groups != 1:
        return b""
    chunk = file.metadata.row_group(0).column(file.schema.names.index("item"))
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    head = f"{chunk.num_values} {chunk.compression} {chunk.encodings} "
    return head.encode() + held[start : start + chunk.total_compressed_size]


def item_scores(store: Store, record: Record, columns: Sequence[str] | None = None) -> pa.Table:
    """The per-item scores of a run."""
    try:
        return _read(_opened(store, record)[0], columns)
    except UNREADABLE as error:
        raise _unreadable(store, record, error) from error


def _opened(store: Store, record: Record) -> tuple[pq.ParquetFile, bytes]:
    """The file of the per-item scores of a run, in memory, and its bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = f"{store.folder_text(record)}/{ITEMS_FILE}"
    with open(path, "rb", buffering=0) as stream:  # noqa: PTH123  a Path costs as much as the reading
        held = stream.readall()
    return pq.ParquetFile(pa.BufferReader(held)), held


def _read(file: pq.ParquetFile, columns: Sequence[str] | None) -> pa.Table:
    return file.read(columns=columns, use_threads=False)  # which for small files costs the least


def _unreadable(store: Store, record: Record, error: Exception) -> TouchstoneError:
    return TouchstoneError("cannot read the per-item scores", where=store.folder_text(record), why=str(error))


def pool(columns: Sequence[TaskResults], keys: Sequence[str], weights: Sequence[float] | None = None) -> Pool:
    """The scores of the methods *keys* on all of *columns*; each must be current there.

    weights: how much each column counts, together 1; all alike by default.
    """
    weights = weights or [1 / len(columns)] * len(columns)
    sizes = [int(column.groups.max()) + 1 for column in columns]
    parts, strata = [], []
    for number, column in enumerate(columns):
        order = column.places
        share = sum(sizes) * weights[number] / sizes[number]
        parts.append(column.values[:, [order[key] for key in keys]] * share)
        strata.append(column.groups + sum(sizes[:number]))
    return Pool(np.concatenate(parts), np.concatenate(strata))


def competitors(column: TaskResults, methods: Mapping[str, Method]) -> list[str]:
    """The methods to rank on a task: all with a current result but the bounds, best first."""
    scores = {key: record.scores[column.task.main_measure].value for key, record in column.current.items()}
    keys = [key for key in column.current if not methods[key].bound]
    return sorted(keys, key=lambda key: (-scores[key], methods[key].name))


def hardest(column: TaskResults, keys: Sequence[str], count: int) -> list[tuple[str, float, float]]:
    """The items with the lowest mean score of the methods *keys*: (item, mean, best), lowest first."""
    values = column.values[:, [column.places[key] for key in keys]]
    means, best = values.mean(axis=1), values.max(axis=1)
    worst = sorted(range(len(values)), key=lambda item: (means[item], best[item], item))[:count]
    return [(column.items[item], float(means[item]), float(best[item])) for item in worst]
