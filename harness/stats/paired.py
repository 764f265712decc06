"""Two methods on the same items: randomisation, t- and McNemar's tests."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.answers import Ints
from harness.errors import TouchstoneError
from harness.stats.intervals import Bootstrap, Doubles, Flags, bootstrap_interval, checked

Test = Literal["randomisation", "t", "mcnemar"]

ENUMERATED = 16  # pairs up to which a randomisation test goes through all sign patterns
BLOCK = 1 << 22  # random bytes drawn at once


@dataclass(frozen=True)
class Comparison:
    """a against b on the same n items. difference: mean_a - mean_b, with its bootstrap interval low..high.

    p_value is two-sided, by *test*; wins, losses, ties: items where a is above, below, equal to b.
    """

    n: int
    mean_a: float
    mean_b: float
    difference: float
    low: float
    high: float
    p_value: float
    test: Test
    wins: int
    losses: int
    ties: int


def paired_randomisation(a: Doubles, b: Doubles, resamples: int = 10_000, seed: int = 0) -> float:
    """Two-sided p-value of the paired randomisation (sign-flip) test on the mean difference; Fisher 1935.

    Exact up to 16 unequal pairs; else (1 + extreme) / (1 + resamples), Davison & Hinkley 1997, section 4.2.
    """
    return _sign_flips(checked(a) - checked(b), resamples, seed)


def _sign_flips(differences: Doubles, resamples: int, seed: int) -> float:
    """The p-value of the sum of *differences*; equal pairs change nothing and are dropped."""
    held = differences[differences != 0.0]
    n = len(held)
    if not n:
        return 1.0
    # Eight pairs share one random byte: their 256 signed sums are tabled.
    signs = 1.0 - 2.0 * np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
    padded = np.concatenate((held, np.zeros(-n % 8))).reshape(-1, 8)
    table = (padded @ signs.T).ravel()
    offset = 256 * np.arange(len(padded))
    reached = abs(float(held.sum())) - 1e-12 * float(np.abs(held).sum())
    if n <= ENUMERATED:
        every = np.indices((256,) * len(padded)).reshape(len(padded), -1).T
        return float((np.abs(table[every + offset].sum(axis=1)) >= reached).mean())
    generator, extreme, rows = np.random.default_rng(seed), 0, max(1, BLOCK // len(padded))
    for start in range(0, resamples, rows):
        shape = (min(rows, resamples - start), len(padded))
        sums = table[generator.integers(0, 256, shape, np.uint8) + offset].sum(axis=1)
        extreme += int((np.abs(sums) >= reached).sum())
    return (1 + extreme) / (1 + resamples)


def paired_t(a: Doubles, b: Doubles) -> float:
    """Two-sided p-value of Student's paired t-test; 1 when no pair differs, 0 when all differ by the same."""
    from scipy.special import stdtr

    differences = checked(a) - checked(b)
    n = len(differences)
    if n < 2:
        raise TouchstoneError("a t-test needs two pairs", why=f"there is {n}")
    error = float(differences.std(ddof=1)) / math.sqrt(n)
    if error == 0.0:
        return 0.0 if differences.any() else 1.0
    return float(2.0 * stdtr(n - 1, -abs(float(differences.mean())) / error))


def mcnemar(a: Doubles | Flags, b: Doubles | Flags) -> float:
    """Two-sided p-value of the exact (binomial) McNemar test; a, b: 1 for a right answer, 0 for a wrong."""
    from scipy.special import bdtr

    a, b = checked(a), checked(b)
    if not (np.isin(a, (0.0, 1.0)).all() and np.isin(b, (0.0, 1.0)).all()):
        raise TouchstoneError(
            "McNemar's test compares right and wrong answers", why="a score is neither 0 nor 1"
        )
    only_a, only_b = int((a > b).sum()), int((b > a).sum())
    return min(1.0, 2.0 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))


def compare_paired(
    a: Doubles,
    b: Doubles,
    test: Test = "randomisation",
    spec: Bootstrap | None = None,
    groups: Ints | None = None,
) -> Comparison:
    """Compare two methods on the same items, a[i] and b[i] being scores of item i.

    With groups, means, interval and the randomisation test are those of the mean of group means; the t-test
    and McNemar's test take all items alike.
    """
    a, b = checked(a), checked(b)
    if len(a) != len(b):
        raise TouchstoneError("a paired comparison needs the same items", why=f"{len(a)} and {len(b)} scores")
    weights = _weights(len(a), groups)
    low, high = bootstrap_interval(a - b, spec, groups)
    if test == "randomisation":
        p_value = _sign_flips((a - b) * weights, 10_000, 0)
    else:
        p_value = paired_t(a, b) if test == "t" else mcnemar(a, b)
    mean_a, mean_b = float(a @ weights), float(b @ weights)
    wins, losses = int((a > b).sum()), int((a < b).sum())
    ties = len(a) - wins - losses
    return Comparison(len(a), mean_a, mean_b, mean_a - mean_b, low, high, p_value, test, wins, losses, ties)


def _weights(n: int, groups: Ints | None) -> Doubles:
    """float64[n] that sum to 1: the weight of each item in the mean, or in the mean of group means."""
    if groups is None:
        return np.full(n, 1.0 / n)
    _, which, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    return 1.0 / (sizes[which] * len(sizes))
