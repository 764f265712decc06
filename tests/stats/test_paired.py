"""Paired tests against scipy and against full enumeration."""

from __future__ import annotations

import itertools
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import TouchstoneError
from harness.stats import (
    Test,
    bootstrap_interval,
    compare_paired,
    mcnemar,
    paired_randomisation,
    paired_t,
)

tenths = st.integers(0, 10).map(lambda tenth: tenth / 10)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(tenths, tenths), min_size=2, max_size=12))
def test_randomisation_of_few_pairs_is_exact(pairs: list[tuple[float, float]]) -> None:
    a, b = np.array(pairs).T
    signs = np.array(list(itertools.product([1.0, -1.0], repeat=len(a))))
    reached = np.abs(signs @ (a - b)) >= abs((a - b).sum()) - 1e-9
    assert paired_randomisation(a, b) == pytest.approx(reached.mean(), abs=1e-12)


@pytest.mark.parametrize("n", [17, 40, 300])
def test_randomisation_of_many_pairs_agrees_with_scipy(n: int) -> None:
    from scipy import stats

    generator = np.random.default_rng(n)
    a = generator.random(n)
    b = a + generator.normal(0.3 / np.sqrt(n), 0.2, n)
    ours = paired_randomisation(a, b, 20_000, seed=1)
    theirs = stats.permutation_test(
        (a - b,), np.mean, permutation_type="samples", n_resamples=20_000, batch=500, rng=generator
    ).pvalue
    assert ours == paired_randomisation(a, b, 20_000, seed=1)
    assert ours == pytest.approx(theirs, abs=5 * np.sqrt(2 * theirs * (1 - theirs) / 20_000) + 1e-4)


def test_randomisation_never_says_zero() -> None:
    generator = np.random.default_rng(0)
    b = generator.random(100)
    assert paired_randomisation(b + 1.0 + generator.random(100), b, 999) == 1 / 1000


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(tenths, tenths), min_size=2, max_size=40))
def test_paired_t_equals_scipy(pairs: list[tuple[float, float]]) -> None:
    from scipy import stats

    a, b = np.array(pairs).T
    if np.ptp(a - b) > 1e-9:
        assert paired_t(a, b) == pytest.approx(stats.ttest_rel(a, b).pvalue, abs=1e-12)
    assert paired_t(a, a) == 1.0
    assert paired_t(np.ones(3), np.zeros(3)) == 0.0


def test_paired_t_of_one_pair_is_an_error() -> None:
    with pytest.raises(TouchstoneError, match="a t-test needs two pairs"):
        paired_t(np.ones(1), np.zeros(1))


@pytest.mark.parametrize(
    ("only_a", "only_b", "both"), [(0, 0, 5), (1, 0, 2), (7, 2, 30), (60, 40, 0), (3, 3, 1)]
)
def test_mcnemar_is_the_binomial_test_of_the_discordant_pairs(only_a: int, only_b: int, both: int) -> None:
    from scipy import stats

    a = np.repeat([1.0, 0.0, 1.0], [only_a, only_b, both])
    b = np.repeat([0.0, 1.0, 1.0], [only_a, only_b, both])
    expected = stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert mcnemar(a, b) == pytest.approx(expected, abs=1e-12)


def test_mcnemar_refuses_scores_that_are_neither_right_nor_wrong() -> None:
    with pytest.raises(TouchstoneError, match="neither 0 nor 1"):
        mcnemar(np.array([0.5]), np.array([1.0]))


@pytest.mark.parametrize("test", get_args(Test))
def test_a_comparison_holds_what_its_parts_say(test: Test) -> None:
    generator = np.random.default_rng(2)
    a, b = (generator.random((2, 60)) < [[0.7], [0.5]]).astype(np.float64)
    found = compare_paired(a, b, test)
    p_value = {"randomisation": paired_randomisation, "t": paired_t, "mcnemar": mcnemar}[test](a, b)
    assert (found.n, found.test) == (60, test)
    assert found.p_value == pytest.approx(p_value, abs=1e-12)
    assert (found.mean_a, found.mean_b) == pytest.approx((a.mean(), b.mean()))
    assert found.difference == pytest.approx(a.mean() - b.mean())
    assert (found.low, found.high) == bootstrap_interval(a - b)
    assert (found.wins, found.losses) == (int((a > b).sum()), int((a < b).sum()))
    assert found.wins + found.losses + found.ties == 60


def test_swapping_a_and_b_mirrors_a_comparison() -> None:
    a, b = np.random.default_rng(4).random((2, 50))
    one, other = compare_paired(a, b), compare_paired(b, a)
    assert one.difference == -other.difference
    assert one.p_value == other.p_value
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=1e-3 * (one.high - one.low))
    assert (one.wins, one.losses, one.ties) == (other.losses, other.wins, other.ties)


def test_a_grouped_comparison_is_of_the_means_of_group_means() -> None:
    groups = np.repeat(np.arange(2), [2, 8]).astype(np.int32)
    a, b = np.repeat([1.0, 0.0], [2, 8]), np.zeros(10)
    found = compare_paired(a, b, groups=groups)
    assert (found.mean_a, found.difference) == pytest.approx((0.5, 0.5))
    assert found.p_value == 0.5  # two unequal pairs, four sign patterns, two as extreme


def test_comparing_different_items_is_an_error() -> None:
    with pytest.raises(TouchstoneError, match="a paired comparison needs the same items"):
        compare_paired(np.ones(3), np.ones(4))
