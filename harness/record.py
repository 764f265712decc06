"""The stored record of a run, its JSON form and the migrations between schema versions."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from harness.errors import TouchstoneError
from harness.scores import Summary
from harness.spec import Json, RunSpec
from harness.strict import from_plain

SCHEMA = 2
RECORD_FILE = "record.json"
Origin = Literal["measured", "verified", "reported"]


def _to_2(body: dict[str, Any]) -> dict[str, Any]:
    """Schema 2 has the accelerator's memory, joules and a timed mode, all unknown of older runs."""
    cost = {**body.get("cost", {}), "peak_device_bytes": None, "joules": None}
    return {**body, "cost": cost, "latency": None}


# From version n to n + 1.
MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _to_2}


@dataclass(frozen=True)
class Cost:
    """Seconds, bytes and rates of a run that answers in batches.

    seconds: what this run spent, by phase in *phases*; reused_seconds: what assets found ready had cost.
    items_per_second: of answering, without loading and indexing; a batch rate, which says nothing of one
    query's latency. peak_memory_bytes: resident, of the whole process with Python and its libraries; models
    that earlier runs left are dropped first, unless this run uses them. peak_device_bytes: reserved on the
    accelerator. joules: by part of the machine ("gpu", "cpu") that has a counter. None where nothing tells.
    """

    seconds: float = 0.0
    reused_seconds: float = 0.0
    phases: Mapping[str, float] = field(default_factory=dict)
    items_per_second: float = 0.0
    peak_memory_bytes: int = 0
    index_bytes: int = 0
    segments: int = 1
    peak_device_bytes: int | None = None
    joules: Mapping[str, float] | None = None

    @property
    def cold_seconds(self) -> float:
        """What the run costs from nothing: comparable whatever was cached."""
        return self.seconds + self.reused_seconds


@dataclass(frozen=True)
class Latency:
    """Seconds of one query at a time, over a loaded model and index: a timed mode of its own.

    p50, p95, p99: percentiles over *count* queries, after *warm_up* others that do not count. excludes: the
    methods whose rankings were there already. hardware: the machine and the device.
    """

    p50: float
    p95: float
    p99: float
    count: int
    warm_up: int
    hardware: Mapping[str, Json]
    excludes: tuple[str, ...] = ()
    measured: str = ""
    mode: Literal["single"] = "single"


@dataclass(frozen=True)
class Failure:
    """Why a run failed. details: the last lines of the traceback."""

    what: str
    details: str = ""


@dataclass(frozen=True)
class Record:
    """One run: what it was, what it scored, what it cost, how it came about.

    origin: measured here, verified here from somebody's submission, or only reported by others.
    """

    id: str
    status: Literal["done", "failed"]
    run: RunSpec
    scores: Mapping[str, Summary] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    cost: Cost = field(default_factory=Cost)
    provenance: Mapping[str, Json] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    failure: Failure | None = None
    latency: Latency | None = None
    origin: Origin = "measured"

    @property
    def main(self) -> Summary | None:
        """The summary of the task's main measure, None for a failed run."""
        return self.scores.get(self.run.task.main_measure)

    @property
    def finished(self) -> str:
        """When it ended, ISO 8601 in UTC."""
        return str(self.provenance.get("finished", ""))


def to_text(record: Record) -> str:
    """The record as JSON text, keys in a fixed order."""
    from dataclasses import asdict

    body = {"schema": SCHEMA, **asdict(record)}
    return json.dumps(body, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_record(path: Path) -> Record:
    """The record of a file, brought to today's schema."""
    return record_of(read_bytes(path), str(path))


def read_bytes(path: Path | str) -> bytes:
    """The bytes of a record's file."""
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123  a Path costs as much as the reading
            return file.readall()
    except OSError as error:
        raise TouchstoneError("cannot read the record", where=str(path), why=str(error)) from error


def record_of(text: bytes, where: str) -> Record:
    """The record of a file's bytes, brought to today's schema."""
    try:
        body = json.loads(text)
    except ValueError as error:
        raise TouchstoneError("cannot read the record", where=where, why=str(error)) from error
    if not isinstance(body, dict) or not isinstance(body.get("schema"), int):
        raise TouchstoneError("not a record", where=where, why="it has no schema version")
    record: Record = from_plain(migrated(body, where), Record, where)
    return record


def migrated(body: dict[str, Any], where: str) -> dict[str, Any]:
    """The body without its schema number, after every migration up to today's."""
    version = body["schema"]
    if version > SCHEMA:
        raise TouchstoneError(
            f"the record has schema {version}",
            where=where,
            why=f"this version knows {SCHEMA}",
            fix="upgrade touchstone",
        )
    for step in range(version, SCHEMA):
        body = MIGRATIONS[step](body)
    return {key: value for key, value in body.items() if key != "schema"}
