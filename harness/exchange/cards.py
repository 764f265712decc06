"""The metadata of a Hugging Face model card: a ``model-index`` with our results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from harness.catalog import Catalog
from harness.errors import TouchstoneError
from harness.record import Record
from harness.spec import Kind

KINDS = {Kind.RANK: "text-retrieval", Kind.CHOOSE: "multiple-choice", Kind.GENERATE: "text-generation"}


def to_card(records: Sequence[Record], model: str, catalog: Catalog) -> str:
    """The YAML front matter of a README.md, as the hub reads it, for finished whole runs of one method."""
    done = [one for one in records if one.status == "done" and not one.run.limit]
    if not done:
        raise TouchstoneError("no finished whole run to write into a card")
    results = [_result(one, catalog) for one in sorted(done, key=lambda one: one.run.task.name)]
    body = {"model-index": [{"name": model, "results": results}]}
    return f"---\n{yaml.safe_dump(body, sort_keys=False, allow_unicode=True)}---\n"


def _result(record: Record, catalog: Catalog) -> dict[str, Any]:
    task = record.run.task
    dataset = catalog.datasets.get(task.dataset)
    hub = next((one.repo for one in dataset.sources if one.repo), "") if dataset else ""
    metrics = [
        {
            "type": measure.lower().replace("@", "_at_"),
            "name": measure,
            "value": round(summary.value, 6),
            "args": {"interval_95": [round(summary.low, 6), round(summary.high, 6)], "items": summary.n},
        }
        for measure, summary in record.scores.items()
    ]
    return {
        "task": {"type": KINDS.get(task.kind, task.kind.value), "name": task.title or task.name},
        "dataset": {"type": hub or task.name, "name": task.title or task.name, "split": "test"},
        "metrics": metrics,
        "source": {"name": f"touchstone, run {record.id}", "url": dataset.url if dataset else ""},
    }
