"""Verdicts from numbers alone: no files, no runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from harness.answers import Ints
from harness.errors import ExitCode
from harness.regression.policy import Quality
from harness.stats import (
    Bootstrap,
    Comparison,
    compare_paired,
    holm,
    items_needed,
    smallest_difference,
    standard_error,
)
from harness.stats.intervals import Doubles


class Verdict(StrEnum):
    """What a check says of one number."""

    FINE = "fine"
    WORSE = "worse"
    CANNOT_TELL = "cannot tell"
    NOT_MEASURED = "nothing measured"
    FAILED = "failed"


EXIT = {
    Verdict.FINE: ExitCode.FINE,
    Verdict.WORSE: ExitCode.WORSE,
    Verdict.CANNOT_TELL: ExitCode.CANNOT_TELL,
    Verdict.NOT_MEASURED: ExitCode.NOTHING_MEASURED,
    Verdict.FAILED: ExitCode.RUN_FAILED,
}
GRAVEST = (Verdict.WORSE, Verdict.FAILED, Verdict.NOT_MEASURED, Verdict.CANNOT_TELL)


@dataclass(frozen=True)
class Evidence:
    """A paired comparison, baseline less candidate: a positive difference is a drop.

    low, high of *comparison* hold all but alpha on either side. p_value: one-sided, of no drop. needed: items
    on which a candidate as good as its baseline would be found fine with the rule's power (0: none is known).
    detectable: the drop that these items find with that power.
    """

    comparison: Comparison
    p_value: float
    needed: int
    detectable: float


def weigh(baseline: Doubles, candidate: Doubles, rule: Quality, groups: Ints | None = None) -> Evidence:
    """The evidence of scores float64[n] of the same items, two at least; groups as in ``compare_paired``."""
    close = np.abs(baseline - candidate) <= rule.tolerance
    candidate = np.where(close, baseline, candidate)
    found = compare_paired(baseline, candidate, rule.test, Bootstrap(1.0 - 2.0 * rule.alpha), groups)
    half = found.p_value / 2.0
    p_value = half if found.difference > 0.0 else 1.0 - half if found.ties < found.n else 1.0
    smallest = smallest_difference(baseline - candidate, groups, 2.0 * rule.alpha, rule.power)
    spread = standard_error(baseline - candidate, groups) * math.sqrt(found.n)
    needed = items_needed(rule.effect / spread, 2.0 * rule.alpha, rule.power) if spread > 0.0 else 0
    return Evidence(found, p_value, needed, smallest)


def decide(evidence: Sequence[Evidence], rules: Sequence[Quality]) -> list[tuple[Verdict, str]]:
    """The verdict on each number, and why.

    worse: the drop is the least effect or more, and its one-sided p-value, corrected by Holm over all numbers
    of the check, is below alpha. fine: a drop as large as the least effect is excluded at level 1 - alpha
    (Schuirmann 1987's one-sided test of non-inferiority). Else the data cannot tell.
    """
    if not evidence:
        return []
    corrected = holm(np.array([one.p_value for one in evidence]))
    return [_decide(*each) for each in zip(evidence, rules, corrected.tolist(), strict=True)]


def _decide(evidence: Evidence, rule: Quality, p_value: float) -> tuple[Verdict, str]:
    found = evidence.comparison
    drop, sign = found.difference, f"{0.0 - found.difference:+.4f} (p = {p_value:.2g}, n = {found.n:,})"
    if p_value < rule.alpha and drop >= rule.effect:
        return Verdict.WORSE, f"{sign}; a drop of {rule.effect:g} counts"
    if found.high < rule.effect:
        return Verdict.FINE, f"{sign}; a drop of {rule.effect:g} is excluded"
    would = f"about {evidence.needed:,} items would do" if evidence.needed else "more items would do"
    return (
        Verdict.CANNOT_TELL,
        f"{sign}; the drop may be up to {found.high:.4f}, {rule.effect:g} counts; {would}, "
        f"or an effect of {max(evidence.detectable, found.high):.3g}",
    )


def decide_cost(pairs: Sequence[tuple[float, float]], budget: float) -> tuple[Verdict, str]:
    """The verdict on a cost measured in turns, (baseline, candidate) a round; both in the same unit.

    The ratio is the median over rounds. It is worse when it is above the budget and every round says that the
    candidate costs more: by chance that happens once in 2 ** rounds. Above the budget without that, noise
    hides it.
    """
    if all(before == after == 0.0 for before, after in pairs):
        return Verdict.FINE, "neither side has one"
    if any(before <= 0.0 for before, _ in pairs):
        return Verdict.NOT_MEASURED, "the baseline does not report it in every round"
    ratios = [after / before for before, after in pairs]
    middle = float(np.median(ratios))
    seen = f"{min(ratios):.3f} to {max(ratios):.3f} in {len(ratios)} rounds"
    text = f"x {middle:.3f} ({seen}); x {budget:g} is accepted"
    if middle <= budget:
        return Verdict.FINE, text
    if min(ratios) > 1.0:
        return Verdict.WORSE, text
    return Verdict.CANNOT_TELL, f"{text}; more rounds would do"


def gravest(verdicts: Sequence[Verdict]) -> Verdict:
    """The one that decides the exit code: worse, then a failed run, then nothing measured, then doubt.

    No verdict at all is nothing measured; so is one number that was not measured among fine ones.
    """
    return next(
        (one for one in GRAVEST if one in verdicts), Verdict.FINE if verdicts else Verdict.NOT_MEASURED
    )
