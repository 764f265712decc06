"""Two runs of one task, item by item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import TouchstoneError
from harness.record import Record
from harness.spec import Kind
from harness.stats import Comparison, compare_paired, mcnemar
from harness.store import Store
from harness.tasks.choose import GROUPED

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class PairedRuns:
    """Items that both runs answered. comparison: b against a, so its first mean is b's. items: a row an
    item, columns ``item``, ``a``, ``b``, ``difference`` (b - a) of the compared measure, sorted by the
    difference.
    """

    a: Record
    b: Record
    measure: str
    comparison: Comparison
    items: pd.DataFrame
    mcnemar_p: float | None


def compare_runs(store: Store, first: str, second: str, measure: str = "") -> PairedRuns:
    """Pair two stored runs of one task and measure (the task's main one by default); B minus A."""
    a, b = store.get(first), store.get(second)
    for record in (a, b):
        if record.status != "done":
            raise TouchstoneError(f"the run {record.id} failed", fix=record.run.command)
    if a.run.task.name != b.run.task.name:
        raise TouchstoneError(
            "the runs are of different tasks",
            why=f"{a.run.task.name} and {b.run.task.name}",
            fix="compare within a task",
        )
    if a.provenance.get("data") != b.provenance.get("data"):
        raise TouchstoneError(
            "the runs read different data", where=a.run.task.name, fix="run the older one again"
        )
    name = measure or a.run.task.main_measure
    for record in (a, b):
        if name not in record.scores:
            raise TouchstoneError(
                f"the run {record.id} has no '{name}'", why=f"it has {', '.join(record.scores)}"
            )
    grouped = ["group"] if name in GROUPED else []
    left_items = store.items(a)[["item", *grouped, name]]
    frame = left_items.merge(store.items(b)[["item", name]], on="item", suffixes=("_a", "_b"))
    if frame.empty:
        raise TouchstoneError("the runs share no item", why="one of them was limited to other items")
    frame.columns = ["item", *grouped, "a", "b"]
    frame["difference"] = frame["b"] - frame["a"]
    left, right = frame["a"].to_numpy(), frame["b"].to_numpy()
    groups = frame["group"].factorize()[0].astype(np.int32) if grouped else None
    p = mcnemar(left > 0.5, right > 0.5) if a.run.task.kind is Kind.CHOOSE else None
    order = frame.sort_values(["difference", "item"]).reset_index(drop=True)
    return PairedRuns(a, b, name, compare_paired(right, left, groups=groups), order, p)
