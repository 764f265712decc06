"""TREC runs with the metadata that ir_metadata writes in front of them (Breuer et al. 2022)."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.catalog import Catalog
from harness.errors import TouchstoneError
from harness.exchange.reported import Reported, sha256_of
from harness.execute import Session
from harness.kilt_scores import Evidence
from harness.record import Record
from harness.scores import Scores
from harness.spec import Json, Kind, MethodSpec, RunSpec, TaskSpec, digest
from harness.store import ITEMS_FILE, RUN_FILE
from harness.tasks.load import load_evidence, load_judgements
from harness.tasks.rank import score_with_pages
from harness.trec import QrelsFile, RunFile, join, read_run

START, END = "ir_metadata.start", "ir_metadata.end"
HEADER = 1 << 20  # bytes that a header may take


@dataclass(frozen=True, eq=False)
class Scored:
    """A run file scored against judgements: one row of *scores* for each of query_ids."""

    query_ids: tuple[str, ...]
    scores: Scores


def score_run(
    run: RunFile,
    judged: QrelsFile,
    measures: Sequence[str],
    evidence: tuple[Evidence, ...] | None = None,
) -> Scored:
    """Score a run by judgements alone, without a corpus; a judged query that it misses counts 0."""
    from harness.data.kilt import pages_of

    joined = join(run, judged)
    rows = {name: row for row, name in enumerate(run.query_ids)}

    def pages(query: int) -> tuple[str, ...]:
        row = rows[joined.query_ids[query]]
        return pages_of(run.docs[run.starts[row] : run.starts[row + 1]].to_pylist())

    values = score_with_pages(measures, joined.qrels, joined.rankings, pages, evidence)
    missing = len(joined.query_ids) - len(np.unique(joined.rankings.items))
    counts = {"missing": missing, "tie_dependent": joined.rankings.tied_items()}
    items = np.arange(len(joined.query_ids), dtype=np.int32)
    return Scored(joined.query_ids, Scores(items, tuple(measures), values, counts=counts))


def read_metadata(path: Path) -> dict[str, Any]:
    """The ir_metadata header of a run file, {} without one. One that is no YAML mapping, is not closed or is
    over 1 MB is a TouchstoneError.
    """
    import pyarrow as pa

    try:
        with pa.input_stream(str(path), compression="detect") as handle:
            text = handle.read(HEADER).decode("utf-8", "replace")
    except OSError as error:
        raise TouchstoneError("cannot read the run", where=str(path), why=str(error)) from error
    lines: list[str] = []
    inside = False
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        said = line[1:].removeprefix(" ")
        if said.strip() == END:
            return _yaml_of(lines, path)
        lines += [said] if inside else []
        inside = inside or said.strip() == START
    if inside:
        raise TouchstoneError(
            "the ir_metadata header is not closed", where=str(path), fix=f"a line '# {END}'"
        )
    return {}


def _yaml_of(lines: list[str], path: Path) -> dict[str, Any]:
    import yaml

    try:
        body = yaml.safe_load("\n".join(lines))
    except yaml.YAMLError as error:
        raise TouchstoneError("the ir_metadata header is no YAML", where=str(path), why=str(error)) from error
    if not isinstance(body, dict):
        raise TouchstoneError("the ir_metadata header is no mapping", where=str(path))
    return body


def import_run(path: Path, task: TaskSpec, session: Session, method: str = "") -> list[Reported]:
    """Score a run that others made on *task*, keep it in the reported area, and return its numbers.

    method: its name; that of the header (``tag``) or of the run's last column by default.
    """
    if task.kind is not Kind.RANK:
        raise TouchstoneError(f"'{task.name}' is not a ranking task", where=str(path))
    run, dataset, metadata = read_run(path), session.catalog.dataset(task.dataset), read_metadata(path)
    scored = score_run(run, load_judgements(dataset), task.measures, load_evidence(dataset))
    if scored.scores.counts["missing"] == len(scored.query_ids):
        raise TouchstoneError("the run holds no query of the task", where=str(path), why=task.name)
    name = method or str(metadata.get("tag") or run.tag)
    sha256 = sha256_of(path)
    try:
        data = session.task(task).data_digest
    except TouchstoneError:
        data = ""  # without the corpus the run can be scored, and not be compared item by item
    provenance: dict[str, Json] = {"source": "trec", "file": path.name, "sha256": sha256, "data": data}
    provenance["ir_metadata"] = _json(metadata)
    record = Record(
        digest({"sha256": sha256, "task": task.identity, "method": name}),
        "done",
        RunSpec(MethodSpec(name, "reported"), task),
        scored.scores.summary(),
        dict(scored.scores.counts),
        provenance=provenance,
        origin="reported",
    )
    with tempfile.TemporaryDirectory() as folder:
        _write_files(Path(folder), scored, path)
        session.store.reported.adopt(Path(folder), record)
    return [
        Reported(task.name, name, measure, summary.value, "trec", path.name, sha256, summary.n, record.id)
        for measure, summary in record.scores.items()
    ]


def _write_files(folder: Path, scored: Scored, run: Path) -> None:
    """The files of a stored run: the scores of each query, and the run as it is, compressed."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {name: scored.scores.column(name) for name in scored.scores.measures}
    pq.write_table(
        pa.table({"item": list(scored.query_ids), **columns}), folder / ITEMS_FILE, compression="zstd"
    )
    with (
        pa.input_stream(str(run), compression="detect") as lines,
        pa.output_stream(str(folder / RUN_FILE), compression="detect") as out,
    ):
        while block := lines.read(1 << 20):
            out.write(block)


