"""Bootstrap intervals of a mean, computed instead of drawn."""

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

REACH = 9.0  # standard errors on either side of the mean that the bootstrap distribution is computed on
POINTS = 1 << 14  # grid points over that range, at least
CELLS = 64  # grid points over the range of the values, at least


@dataclass(frozen=True)
class Bootstrap:
    """An interval at *level*. It is computed, not drawn: there are no resamples and no seed.

    bca: bias-corrected and accelerated (Efron 1987), which follows skewed scores; percentile otherwise.
    """

    level: float = 0.95
    method: Literal["percentile", "bca"] = "percentile"

    def __post_init__(self) -> None:
        if not 0.0 < self.level < 1.0:
            raise TouchstoneError(f"{self.level} is not a confidence level", fix="give one such as 0.95")


def bootstrap_interval(
    values: Doubles, spec: Bootstrap | None = None, groups: Ints | None = None
) -> tuple[float, float]:
    """The bootstrap interval of the mean of values float64[n].

    With groups int[n]: of the mean of group means, resampled within groups. The distribution of the resampled
    mean (Efron 1979) is computed itself, as the n-fold convolution of the values' distribution: what
    resampling at random tends to. Its grid has steps of at most 1/900 standard error; a value between two
    grid points counts in part at both, which keeps the mean. NaN or no values is a TouchstoneError.
    """
    spec = spec or Bootstrap()
    parts = by_group(checked(values), groups)
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
    tails = ((1.0 - spec.level) / 2.0, (1.0 + spec.level) / 2.0)
    if spec.method == "bca":
        middle = round((centre - lowest) / step) - first
        tails = _bca_tails(tails, (float(share[middle - 1]) + float(share[middle])) / 2.0, draws)
    low, high = np.searchsorted(share, tails)
    return lowest + (first + int(low)) * step, lowest + (first + int(high)) * step


def _bca_tails(tails: tuple[float, float], below: float, draws: list[Doubles]) -> tuple[float, float]:
    """The shares of the bootstrap distribution that BCa takes for *tails*; DiCiccio & Efron 1996, section 2.

    below: the share under the observed mean, half of what is equal to it. The acceleration is the
    jackknife's over all groups, DiCiccio & Efron, section 7 (several samples).
    """
    from scipy.special import ndtr, ndtri

    bias = float(ndtri(below))
    away = [draw - draw.mean() for draw in draws]
    squares = sum(float((part**2).sum()) for part in away)
    acceleration = sum(float((part**3).sum()) for part in away) / (6.0 * squares**1.5)
    moved = bias + ndtri(np.array(tails))
    low, high = ndtr(bias + moved / (1.0 - acceleration * moved))
    return float(low), float(high)


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


def checked(values: Doubles | Flags) -> Doubles:
    """float64 and one-dimensional, with something in it and no NaN."""
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not len(values):
        raise TouchstoneError("no values to summarise", why=f"shape {values.shape}")
    if not np.isfinite(values).all():
        raise TouchstoneError("NaN or infinite score", where=f"value {int(np.argmin(np.isfinite(values)))}")
    return values


def by_group(values: Doubles, groups: Ints | None) -> list[Doubles]:
    """The values of each group; one group when there are none."""
    if groups is None:
        return [values]
    order = np.argsort(groups, kind="stable")
    _, first = np.unique(np.asarray(groups)[order], return_index=True)
    return np.split(values[order], first[1:])
