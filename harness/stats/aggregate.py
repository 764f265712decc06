"""One number for several tasks, with a stated rule for missing cells."""

from __future__ import annotations

from typing import Literal

import numpy as np

from harness.errors import TouchstoneError
from harness.stats.intervals import Doubles, Flags

Missing = Literal["exclude", "common", "worst"]
RULES = """exclude: a method with a hole has no aggregate.
common: only tasks that every method has count.
worst: a missing cell counts as the task's lowest score; in Borda's count it beats nobody."""


def mean_score(table: Doubles, missing: Missing = "exclude") -> Doubles:
    """float64[m]: the mean over tasks of table float64[m, t], whose holes are NaN; NaN for no aggregate.

    missing: one of RULES. A task that nobody has is left out by each of them.
    """
    table, there = _held(table, missing)
    if missing == "worst":
        table = np.where(there, table, np.nanmin(table, axis=0))
    means: Doubles = table.mean(axis=1)
    return means


def borda(table: Doubles, missing: Missing = "exclude") -> Doubles:
    """float64[m]: Borda's count of table float64[m, t]: on each task a point for every method with a lower
    score and half a point for every equal one; the sum over tasks.

    Colombo et al. 2022 propose it for benchmarks. Points are among the methods that have an aggregate.
    """
    table, there = _held(table, missing)
    keep = there.all(axis=1) if missing == "exclude" else np.ones(len(table), bool)
    points = np.full(len(table), np.nan)
    scores = np.where(there, table, -np.inf)[keep]
    above = (scores[:, None] > scores[None]).sum(axis=1)
    equal = (scores[:, None] == scores[None]).sum(axis=1) - 1
    points[keep] = (above + equal / 2.0).sum(axis=1)
    return points


def _held(table: Doubles, missing: Missing) -> tuple[Doubles, Flags]:
    """The columns that count under the rule, and which of their cells are there."""
    table = np.asarray(table, np.float64)
    if table.ndim != 2 or not table.size:
        raise TouchstoneError("no scores to aggregate", why=f"shape {table.shape}")
    there = ~np.isnan(table)
    columns = there.all(axis=0) if missing == "common" else there.any(axis=0)
    if not columns.any():
        why = "no task has a result of every method" if missing == "common" else "every cell is missing"
        raise TouchstoneError("no task to aggregate over", why=why)
    return table[:, columns], there[:, columns]