def _json(value: Any) -> Json:
    """YAML's values as JSON's: dates become texts."""
    if isinstance(value, dict):
        return {str(key): _json(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_json(child) for child in value]
    return value if isinstance(value, str | int | bool | None) or _finite(value) else str(value)


def _finite(value: Any) -> bool:
    return isinstance(value, float) and bool(np.isfinite(value))


def metadata_of(record: Record, catalog: Catalog) -> dict[str, Json]:
    """What ir_metadata 0.1 has fields for, from platform to data."""
    provenance, run = record.provenance, record.run
    machine = provenance.get("machine")
    found = machine if isinstance(machine, dict) else {}
    versions = provenance.get("versions")
    libraries = versions if isinstance(versions, dict) else {}
    dataset = catalog.datasets.get(run.task.dataset)
    return {
        "schema version": "0.1",
        "tag": run.method.name,
        "platform": {
            "hardware": {"cpu": {"model": found.get("cpu"), "number of cores": found.get("cores")}},
            "operating system": {"kernel": found.get("system")},
            "software": {"libraries": {"python": [f"{name}=={one}" for name, one in libraries.items()]}},
        },
        "implementation": {"executable": {"cmd": run.command}},
        "resources": {
            "runtime": f"{record.cost.cold_seconds:.3f} s",
            "RAM": f"{record.cost.peak_memory_bytes / 1e9:.3f} GB",
        },
        "research goal": {
            "evaluation": {"reported measures": list(record.scores)},
            "venue": {"name": "touchstone", "run": record.id},
        },
        "method": {"retrieval": [{"name": run.method.adapter, "method": run.method.expression}]},
        "data": {
            "test collection": {
                "name": run.task.name,
                "source": dataset.url if dataset else "",
                "digest": provenance.get("data"),
            }
        },
    }


def export_run(folder: Path, record: Record, catalog: Catalog, out: Path, header: bool = True) -> None:
    """Write a stored run as plain TREC lines, after an ir_metadata header unless that is not wanted."""
    import pyarrow as pa
    import yaml

    if not (folder / RUN_FILE).exists():
        raise TouchstoneError(f"the run {record.id} is not a ranking", where=record.run.task.name)
    try:
        with pa.input_stream(str(folder / RUN_FILE), compression="detect") as lines, out.open("wb") as handle:
            if header:
                text = yaml.safe_dump(metadata_of(record, catalog), sort_keys=False, allow_unicode=True)
                said = "".join(f"# {line}\n" for line in (START, *text.splitlines(), END))
                handle.write(said.encode())
            while block := lines.read(1 << 20):
                handle.write(block)
    except OSError as error:
        raise TouchstoneError("cannot write the run", where=str(out), why=str(error)) from error
