"""Results to download: one table of all numbers as CSV, JSON and Parquet, with schemas that machines read."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from harness.record import SCHEMA, Record
from harness.schema import schema_of

if TYPE_CHECKING:
    from harness.pages.site import Site

DRAFT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True)
class Line:
    """A row of the table of results: one measure of one run; a failed run has a row without a measure.

    current: whether boards show it. seconds: from nothing. Times are in seconds, sizes in bytes.
    """

    task: str
    method: str
    adapter: str
    run: str
    status: str
    origin: str
    current: bool
    seed: int
    limit: int
    measure: str | None
    value: float | None
    low: float | None
    high: float | None
    items: int | None
    seconds: float
    items_per_second: float
    latency_p50: float | None
    peak_memory_bytes: int
    peak_device_bytes: int | None
    index_bytes: int
    joules: float | None
    data: str
    finished: str
    command: str


@dataclass(frozen=True)
class Download:
    """A file of the site with what it holds."""

    path: str
    about: str
    bytes: int


def write(site: Site) -> list[Download]:
    """Write the downloads below data/ and schema/."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    (site.folder / "data").mkdir()
    (site.folder / "schema").mkdir()
    types = {"str": pa.string(), "bool": pa.bool_(), "int": pa.int64(), "float": pa.float64()}
    hints = Line.__annotations__
    schema = pa.schema([(name, types[hint.partition(" ")[0]]) for name, hint in hints.items()])
    rows = [row for record in site.results.records for row in lines_of(site, record)]
    columns = list(map(list, zip(*rows, strict=True))) or [[] for _ in hints]
    table = pa.table(
        [pa.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)], schema=schema
    )
    data, names = site.folder / "data", list(hints)
    pyarrow.csv.write_csv(table, data / "results.csv")
    pq.write_table(table, data / "results.parquet", compression="zstd")
    with (data / "results.json").open("w", encoding="utf-8") as file:
        encode = json.JSONEncoder(ensure_ascii=False).encode
        for number, row in enumerate(rows):
            file.write((",\n" if number else "[\n") + encode(dict(zip(names, row, strict=True))))
        file.write("\n]\n" if rows else "[]\n")
    reported = [asdict(one) for rows in site.reported.values() for one in rows]
    text = json.dumps(reported, indent=1, ensure_ascii=False, sort_keys=True)
    (data / "reported.json").write_text(text + "\n", encoding="utf-8")
    record: dict[str, Any] = schema_of(Record)
    record["properties"] |= {"schema": {"const": SCHEMA}}
    _schema(site, "record", "A stored run of Touchstone: record.json", record)
    _schema(
        site,
        "results",
        "All numbers of a Touchstone site: data/results.json",
        {"type": "array", "items": schema_of(Line)},
    )
    told = {
        "data/results.csv": "every measure of every run, a row each",
        "data/results.json": "the same as JSON",
        "data/results.parquet": "the same as Parquet",
        "data/reported.json": "numbers that others report, which are never ranked",
        "schema/results.json": "JSON Schema of the table",
        "schema/record.json": "JSON Schema of a run's record.json",
    }
    return [Download(path, about, (site.folder / path).stat().st_size) for path, about in told.items()]


def lines_of(site: Site, record: Record) -> list[tuple[Any, ...]]:
    """The rows of one run, fields in the order of Line."""
    run, cost = record.run, record.cost
    held = site.results.tasks[run.task.name].current.get(run.method.key)
    head = (
        run.task.name,
        site.results.methods[run.method.key].name,
        run.method.adapter,
        record.id,
        record.status,
        record.origin,
        held is not None and held.id == record.id,
        run.seed,
        run.limit,
    )
    tail = (
        cost.cold_seconds,
        cost.items_per_second,
        record.latency.p50 if record.latency else None,
        cost.peak_memory_bytes,
        cost.peak_device_bytes,
        cost.index_bytes,
        sum(cost.joules.values()) if cost.joules else None,
        str(record.provenance.get("data", "")),
        record.finished,
        run.command,
    )
    if not record.scores:
        return [(*head, None, None, None, None, None, *tail)]
    return [(*head, name, s.value, s.low, s.high, s.n, *tail) for name, s in record.scores.items()]


def _schema(site: Site, name: str, title: str, body: dict[str, Any]) -> None:
    text = json.dumps({"$schema": DRAFT, "title": title, **body}, indent=1, ensure_ascii=False)
    (site.folder / "schema" / f"{name}.json").write_text(text + "\n", encoding="utf-8")
