"""What a submission claims, checked against what it holds: names, schema, scores from answers."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from harness.answers import Answers
from harness.catalog import Catalog
from harness.errors import ExitCode, TouchstoneError
from harness.record import RECORD_FILE, Record, migrated
from harness.registry import find_adapters, make_adapter
from harness.scores import Scores
from harness.store import ANSWERS_FILE, ITEMS_FILE, RUN_FILE, Store, limited
from harness.strict import from_plain
from harness.submission.archive import BLOCK, Limits, refused
from harness.tasks.base import Task

LONGEST = 4096  # characters of a text in a record
NAME = 200  # characters of a name
HIDDEN = ("Cc", "Cf", "Cs", "Co")  # Unicode categories of letters that nobody sees
MARKS = frozenset("<>&'`\\\n\t")
CLOSE = 1e-9  # two ways of computing one score


def claimed(folder: Path, catalog: Catalog, where: str) -> Record:
    """The record of an unpacked submission, when nothing in it is out of order.

    The task must be one of ours, with our definition, and the method one of our adapters: what names code of
    its own is not imported.
    """
    from harness.submission.archive import read_plain_json

    body = read_plain_json(folder / RECORD_FILE, where)
    if not isinstance(body, dict) or not isinstance(body.get("schema"), int):
        raise refused("the record has no schema", where)
    try:
        record: Record = from_plain(migrated(body, RECORD_FILE), Record, RECORD_FILE)
    except TouchstoneError as error:
        raise refused("the record does not fit its schema", where, error.line) from error
    _check_texts(record, where)
    if record.status != "done":
        raise refused("the run failed", where)
    task = catalog.tasks.get(record.run.task.name)
    if task is None:
        raise refused("the task is not one of ours", where, record.run.task.name)
    if task.identity != record.run.task.identity:
        raise refused("the task is defined in another way here", where, task.name)
    if record.run.method.adapter not in find_adapters().adapters:
        raise refused("the method is not one of our adapters", where, ascii(record.run.method.adapter[:NAME]))
    if not record.scores or not set(task.measures) & set(record.scores):
        raise refused("it has none of the task's measures", where, ", ".join(task.measures))
    return record


def _check_texts(record: Record, where: str) -> None:
    """Refuse texts that could do more than be read."""
    for name, text in _texts(asdict(record)):
        if len(text) > LONGEST:
            raise refused("a text of the record is too long", where, name)
        if any(unicodedata.category(letter) in HIDDEN and letter not in "\n\t" for letter in text):
            raise refused("a text of the record holds control characters", where, name)
    for name in (record.run.method.name, record.run.task.name, *record.scores):
        if not name or len(name) > NAME or set(name) & MARKS or ".." in name:
            raise refused("a name holds what no name may", where, ascii(name[:NAME]))
    if not re.fullmatch(r"[0-9a-f]{16}", record.id):
        raise refused("the run's id is none", where, ascii(record.id[:NAME]))
    if record.run.limit < 0:
        raise refused("the run's limit is negative", where)


def _texts(value: Any, name: str = "record") -> Iterator[tuple[str, str]]:
    """Every text of a plain value, keys included, with the place it stands at."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, dict):
        for key, child in value.items():
            yield name, str(key)
            yield from _texts(child, f"{name}.{str(key)[:40]}")
    elif isinstance(value, list | tuple):
        for child in value:
            yield from _texts(child, name)


def check_files(folder: Path, limits: Limits, where: str) -> None:
    """Refuse tables with columns of other types than ours, and files that expand beyond the limits."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for name in (ITEMS_FILE, ANSWERS_FILE):
        if not (folder / name).exists():
            continue
        try:
            held = pq.ParquetFile(folder / name)
            size = sum(
                held.metadata.row_group(n).total_byte_size for n in range(held.metadata.num_row_groups)
            )
            types = {field.name: field.type for field in held.schema_arrow}
        except (pa.ArrowException, OSError, ValueError) as error:
            raise refused(f"{name} is no sound Parquet", where, str(error)[:200]) from error
        if size > limits.expanded:
            raise refused(f"{name} expands too much", where, f"over {limits.expanded:,} bytes")
        wanted = {pa.string(), pa.large_string(), pa.float32(), pa.float64(), pa.list_(pa.string())}
        strange = [column for column, kind in types.items() if kind not in wanted]
        if strange or types.get("item") not in (pa.string(), pa.large_string()):
            raise refused(
                f"{name} has a column of another type", where, ascii(strange[0] if strange else "item")
            )
    if (folder / RUN_FILE).exists():
        _check_expansion(folder / RUN_FILE, limits, where)


def _check_expansion(path: Path, limits: Limits, where: str) -> None:
    import pyarrow as pa

    size = 0
    try:
        with pa.input_stream(str(path), compression="detect") as lines:
            while block := lines.read(BLOCK):
                size += len(block)
                if size > min(limits.expanded, limits.ratio * path.stat().st_size + (1 << 20)):
                    raise refused(f"{path.name} expands too much", where, f"over {size:,} bytes")
    except (pa.ArrowException, OSError) as error:
        raise refused(f"{path.name} is not sound zstd", where, str(error)[:200]) from error


def rescore(store: Store, record: Record, task: Task) -> tuple[Answers, Scores]:
    """The answers of a stored run and the scores they give, when these are the ones that the record and its
    items claim; otherwise a TouchstoneError that ends in exit code 1.
    """
    if record.provenance.get("data") != task.data_digest:
        raise _forged("the answers are over other data than ours", task.spec.name)
    part = limited(task, record.run.limit)
    try:
        answers = store.answers(record, task)
    except (KeyError, ValueError, TypeError, OSError) as error:
        raise _forged("the answers are not to the task's items", repr(error)[:NAME]) from error
    try:
        scores = make_adapter(record.run.method).score(part, answers)
    except TouchstoneError as error:
        raise _forged("the answers cannot be scored", error.line) from error
    fresh = scores.summary()
    for measure in sorted(set(fresh) & set(record.scores)):
        found, said = fresh[measure], record.scores[measure]
        if abs(found.value - said.value) > CLOSE or found.n != said.n:
            why = f"{said.value:.6f} over {said.n} items, the answers give {found.value:.6f} over {found.n}"
            raise _forged(f"{measure} is claimed as", why)
    _check_items(store, record, part, scores)
    return answers, scores


def _check_items(store: Store, record: Record, task: Task, scores: Scores) -> None:
    frame = store.items(record)
    names = [task.item_ids[item] for item in scores.items]
    if list(frame["item"]) != names:
        raise _forged("the per-item scores are of other items", task.spec.name)
    for measure in scores.measures:
        if measure not in frame:
            continue
        held = frame[measure].to_numpy(np.float64)
        wrong = np.flatnonzero(~(np.abs(held - scores.column(measure)) <= CLOSE))
        if len(wrong):
            raise _forged(
                f"the per-item scores of {measure} are not those of the answers", names[int(wrong[0])]
            )


def _forged(what: str, why: str) -> TouchstoneError:
    error = refused(what, "scores", why)
    error.exit_code = ExitCode.WORSE
    return error
