"""Per-item scores of a run, and their summary."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from harness.answers import Ints
from harness.errors import TouchstoneError
from harness.spec import Json


@dataclass(frozen=True)
class Summary:
    """A mean over items with its bootstrap interval."""

    value: float
    low: float
    high: float
    n: int

    def to_json(self) -> dict[str, Json]:
        """As stored in a record."""
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n}


@dataclass(frozen=True, eq=False)
class Scores:
    """items int32[n], values float64[n, m] for m measures.

    groups: a group number an item (MMLU's subject), or None. grouped: the measures that average group means.
    exponential: the measures that are e to the power of their mean (perplexities); values hold the exponent.
    counts: whole-run counts worth a line in the record (missing answers, tie-dependent items, ...).
    """

    items: Ints
    measures: tuple[str, ...]
    values: npt.NDArray[np.float64]
    groups: Ints | None = None
    grouped: frozenset[str] = frozenset()
    counts: dict[str, int] = field(default_factory=dict)
    exponential: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        bad = np.isnan(self.values)
        if bad.any():
            row, column = map(int, np.argwhere(bad)[0])
            raise TouchstoneError(f"{self.measures[column]} is NaN", where=f"item {int(self.items[row])}")

    def column(self, measure: str) -> npt.NDArray[np.float64]:
        """float64[n] of one measure."""
        return self.values[:, self.measures.index(measure)]

    def summary(self) -> dict[str, Summary]:
        """Mean and 95 % bootstrap interval of every measure."""
        from harness.stats import Bootstrap, bootstrap_interval

        found = {}
        for measure in self.measures:
            column = self.column(measure)
            groups = self.groups if measure in self.grouped else None
            low, high = bootstrap_interval(column, Bootstrap(), groups)
            three = np.array([mean_of(column, groups), low, high])
            value, low, high = (np.exp(three) if measure in self.exponential else three).tolist()
            found[measure] = Summary(value, low, high, len(column))
        return found


def mean_of(values: npt.NDArray[np.float64], groups: Ints | None) -> float:
    """The mean, or with groups the mean of group means."""
    if groups is None:
        return float(values.mean())
    _, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    return float((np.bincount(inverse, weights=values) / sizes).mean())
