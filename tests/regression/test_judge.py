"""Verdicts from numbers: by hand, and how often they are wrong."""

from __future__ import annotations

import numpy as np
import pytest

from harness.errors import ExitCode
from harness.regression.judge import EXIT, Verdict, decide, decide_cost, gravest, weigh
from harness.regression.policy import Quality
from harness.stats.intervals import Doubles

RULE = Quality(effect=0.05)


def verdict(baseline: Doubles, candidate: Doubles, rule: Quality = RULE) -> tuple[Verdict, str]:
    return decide([weigh(baseline, candidate, rule)], [rule])[0]


def scores(n: int, seed: int = 0) -> Doubles:
    return np.random.default_rng(seed).random(n)


def test_the_same_scores_are_fine() -> None:
    found, why = verdict(scores(50), scores(50))
    assert found is Verdict.FINE
    assert why == "+0.0000 (p = 1, n = 50); a drop of 0.05 is excluded"


def test_a_large_drop_is_worse_and_a_gain_is_fine() -> None:
    base, noise = scores(100), 0.1 * scores(100, 1)
    assert verdict(base, base - 0.1 - noise)[0] is Verdict.WORSE
    assert verdict(base - 0.1 - noise, base)[0] is Verdict.FINE


def test_a_sure_drop_below_the_least_effect_is_fine() -> None:
    base = scores(200)
    found, why = verdict(base, base - 0.01 - 0.002 * scores(200, 1))
    assert found is Verdict.FINE and "p = 5e-05" in why


def test_too_few_items_cannot_tell_and_say_how_many_would() -> None:
    found, why = verdict(scores(20), scores(20, 3))
    assert found is Verdict.CANNOT_TELL
    evidence = weigh(scores(20), scores(20, 3), RULE)
    assert f"about {evidence.needed:,} items would do" in why
    # As many items are enough four times in five, when the candidate is as good as its baseline.
    generator = np.random.default_rng(4)
    spread = (scores(20) - scores(20, 3)).std(ddof=1)
    fine = 0
    for _ in range(200):
        differences = generator.normal(0.0, spread, evidence.needed)
        fine += verdict(np.zeros(evidence.needed), differences)[0] is Verdict.FINE
    assert fine / 200 == pytest.approx(0.8, abs=0.08)


def test_tolerated_differences_count_as_none() -> None:
    base = scores(30)
    wobble = base + np.where(np.arange(30) % 2, 1e-3, -9e-4)
    evidence = weigh(base, wobble, Quality(tolerance=1e-3 + 1e-12))
    assert (evidence.comparison.ties, evidence.comparison.difference, evidence.needed) == (30, 0.0, 0)
    assert weigh(base, wobble, Quality(tolerance=1e-4)).comparison.ties == 0


def test_groups_count_alike() -> None:
    groups = np.repeat(np.arange(2), [2, 200]).astype(np.int32)
    base, candidate = np.ones(202), np.ones(202)
    candidate[:2] = 0.0
    assert weigh(base, candidate, RULE).comparison.difference == pytest.approx(2 / 202)
    assert weigh(base, candidate, RULE, groups).comparison.difference == pytest.approx(0.5)


def test_many_numbers_raise_no_more_false_alarms_than_one() -> None:
    generator = np.random.default_rng(5)
    rule = Quality(effect=1e-9, test="t")
    alarms = 0
    for _ in range(200):
        evidence = [weigh(generator.normal(size=40), generator.normal(size=40), rule) for _ in range(6)]
        alarms += any(found is Verdict.WORSE for found, _ in decide(evidence, [rule] * 6))
    assert alarms / 200 <= 0.09  # 0.05 and three standard errors


def test_no_evidence_no_verdict() -> None:
    assert decide([], []) == []


@pytest.mark.parametrize(
    ("pairs", "expected", "text"),
    [
        ([(1.0, 1.0), (1.0, 1.1), (1.0, 0.9)], Verdict.FINE, "x 1.000 (0.900 to 1.100 in 3 rounds)"),
        ([(1.0, 2.0), (1.0, 1.9), (1.0, 2.1)], Verdict.WORSE, "x 2.000 (1.900 to 2.100 in 3 rounds); x 1.2"),
        ([(1.0, 2.0), (1.0, 1.9), (1.0, 0.8)], Verdict.CANNOT_TELL, "more rounds would do"),
        ([(0.0, 0.0), (0.0, 0.0), (0.0, 0.0)], Verdict.FINE, "neither side has one"),
        ([(0.0, 5.0), (0.0, 5.0), (0.0, 5.0)], Verdict.NOT_MEASURED, "the baseline does not report it"),
    ],
)
def test_cost_verdicts(pairs: list[tuple[float, float]], expected: Verdict, text: str) -> None:
    found, why = decide_cost(pairs, 1.2)
    assert found is expected and text in why


F, W, C, N, X = Verdict.FINE, Verdict.WORSE, Verdict.CANNOT_TELL, Verdict.NOT_MEASURED, Verdict.FAILED


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [([F, F], 0), ([F, W, X, N, C], 1), ([F, X, N, C], 4), ([F, N, C], 3), ([F, C], 5), ([], 3)],
)
def test_the_gravest_verdict_is_the_exit_code(verdicts: list[Verdict], code: int) -> None:
    assert EXIT[gravest(verdicts)] == ExitCode(code)
