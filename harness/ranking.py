"""Rank intervals, corrected pairwise tests and tiers of methods that answered the same items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.answers import Ints
from harness.scores import Summary, mean_of
from harness.stats import bootstrap_interval, holm, smallest_difference

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


def resampled(scores: Pool, seed: int = 0) -> Doubles:
    """float64[RESAMPLES, m]: the methods' scores over bootstrap resamples of the items.

    Items are drawn within strata, the same for all methods.
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
    return totals


def rank_intervals(totals: Doubles) -> list[tuple[int, int]]:
    """The 95 % interval of each method's rank over resamples, totals float64[r, m]; equal scores share the
    better rank.
    """
    m = totals.shape[1]
    ranks = np.stack([1 + m - np.searchsorted(np.sort(row), row + 1e-12, "right") for row in totals])
    low, high = np.quantile(ranks, [0.025, 0.975], axis=0, method="inverted_cdf")
    return list(zip(low.astype(int).tolist(), high.astype(int).tolist(), strict=True))


def corrected_p_values(scores: Pool, seed: int = 0) -> Doubles:
    """float64[m, m]: two-sided p-values of all pairs of methods, corrected by Holm; 1 on the diagonal.

    The test is that of ``stats.paired_randomisation``, drawn for all pairs at once with the same sign flips.
    Their number grows with that of pairs, so that the smallest p-value stays below ALPHA after Holm.
    """
    n, m = scores.values.shape
    first, second = np.triu_indices(m, 1)
    found = np.ones((m, m))
    if not len(first):
        return found
    weighted = scores.values / np.bincount(scores.strata)[scores.strata][:, None]
    sums, sizes = weighted.sum(axis=0), np.abs(weighted).sum(axis=0)
    reached = np.abs(sums[first] - sums[second]) - 1e-12 * (sizes[first] + sizes[second])
    flips, rows = max(10_000, 40 * len(first)), max(1, BLOCK // max(n, len(first)))
    generator, extreme = np.random.default_rng(seed), np.zeros(len(first))
    for start in range(0, flips, rows):
        signs = 1.0 - 2.0 * generator.integers(0, 2, (min(rows, flips - start), n), np.int8)
        totals, done = np.ascontiguousarray((signs @ weighted).T), 0
        for method in range(m - 1):  # a row against all below it, without copies of them
            pairs = slice(done, done + m - 1 - method)
            apart = np.abs(totals[method] - totals[method + 1 :])
            extreme[pairs] += np.count_nonzero(apart >= reached[pairs, None], axis=1)
            done = pairs.stop
    found[first, second] = found[second, first] = holm((1 + extreme) / (1 + flips))
    return found


def compare(scores: Pool, keys: Sequence[str], better: int, worse: int, p_value: float) -> Pair:
    """The pair of two columns of *scores*, whose methods are *keys*."""
    left, right = scores.values[:, better], scores.values[:, worse]
    low, high = bootstrap_interval(left - right, groups=scores.strata)
    wins, losses = int((left > right).sum()), int((left < right).sum())
    difference = mean_of(left - right, scores.strata)
    ties = len(left) - wins - losses
    return Pair(keys[better], keys[worse], difference, low, high, p_value, wins, losses, ties)


def compare_all(scores: Pool, keys: Sequence[str]) -> list[Pair]:
    """Every pair of *keys*, which come best first."""
    p_values = corrected_p_values(scores)
    couples = zip(*np.triu_indices(len(keys), 1), strict=True)
    return [compare(scores, keys, int(a), int(b), float(p_values[a, b])) for a, b in couples]


def detectable(scores: Pool, alpha: float = ALPHA, power: float = 0.8) -> float:
    """The smallest difference that these items show between two methods with *power*, alone and at *alpha*.

    The median over all pairs of methods, since it depends on how differently two of them answer; NaN for
    fewer than two methods or items.
    """
    n, m = scores.values.shape
    if m < 2 or n < 2:
        return float("nan")
    differences = (
        scores.values[:, a] - scores.values[:, b] for a, b in zip(*np.triu_indices(m, 1), strict=True)
    )
    return float(np.median([smallest_difference(d, scores.strata, alpha, power) for d in differences]))


def tiers(p_values: Doubles) -> list[int]:
    """The tier of each method, which come best first; p_values: float64[m, m], corrected.

    The best method leads tier 1. A method joins the first tier whose leader is not separated from it
    (p < ALPHA separates); without one it leads a tier of its own.
    """
    leaders: list[int] = []
    found = []
    for method in range(len(p_values)):
        joined = (n for n, leader in enumerate(leaders) if p_values[leader, method] >= ALPHA)
        place = next(joined, len(leaders))
        if place == len(leaders):
            leaders.append(method)
        found.append(place + 1)
    return found
