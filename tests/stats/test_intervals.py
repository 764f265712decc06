"""Intervals against scipy, against full enumeration, and their invariants."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import TouchstoneError
from harness.stats import Bootstrap, bootstrap_interval

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
        assert least - 5e-3 * error - 1e-12 <= bound <= most + 5e-3 * error + 1e-12


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


@pytest.mark.parametrize("kind", SAMPLES)
@pytest.mark.parametrize("n", [20, 300])
def test_bca_agrees_with_scipy_within_monte_carlo_error(kind: str, n: int) -> None:
    from scipy import stats

    values = SAMPLES[kind](np.random.default_rng(n), n)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="BCa", batch=1000, rng=np.random.default_rng(0)
    ).confidence_interval
    error = values.std() / np.sqrt(n)
    step = 1.0 / n if kind in ("right or wrong", "rare") else 0.0
    low, high = bootstrap_interval(values, Bootstrap(method="bca"))
    assert [low, high] == pytest.approx([theirs.low, theirs.high], abs=0.1 * error + step)


def test_bca_leans_to_the_long_tail_and_leaves_symmetric_values_alone() -> None:
    skewed = np.random.default_rng(1).exponential(size=60)
    low, high = bootstrap_interval(skewed)
    bca_low, bca_high = bootstrap_interval(skewed, Bootstrap(method="bca"))
    assert bca_low > low and bca_high > high
    even = np.concatenate((skewed, -skewed))
    assert bootstrap_interval(even, Bootstrap(method="bca")) == pytest.approx(
        bootstrap_interval(even), abs=2e-3
    )


def test_bca_of_groups_agrees_with_scipy_for_several_samples() -> None:
    from scipy import stats

    generator = np.random.default_rng(2)
    one, two = generator.exponential(size=25), generator.exponential(size=60)
    theirs = stats.bootstrap(
        (one, two),
        lambda a, b, axis: (a.mean(axis=axis) + b.mean(axis=axis)) / 2,
        n_resamples=20_000,
        method="BCa",
        batch=1000,
        rng=generator,
    ).confidence_interval
    groups = np.repeat(np.arange(2), [25, 60]).astype(np.int32)
    found = bootstrap_interval(np.concatenate((one, two)), Bootstrap(method="bca"), groups)
    assert found == pytest.approx((theirs.low, theirs.high), abs=0.012)
