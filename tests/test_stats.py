"""Intervals and tests against scipy, against full enumeration, and their invariants."""

from __future__ import annotations

import itertools
from typing import get_args

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import TouchstoneError
from harness.stats import (
    Bootstrap,
    Test,
    bootstrap_interval,
    compare_paired,
    holm,
    mcnemar,
    paired_randomisation,
    paired_t,
)

Doubles = npt.NDArray[np.float64]

SAMPLES = {
    "uniform": lambda g, n: g.random(n),
    "right or wrong": lambda g, n: (g.random(n) < 0.3).astype(np.float64),
    "reciprocal ranks": lambda g, n: np.where(g.random(n) < 0.4, 0.0, 1.0 / g.integers(1, 11, n)),
    "differences": lambda g, n: g.normal(0.01, 0.2, n).clip(-1, 1),
    "rare": lambda g, n: (g.random(n) < 5 / n).astype(np.float64),
}


@pytest.mark.parametrize("kind", SAMPLES)
@pytest.mark.parametrize("n", [20, 300, 7000])
def test_interval_agrees_with_scipy_within_monte_carlo_error(kind: str, n: int) -> None:
    from scipy import stats

    values = SAMPLES[kind](np.random.default_rng(n), n)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=4000, method="percentile", batch=200, rng=np.random.default_rng(0)
    )
    error = values.std() / np.sqrt(n)
    # A 2.5 % quantile of 4,000 resamples is good to 0.042 standard errors; a lattice adds one step.
    step = 1.0 / n if kind in ("right or wrong", "rare") else 0.0
    low, high = bootstrap_interval(values)
    assert low == pytest.approx(theirs.confidence_interval.low, abs=0.2 * error + step)
    assert high == pytest.approx(theirs.confidence_interval.high, abs=0.2 * error + step)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 0.1, 1 / 3, 0.5, 1.0, -2.0]), min_size=1, max_size=5),
    st.sampled_from([0.5, 0.8, 0.95]),
)
def test_interval_is_the_one_over_all_resamples(values: list[float], level: float) -> None:
    """All n ** n resamples of up to five values, enumerated."""
    means = np.sort([np.mean(some) for some in itertools.product(values, repeat=len(values))])
    share = np.arange(1, len(means) + 1) / len(means)
    error = np.std(values) / np.sqrt(len(values))
    for tail, bound in zip(
        ((1 - level) / 2, (1 + level) / 2),
        bootstrap_interval(np.array(values), Bootstrap(level)),
        strict=True,
    ):
        # Any quantile within 0.1 % of the wanted one counts: the grid moves a jump by less than that.
        least = means[np.searchsorted(share, tail - 1e-3)]
        most = means[min(np.searchsorted(share, tail + 1e-3), len(means) - 1)]
        assert least - 2e-3 * error - 1e-12 <= bound <= most + 2e-3 * error + 1e-12


def test_grouped_interval_is_of_the_mean_of_group_means() -> None:
    generator = np.random.default_rng(3)
    groups = np.repeat(np.arange(6), [5, 10, 20, 40, 80, 160]).astype(np.int32)
    values = (generator.random(len(groups)) < (groups + 1) / 8).astype(np.float64)
    order = generator.permutation(len(values))
    low, high = bootstrap_interval(values[order], groups=groups[order])
    means = np.zeros(20_000)
    for group in range(6):
        own = values[groups == group]
        means += generator.choice(own, (20_000, len(own))).mean(axis=1) / 6
    error = means.std()
    assert [low, high] == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.1 * error)
    plain = bootstrap_interval(values)
    assert abs(plain[0] - low) > error


def test_interval_is_the_same_each_time_and_follows_a_shift_and_a_scale() -> None:
    values = np.random.default_rng(5).random(200)
    low, high = bootstrap_interval(values)
    assert (low, high) == bootstrap_interval(values.copy())
    assert low < values.mean() < high
    assert bootstrap_interval(3.0 * values - 1.0) == pytest.approx(
        (3 * low - 1, 3 * high - 1), abs=1e-3 * (high - low)
    )
    assert bootstrap_interval(values, Bootstrap(0.5))[0] > low


@pytest.mark.parametrize("values", [[0.25], [0.25] * 7])
def test_equal_values_have_no_width(values: list[float]) -> None:
    assert bootstrap_interval(np.array(values)) == pytest.approx((0.25, 0.25), abs=1e-15)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "no values to summarise (shape (0,))"),
        ([[1.0]], "no values to summarise (shape (1, 1))"),
        ([0.5, float("nan")], "value 1: NaN or infinite score"),
        ([float("inf")], "value 0: NaN or infinite score"),
    ],
)
def test_values_without_a_mean_are_errors(values: list[float], message: str) -> None:
    with pytest.raises(TouchstoneError) as caught:
        bootstrap_interval(np.array(values))
    assert caught.value.line == message


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_levels_outside_0_to_1_are_errors(level: float) -> None:
    with pytest.raises(TouchstoneError, match="is not a confidence level"):
        Bootstrap(level)


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


def test_holm_on_a_worked_example() -> None:
    """Sorted .005 .01 .03 .04, times 4 3 2 1: .02 .03 .06 .04, made monotone."""
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_keeps_the_order_and_never_lowers(p_values: list[float]) -> None:
    given_p = np.array(p_values)
    adjusted = holm(given_p)
    assert ((adjusted >= given_p) & (adjusted <= 1.0)).all()
    assert (np.diff(adjusted[np.argsort(given_p, kind="stable")]) >= 0).all()


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
