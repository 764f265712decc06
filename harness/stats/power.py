"""How small a difference a paired comparison can find, and how many items one would take."""

from __future__ import annotations

import math

import numpy as np

from harness.answers import Ints
from harness.errors import TouchstoneError
from harness.stats.intervals import Doubles, by_group, checked

POWER = 0.8
ALPHA = 0.05
LARGEST = 1 << 40  # items beyond which no data set goes


def power_of(effect: float, items: int, alpha: float = ALPHA) -> float:
    """The chance that the two-sided paired t-test at *alpha* finds a true difference, by the noncentral t.

    effect: the difference in standard deviations of the items' differences (Cohen 1988, section 2.3).
    """
    from scipy.special import nctdtr, stdtrit

    if items < 2:
        return 0.0
    freedom = items - 1
    edge, shift = float(stdtrit(freedom, 1.0 - alpha / 2.0)), abs(effect) * math.sqrt(items)
    found = 1.0 - float(nctdtr(freedom, shift, edge)) + float(nctdtr(freedom, shift, -edge))
    return min(1.0, max(0.0, found)) if math.isfinite(found) else float(shift > edge)


def standard_error(differences: Doubles, groups: Ints | None = None) -> float:
    """The standard error of the mean of differences float64[n]; with groups, of the mean of group means."""
    parts = by_group(checked(differences), groups)
    if len(differences) < 2:
        raise TouchstoneError("the spread of differences needs two items", why=f"there is {len(differences)}")
    within = sum(float(part.var(ddof=min(1, len(part) - 1))) / len(part) for part in parts)
    return math.sqrt(within) / len(parts)


def smallest_difference(
    differences: Doubles, groups: Ints | None = None, alpha: float = ALPHA, power: float = POWER
) -> float:
    """The smallest true difference that a paired test on these items finds with *power*.

    differences: float64[n], a - b of each item; only their spread counts. 0 when all items differ alike.
    """
    error, n = standard_error(differences, groups), len(differences)
    low, high = 0.0, 100.0
    for _ in range(60):
        middle = (low + high) / 2.0
        reached = power_of(middle / math.sqrt(n), n, alpha) >= power
        low, high = (low, middle) if reached else (middle, high)
    return high * error


def items_needed(effect: float, alpha: float = ALPHA, power: float = POWER) -> int:
    """The fewest items on which the paired t-test finds *effect* (in standard deviations) with *power*.

    0 when the effect is 0: no number would do.
    """
    if not np.isfinite(effect) or effect == 0.0:
        return 0
    low, high = 1, 2
    while power_of(effect, high, alpha) < power:
        low, high = high, high * 2
        if high > LARGEST:
            return 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power_of(effect, middle, alpha) >= power else (middle, high)
    return high
