"""Where methods stand: score, rank interval, tier and distance to the leader, for a few or for a thousand.

Up to FEW methods everything is computed as in ``ranking``. Beyond, intervals are percentiles of the
resamples that rank intervals rest on, and pairs are told apart by the t-test, since exact intervals would
take minutes and a randomisation test cannot reach the p-values that Holm asks for over so many pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.ranking import (
    Pair,
    Pool,
    compare,
    compare_all,
    corrected_p_values,
    rank_intervals,
    resampled,
    tiers,
)
from harness.scores import Summary
from harness.stats import holm

Doubles = npt.NDArray[np.float64]

FEW = 60


@dataclass(frozen=True)
class Standing:
    """A method's place: score, 95 % interval of the rank, tier from 1, the leader against it."""

    score: Summary
    rank: tuple[int, int]
    tier: int
    behind: Pair | None


def standings(scores: Pool, keys: Sequence[str]) -> list[Standing]:
    """The standing of every column of *scores*, which come best first; keys names them."""
    totals = resampled(scores)
    ranks = rank_intervals(totals)
    columns = range(len(keys))
    if len(keys) <= FEW:
        p_values = corrected_p_values(scores)
        summaries = [scores.score(n) for n in columns]
        behind = [compare(scores, keys, 0, n, float(p_values[0, n])) if n else None for n in columns]
    else:
        p_values = t_values_of_all(scores)
        summaries = summaries_of(scores, totals)
        behind = [
            resampled_pair(scores, keys, (0, n), float(p_values[0, n]), totals) if n else None
            for n in columns
        ]
    places = zip(summaries, ranks, tiers(p_values), behind, strict=True)
    return [Standing(*place) for place in places]


def summaries_of(scores: Pool, totals: Doubles | None = None) -> list[Summary]:
    """Score and interval of every column, the interval from the resamples *totals* where there are many."""
    if len(scores.values.T) <= FEW:
        return [scores.score(n) for n in range(len(scores.values.T))]
    totals = resampled(scores) if totals is None else totals
    low, high = np.quantile(totals, [0.025, 0.975], axis=0)
    means = item_weights(scores) @ scores.values
    rows = zip(means.tolist(), low.tolist(), high.tolist(), strict=True)
    return [Summary(*row, len(scores.values)) for row in rows]


def item_weights(scores: Pool) -> Doubles:
    """float64[n], together 1: how much each item counts in a score."""
    sizes = np.bincount(scores.strata)
    return 1.0 / (sizes[scores.strata] * len(sizes))


def t_values_of_all(scores: Pool) -> Doubles:
    """float64[m, m]: p-values of ``stats.paired_t`` for all pairs, corrected by Holm; 1 on the diagonal.

    With strata the standard error is that of a stratified mean (Cochran 1977, section 5.4) and the degrees
    of freedom are those of all strata together. Only covariances are formed: n m^2 multiplications.
    """
    from scipy.special import stdtr

    n, m = scores.values.shape
    count = int(scores.strata.max()) + 1
    spread = np.zeros((m, m))
    for stratum in range(count):
        values = scores.values[scores.strata == stratum]
        away = values - values.mean(axis=0)
        size = len(values)
        spread += away.T @ away / (max(1, size - 1) * size * count**2)
    means = item_weights(scores) @ scores.values
    first, second = np.triu_indices(m, 1)
    own = np.diag(spread)
    error = np.sqrt(np.maximum(0.0, own[first] + own[second] - 2.0 * spread[first, second]))
    apart = np.abs(means[first] - means[second])
    nothing = error <= 1e-12 * np.sqrt(own[first] + own[second])
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2.0 * stdtr(max(1, n - count), -apart / error)
    p = np.where(nothing, np.where(apart > 1e-12, 0.0, 1.0), p)
    found = np.ones((m, m))
    found[first, second] = found[second, first] = holm(p) if len(p) else p
    return found


def resampled_pair(
    scores: Pool, keys: Sequence[str], pair: tuple[int, int], p_value: float, totals: Doubles
) -> Pair:
    """The pair of two columns, better first, with the interval from the resamples *totals*."""
    better, worse = pair
    left, right = scores.values[:, better], scores.values[:, worse]
    low, high = np.quantile(totals[:, better] - totals[:, worse], [0.025, 0.975])
    wins, losses = int((left > right).sum()), int((left < right).sum())
    difference = float(item_weights(scores) @ (left - right))
    ties = len(left) - wins - losses
    return Pair(keys[better], keys[worse], difference, float(low), float(high), p_value, wins, losses, ties)


def pairs_of_best(scores: Pool, keys: Sequence[str], most: int) -> list[Pair]:
    """Every pair of the best *most* of *keys*, corrected over the pairs shown."""
    few = Pool(scores.values[:, :most], scores.strata)
    if len(keys) <= FEW:
        return compare_all(few, keys[:most])
    p_values = corrected_p_values(few)
    couples = [(int(a), int(b)) for a, b in zip(*np.triu_indices(few.values.shape[1], 1), strict=True)]
    totals = resampled(few)
    return [resampled_pair(few, keys, pair, float(p_values[pair]), totals) for pair in couples]
