"""Rank intervals, corrected pairwise tests and tiers of methods that answered the same items."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.answers import Ints
from harness.scores import Summary, mean_of
from harness.stats import bootstrap_interval, holm, paired_randomisation

Doubles = npt.NDArray[np.float64]

ALPHA = 0.05
RESAMPLES = 2_000  # for rank intervals
BLOCK = 1 << 22  # random numbers drawn at once


@dataclass(frozen=True, eq=False)
class Pool:
    """Scores of the same items, of one task or several: values float64[n, m], strata int[n].

    A method's score is the mean over strata of its mean in each of them. Each of several tasks is a
    stratum, so that all count alike; a task whose measure averages group means has a stratum for each
    group instead, with values scaled so that together they count as one task.
    """

    values: Doubles
    strata: Ints

    def score(self, column: int) -> Summary:
        """The score of a method with its bootstrap interval."""
        values = self.values[:, column]
        low, high = bootstrap_interval(values, groups=self.strata)
        return Summary(mean_of(values, self.strata), low, high, len(values))


@dataclass(frozen=True)
class Pair:
    """Two methods on the same items. difference: better - worse, with its 95 % bootstrap interval low..high.

    p_value: paired randomisation test, corrected by Holm over all pairs of the same table.
    wins, losses, ties: items where *better* is above, below, equal.
    """

    better: str
    worse: str
    difference: float
    low: float
    high: float
    p_value: float
    wins: int
    losses: int
    ties: int


def rank_intervals(scores: Pool, seed: int = 0) -> list[tuple[int, int]]:
    """The 95 % interval of each method's rank over RESAMPLES bootstrap resamples of the items.

    Items are drawn within strata, the same for all methods; equal scores share the better rank.
    """
    generator = np.random.default_rng(seed)
    count = int(scores.strata.max()) + 1
    totals = np.zeros((RESAMPLES, scores.values.shape[1]))
    for stratum in range(count):
        values = scores.values[scores.strata == stratum]
        n = len(values)
        rows = max(1, BLOCK // n)
        for start in range(0, RESAMPLES, rows):
            part = min(rows, RESAMPLES - start)
            draws = generator.integers(0, n, (part, n)) + n * np.arange(part)[:, None]
            times = np.bincount(draws.ravel(), minlength=part * n).reshape(part, n)
            totals[start : start + part] += times @ values / (n * count)
    ranks = np.stack(
        [1 + (totals > totals[:, [column]] + 1e-12).sum(axis=1) for column in range(totals.shape[1])], axis=1
    )
    low, high = np.quantile(ranks, [0.025, 0.975], axis=0, method="inverted_cdf")
    return list(zip(low.astype(int).tolist(), high.astype(int).tolist(), strict=True))


def compare_all(scores: Pool, keys: Sequence[str]) -> list[Pair]:
    """Every pair of *keys*, which come best first.

    The sign flips grow with the number of pairs, so that the smallest p-value stays below ALPHA after Holm.
    """
    weights = 1.0 / np.bincount(scores.strata)[scores.strata]
    couples = [(a, b) for a in range(len(keys)) for b in range(a + 1, len(keys))]
    flips = max(10_000, 40 * len(couples))
    found, p_values = [], []
    for a, b in couples:
        left, right = scores.values[:, a], scores.values[:, b]
        p_values.append(paired_randomisation(left * weights, right * weights, flips))
        low, high = bootstrap_interval(left - right, groups=scores.strata)
        wins, losses = int((left > right).sum()), int((left < right).sum())
        difference = mean_of(left - right, scores.strata)
        found.append((keys[a], keys[b], difference, low, high, wins, losses, len(left) - wins - losses))
    corrected = holm(np.array(p_values)).tolist() if found else []
    return [Pair(*pair[:5], p_value, *pair[5:]) for pair, p_value in zip(found, corrected, strict=True)]


def tiers(keys: Sequence[str], pairs: Iterable[Pair]) -> dict[str, int]:
    """The tier of each method of *keys* (best first).

    The best method leads tier 1. A method joins the first tier whose leader is not separated from it
    (corrected p < ALPHA separates); without one it leads a tier of its own.
    """
    separated = {(pair.better, pair.worse) for pair in pairs if pair.p_value < ALPHA}
    leaders: list[str] = []
    found = {}
    for key in keys:
        place = next((n for n, leader in enumerate(leaders) if (leader, key) not in separated), len(leaders))
        if place == len(leaders):
            leaders.append(key)
        found[key] = place + 1
    return found
