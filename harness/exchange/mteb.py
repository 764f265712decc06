"""MTEB's result files: one JSON object a model and task."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.errors import TouchstoneError
from harness.exchange.names import MTEB_SPLITS, MTEB_TASKS, mteb_key, mteb_measure, mteb_task
from harness.exchange.reported import Reported, read_json, sha256_of
from harness.record import Record
from harness.store import slug

META = "model_meta.json"
FORMAT_VERSION = "1.38.0"  # of mteb, the first whose files hold what is written here


def read_mteb(path: Path) -> list[Reported]:
    """The numbers of a result file, or of all below a folder in MTEB's layout (model/revision/task.json).

    Only measures that we name are taken; of several subsets each is a row, its name among the details.
    """
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    rows = [row for one in files if one.name != META for row in _rows(one)]
    if not rows:
        raise TouchstoneError("no MTEB result is here", where=str(path))
    return rows


def _rows(path: Path) -> Iterator[Reported]:
    body = read_json(path)
    scores, task = body.get("scores"), body.get("task_name")
    if not isinstance(scores, dict) or not isinstance(task, str):
        raise TouchstoneError("not an MTEB result", where=str(path), why="'task_name' or 'scores' is missing")
    model, revision = _model(path)
    digest = sha256_of(path)
    for split, subsets in scores.items():
        if not isinstance(subsets, list) or not all(isinstance(one, dict) for one in subsets):
            raise TouchstoneError(f"the scores of '{split}' are not a list of objects", where=str(path))
        for subset in subsets:
            details = {
                "split": str(split),
                "subset": str(subset.get("hf_subset", "default")),
                "revision": revision,
                "dataset_revision": str(body.get("dataset_revision", "")),
                "mteb": str(body.get("mteb_version", "")),
            }
            for key, value in subset.items():
                measure = mteb_measure(str(key))
                if measure and isinstance(value, int | float) and not isinstance(value, bool):
                    name = mteb_task(task, str(split))
                    yield Reported(
                        name, model, measure, float(value), "mteb", path.name, digest, details=details
                    )


def _model(path: Path) -> tuple[str, str]:
    """Name and revision of the model of a result file, from the file beside it or from its folders."""
    meta = path.with_name(META)
    if meta.exists():
        body = read_json(meta)
        return str(body.get("name", path.parts[-3])), str(body.get("revision", path.parts[-2]))
    if len(path.resolve().parts) < 4:
        raise TouchstoneError("the model is not named", where=str(path), fix=f"keep its {META} beside it")
    folder = path.resolve().parent
    return folder.parent.name.replace("__", "/"), folder.name


def to_mteb(record: Record) -> dict[str, Any]:
    """A done run of a ranking task as MTEB's TaskResult: what MTEB lacks (a measure of ours) is left out."""
    task = record.run.task
    if task.name not in MTEB_TASKS:
        raise TouchstoneError(
            f"MTEB has no task for {task.name}", why=f"it has {', '.join(sorted(MTEB_TASKS))}"
        )
    if record.status != "done" or record.run.limit:
        raise TouchstoneError(f"the run {record.id} is not a whole finished run", where=task.name)
    scores = {mteb_key(name): summary.value for name, summary in record.scores.items() if mteb_key(name)}
    main = scores.get("ndcg_at_10")
    if main is None:
        raise TouchstoneError(f"the run {record.id} has no nDCG@10", why="it is MTEB's main score")
    subset = {"hf_subset": "default", "languages": ["eng-Latn"], **scores, "main_score": main}
    return {
        "dataset_revision": f"touchstone-data-{record.provenance.get('data', '')}",
        "task_name": MTEB_TASKS[task.name],
        "mteb_version": FORMAT_VERSION,
        "scores": {MTEB_SPLITS.get(task.name, "test"): [subset]},
        "evaluation_time": record.cost.cold_seconds,
        "kg_co2_emissions": None,
    }


def write_mteb(records: Sequence[Record], out: Path) -> list[Path]:
    """Write runs as MTEB lays out its results folder: results/<model>/<revision>/<task>.json with a
    model_meta.json. The model is the method, its revision ``touchstone-<run id>``'s digits of the first run.
    """
    written = []
    for record in records:
        name = f"touchstone/{slug(record.run.method.name)}"
        revision = _revision(record)
        folder = out / "results" / name.replace("/", "__") / revision
        body = to_mteb(record)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{body['task_name']}.json"
        path.write_text(json.dumps(body, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        (folder / META).write_text(
            json.dumps(_meta(name, revision, record), indent=2) + "\n", encoding="utf-8"
        )
        written.append(path)
    return written


def _revision(record: Record) -> str:
    """The code of the method: the same for all its tasks."""
    made_with = record.provenance.get("made_with")
    return str(made_with.get("code", record.id)) if isinstance(made_with, dict) else record.id


def _meta(name: str, revision: str, record: Record) -> dict[str, Any]:
    """MTEB's ModelMeta; what a method of ours has no word for is null."""
    unknown = (
        *(
            "release_date",
            "n_parameters",
            "n_embedding_parameters",
            "memory_usage_mb",
            "max_tokens",
            "embed_dim",
        ),
        *("license", "open_weights", "public_training_code", "public_training_data", "similarity_fn_name"),
        *("use_instructions", "training_datasets"),
    )
    meta = dict.fromkeys(unknown)
    return {
        **meta,
        "name": name,
        "revision": revision,
        "loader": None,
        "languages": ["eng-Latn"],
        "framework": [],
    }
