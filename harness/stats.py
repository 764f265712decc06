"""Bootstrap intervals, paired tests and the correction for many of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from harness.answers import Ints
from harness.errors import TouchstoneError

Doubles = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Complexes = npt.NDArray[np.complex128]
Test = Literal["randomisation", "t", "mcnemar"]

REACH = 9.0  # standard errors on either side of the mean that the bootstrap distribution is computed on
POINTS = 1 << 16  # grid points over that range, at least
CELLS = 64  # grid points over the range of the values, at least
ENUMERATED = 16  # pairs up to which a randomisation test goes through all sign patterns
BLOCK = 1 << 22  # random bytes drawn at once


@dataclass(frozen=True)
class Bootstrap:
    """A percentile interval at *level*. It is computed, not drawn: there are no resamples and no seed."""

    level: float = 0.95

    def __post_init__(self) -> None:
        if not 0.0 < self.level < 1.0:
            raise TouchstoneError(f"{self.level} is not a confidence level", fix="give one such as 0.95")


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


def bootstrap_interval(
    values: Doubles, spec: Bootstrap | None = None, groups: Ints | None = None
) -> tuple[float, float]:
    """The percentile bootstrap interval of the mean of values float64[n].

    With groups int[n]: of the mean of group means, resampled within groups. The distribution of the resampled
    mean (Efron 1979) is computed itself, as the n-fold convolution of the values' distribution: what
    resampling at random tends to. Its grid has steps of at most 1/3600 standard error; a value between two
    grid points counts in part at both, which keeps the mean. NaN or no values is a TouchstoneError.
    """
    level = (spec or Bootstrap()).level
    parts = _by_group(_checked(values), groups)
    draws = [part / (len(part) * len(parts)) for part in parts]
    centre = sum(float(draw.sum()) for draw in draws)
    width = 2.0 * REACH * math.sqrt(sum(len(draw) * float(draw.var()) for draw in draws))
    span = max(float(np.ptp(draw)) for draw in draws)
    if span == 0.0 or width == 0.0:
        constant = sum(float(part.mean()) for part in parts) / len(parts)
        return constant, constant
    step = span / max(CELLS, math.ceil(span * POINTS / width))
    size = 1 << math.ceil(math.log2(width / step))
    transform = np.ones(size // 2 + 1, np.complex128)
    for draw in draws:
        transform *= _power(np.fft.rfft(_on_grid(draw, step, size)), len(draw))
    # The grid is a circle: its point 0 stands for n times the smallest value, and for that plus size * step.
    lowest = sum(len(draw) * float(draw.min()) for draw in draws)
    first = math.floor((centre - width / 2.0 - lowest) / step)
    share = np.cumsum(np.roll(np.fft.irfft(transform, size), -(first % size)))
    low, high = np.searchsorted(share, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return lowest + (first + int(low)) * step, lowest + (first + int(high)) * step


def _on_grid(draw: Doubles, step: float, size: int) -> Doubles:
    """float64[size]: the distribution of one draw, in steps above the smallest value."""
    place = (draw - draw.min()) / step
    below = np.floor(place)
    over = place - below
    at = below.astype(np.int64)
    share = np.bincount(at % size, 1.0 - over, size) + np.bincount((at + 1) % size, over, size)
    return share / len(draw)


def _power(base: Complexes, exponent: int) -> Complexes:
    """base ** exponent by squaring: an order faster than complex ``**``."""
    product = np.ones_like(base)
    while exponent:
        if exponent & 1:
            product *= base
        base, exponent = base * base, exponent >> 1
    return product


def _checked(values: Doubles | Flags) -> Doubles:
    """float64 and one-dimensional, with something in it and no NaN."""
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not len(values):
        raise TouchstoneError("no values to summarise", why=f"shape {values.shape}")
    if not np.isfinite(values).all():
        raise TouchstoneError("NaN or infinite score", where=f"value {int(np.argmin(np.isfinite(values)))}")
    return values


def _by_group(values: Doubles, groups: Ints | None) -> list[Doubles]:
    """The values of each group; one group when there are none."""
    if groups is None:
        return [values]
    order = np.argsort(groups, kind="stable")
    _, first = np.unique(np.asarray(groups)[order], return_index=True)
    return np.split(values[order], first[1:])


def paired_randomisation(a: Doubles, b: Doubles, resamples: int = 10_000, seed: int = 0) -> float:
    """Two-sided p-value of the paired randomisation (sign-flip) test on the mean difference; Fisher 1935.

    Exact up to 16 unequal pairs; else (1 + extreme) / (1 + resamples), Davison & Hinkley 1997, section 4.2.
    """
    return _sign_flips(_checked(a) - _checked(b), resamples, seed)


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

    differences = _checked(a) - _checked(b)
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

    a, b = _checked(a), _checked(b)
    if not (np.isin(a, (0.0, 1.0)).all() and np.isin(b, (0.0, 1.0)).all()):
        raise TouchstoneError(
            "McNemar's test compares right and wrong answers", why="a score is neither 0 nor 1"
        )
    only_a, only_b = int((a > b).sum()), int((b > a).sum())
    return min(1.0, 2.0 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))


def holm(p_values: Doubles) -> Doubles:
    """float64[m]: p-values adjusted for m tests by Holm 1979's step-down method."""
    p_values = _checked(p_values)
    order = np.argsort(p_values, kind="stable")
    steps = p_values[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted


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
    a, b = _checked(a), _checked(b)
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
