"""lm-evaluation-harness's results: one JSON object a model, and its samples a line each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.answers import Choices
from harness.errors import TouchstoneError
from harness.exchange.names import lm_eval_task
from harness.exchange.reported import Reported, read_json, sha256_of
from harness.execute import Session
from harness.record import Record
from harness.spec import Kind, MethodSpec, RunSpec, digest
from harness.tasks.choose import ChooseTask

MEASURES = {"acc": "Acc"}  # lm-eval's own names otherwise


def read_lm_eval(path: Path, session: Session) -> list[Reported]:
    """The numbers of a results file, or of all ``results_*.json`` below a folder.

    Samples that lie beside it (``samples_<task>_<date>.jsonl``) and are of a multiple-choice task of ours are
    scored again from their log-probabilities and kept, item by item, in the reported area.
    """
    files = sorted(path.rglob("results*.json")) if path.is_dir() else [path]
    if not files:
        raise TouchstoneError("no lm-eval result is here", where=str(path))
    return [row for one in files for row in _rows(one, session)]


def _rows(path: Path, session: Session) -> Iterator[Reported]:
    body = read_json(path)
    results = body.get("results")
    if not isinstance(results, dict) or not all(isinstance(one, dict) for one in results.values()):
        raise TouchstoneError("not an lm-eval result", where=str(path), why="'results' is missing")
    config, model = (
        _dict(body, "config"),
        str(body.get("model_name") or _dict(body, "config").get("model", "")),
    )
    sha256 = sha256_of(path)
    for task, numbers in results.items():
        shots = _dict(body, "n-shot").get(task)
        name = lm_eval_task(task, shots if isinstance(shots, int) else None)
        counted = _dict(body, "n-samples").get(task)
        items = int(counted.get("effective", 0)) if isinstance(counted, dict) else 0
        details = {
            "model": str(config.get("model", "")),
            "model_args": str(config.get("model_args", "")),
            "version": str(_dict(body, "versions").get(task, "")),
            "shots": "" if shots is None else str(shots),
        }
        samples = path.with_name(path.name.replace("results", f"samples_{task}", 1)).with_suffix(".jsonl")
        run = _keep_samples(samples, name, model, session) if samples.exists() else ""
        for key, value in numbers.items():
            metric, comma, kind = str(key).partition(",")
            if comma and not metric.endswith("_stderr") and isinstance(value, int | float):
                details_of = {**details, "filter": kind}
                measure = MEASURES.get(metric, metric)
                row = Reported(name, model, measure, float(value), "lm-eval", path.name, sha256, items)
                yield replace(row, run=run if measure == "Acc" else "", details=details_of)


def _dict(body: dict[str, Any], key: str) -> dict[str, Any]:
    value = body.get(key)
    return value if isinstance(value, dict) else {}


def _keep_samples(path: Path, name: str, model: str, session: Session) -> str:
    """Store the samples of a task of ours as a reported run; its id, '' for a task that is none of ours."""
    if name not in session.catalog.tasks or session.catalog.task(name).kind is not Kind.CHOOSE:
        return ""
    task = session.task(session.catalog.task(name))
    assert isinstance(task, ChooseTask)
    answers = read_samples(path, task)
    scores = task.score(answers)
    sha256 = sha256_of(path)
    spec = RunSpec(MethodSpec(model, "reported"), task.spec)
    provenance = {"source": "lm-eval", "file": path.name, "sha256": sha256, "data": task.data_digest}
    record = Record(
        digest({"sha256": sha256, "task": task.spec.identity}),
        "done",
        spec,
        scores.summary(),
        dict(scores.counts),
        provenance=dict(provenance),
        origin="reported",
    )
    session.store.reported.put(record, task, answers, scores)
    return record.id


def read_samples(path: Path, task: ChooseTask) -> Choices:
    """The log-probabilities of every choice, float32[n, c], for the items of *task*.

    A sample is matched by its group and number, and its question must be ours: otherwise the order differs,
    and that is a TouchstoneError.
    """
    rows = {name: row for row, name in enumerate(task.item_ids)}
    groups = {question.group for question in task.questions}
    held: dict[int, list[float]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        where = f"{path}:{number}"
        try:
            sample = json.loads(line)
            text, item = str(sample["doc"]["question"]), int(sample["doc_id"])
            values = [float(response[0]) for response in sample["filtered_resps"]]
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise TouchstoneError("not a sample of multiple choice", where=where, why=repr(error)) from error
        subject = str(sample["doc"].get("subject") or (next(iter(groups)) if len(groups) == 1 else ""))
        row = rows.get(f"{subject}/{item}", -1)
        if row < 0 or _plain(task.question(row).text) != _plain(text):
            raise TouchstoneError("the sample's question is not the task's", where=where, why=text[:60])
        if row in held:
            raise TouchstoneError(f"item {item} comes twice", where=where)
        held[row] = values
    items = np.array(sorted(held), np.int32)
    width = max((len(values) for values in held.values()), default=1)
    logprobs = np.full((len(items), width), -np.inf, np.float32)
    for place, row in enumerate(items.tolist()):
        logprobs[place, : len(held[row])] = held[row]
    return Choices(items, logprobs)


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def to_lm_eval(records: Sequence[Record]) -> dict[str, Any]:
    """Done runs of one method on multiple-choice tasks as a results object of lm-eval.

    The standard error is that of the mean over items; the interval of the record is not theirs.
    """
    chosen = [one for one in records if one.status == "done" and "Acc" in one.scores and not one.run.limit]
    names = {one.run.method.name for one in chosen}
    if len(names) != 1:
        raise TouchstoneError(
            "one method's runs with 'Acc' are needed", why=f"there are {len(names)} methods"
        )
    results, shots, samples = {}, {}, {}
    for one in chosen:
        name, accuracy = _theirs(one.run.task.name), one.scores["Acc"]
        error = (accuracy.value * (1 - accuracy.value) / max(accuracy.n - 1, 1)) ** 0.5
        results[name] = {"alias": name, "acc,none": accuracy.value, "acc_stderr,none": error}
        shots[name] = one.run.task.shots
        samples[name] = {"original": accuracy.n, "effective": accuracy.n}
    method = chosen[0].run.method
    return {
        "results": results,
        "group_subtasks": {name: [] for name in results},
        "configs": {},
        "versions": dict.fromkeys(results, 1.0),
        "n-shot": shots,
        "higher_is_better": {name: {"acc": True} for name in results},
        "n-samples": samples,
        "config": {"model": "touchstone", "model_args": method.expression},
        "model_name": method.name,
        "model_source": "touchstone",
    }


def _theirs(task: str) -> str:
    whole, _, subject = task.partition("/")
    if whole in ("mmlu", "mmlu-0shot"):
        return f"mmlu_{subject}" if subject else "mmlu"
    return task.replace("/", "_")
