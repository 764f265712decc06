"""Two runs of one task, item by item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.answers import Ints
from harness.errors import TouchstoneError
from harness.record import Record
from harness.spec import Kind
from harness.stats import Comparison, compare_paired, mcnemar
from harness.store import Store
from harness.tasks.choose import GROUPED

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class PairedItems:
    """Items that two runs answered: a row an item, columns ``item``, ``a``, ``b``, ``difference`` (b - a) of
    *measure*, and ``group`` where that averages group means; groups int32[n] then, else None.
    """

    measure: str
    items: pd.DataFrame
    groups: Ints | None


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


def pair_items(a: tuple[Store, Record], b: tuple[Store, Record], measure: str = "") -> PairedItems:
    """The items of two stored runs of one task, by the task's main measure unless another is named.

    A failed run, another task, other data, a measure that one lacks and no common item are TouchstoneErrors.
    """
    for _, record in (a, b):
        if record.status != "done":
            raise TouchstoneError(f"the run {record.id} failed", fix=record.run.command)
    left, right = a[1], b[1]
    if left.run.task.name != right.run.task.name:
        raise TouchstoneError(
            "the runs are of different tasks",
            why=f"{left.run.task.name} and {right.run.task.name}",
            fix="compare within a task",
        )
    if left.provenance.get("data") != right.provenance.get("data"):
        raise TouchstoneError(
            "the runs read different data", where=left.run.task.name, fix="run the older one again"
        )
    name = measure or left.run.task.main_measure
    for record in (left, right):
        if name not in record.scores:
            raise TouchstoneError(
                f"the run {record.id} has no '{name}'", why=f"it has {', '.join(record.scores)}"
            )
    grouped = ["group"] if name in GROUPED else []
    frame = a[0].items(left)[["item", *grouped, name]]
    frame = frame.merge(b[0].items(right)[["item", name]], on="item", suffixes=("_a", "_b"))
    if frame.empty:
        raise TouchstoneError("the runs share no item", why="one of them was limited to other items")
    frame.columns = ["item", *grouped, "a", "b"]
    frame["difference"] = frame["b"] - frame["a"]
    groups = frame["group"].factorize()[0].astype(np.int32) if grouped else None
    return PairedItems(name, frame, groups)


def compare_runs(store: Store, first: str, second: str, measure: str = "") -> PairedRuns:
    """Pair two stored runs of one task and measure (the task's main one by default); B minus A."""
    a, b = store.get(first), store.get(second)
    paired = pair_items((store, a), (store, b), measure)
    left, right = paired.items["a"].to_numpy(), paired.items["b"].to_numpy()
    p = mcnemar(left > 0.5, right > 0.5) if a.run.task.kind is Kind.CHOOSE else None
    order = paired.items.sort_values(["difference", "item"]).reset_index(drop=True)
    return PairedRuns(a, b, paired.measure, compare_paired(right, left, groups=paired.groups), order, p)
