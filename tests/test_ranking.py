"""Rank intervals, corrected comparisons and tiers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.ranking import (
    ALPHA,
    Pool,
    compare_all,
    corrected_p_values,
    detectable,
    rank_intervals,
    resampled,
    tiers,
)
from harness.stats import holm, paired_randomisation, smallest_difference


def pool_of(*columns: list[float] | np.ndarray, strata: list[int] | None = None) -> Pool:
    values = np.stack([np.asarray(column, np.float64) for column in columns], axis=1)
    return Pool(values, np.array(strata or [0] * len(values), np.int32))


def test_a_score_is_the_mean_over_strata() -> None:
    pool = pool_of([1.0, 0.0, 0.0, 0.5], strata=[0, 0, 0, 1])
    assert pool.score(0).value == pytest.approx((1 / 3 + 0.5) / 2)


def test_rank_intervals_of_methods_far_apart_are_single_ranks() -> None:
    noise = np.random.default_rng(1).normal(0, 0.01, (3, 200))
    pool = pool_of(0.9 + noise[0], 0.5 + noise[1], 0.1 + noise[2])
    assert rank_intervals(resampled(pool)) == [(1, 1), (2, 2), (3, 3)]


def test_rank_intervals_of_equal_methods_share_the_better_rank() -> None:
    values = np.random.default_rng(2).random(100)
    assert rank_intervals(resampled(pool_of(values, values, values - 1.0))) == [(1, 1), (1, 1), (3, 3)]


def test_rank_intervals_of_close_methods_overlap() -> None:
    draws = np.random.default_rng(3).random((2, 100))
    assert rank_intervals(resampled(pool_of(*draws))) == [(1, 2), (1, 2)]


def test_rank_intervals_are_drawn_within_strata() -> None:
    # Method 0 wins stratum 0 by a constant and both are constant elsewhere: no resample can change the order,
    # although items of stratum 1 drawn more often would.
    strata = [0] * 5 + [1] * 5
    pool = pool_of([0.6] * 5 + [0.2] * 5, [0.1] * 5 + [0.5] * 5, strata=strata)
    assert rank_intervals(resampled(pool)) == [(1, 1), (2, 2)]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(2, 40), st.integers(0, 2**32 - 1))
def test_rank_intervals_hold_the_order_of_columns_loosely(methods: int, items: int, seed: int) -> None:
    values = np.random.default_rng(seed).random((items, methods))
    found = rank_intervals(resampled(Pool(values, np.zeros(items, np.int32))))
    assert len(found) == methods
    assert all(1 <= low <= high <= methods for low, high in found)
    assert rank_intervals(resampled(Pool(values, np.zeros(items, np.int32)))) == found


def test_compare_all_gives_every_pair_with_holm_correction() -> None:
    generator = np.random.default_rng(4)
    base = generator.random(60)
    pairs = compare_all(pool_of(base + 0.2, base + 0.01 * generator.normal(size=60), base), ["a", "b", "c"])
    assert [(one.better, one.worse) for one in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    first, second, third = pairs
    assert first.difference == pytest.approx(second.difference - third.difference)
    assert first.p_value < ALPHA and second.p_value < ALPHA < third.p_value
    assert second.low < second.difference + 1e-9 and second.high > second.difference - 1e-9
    assert (second.wins, second.losses, second.ties) == (60, 0, 0)


def test_the_smallest_corrected_p_value_can_separate_however_many_pairs_there_are() -> None:
    generator = np.random.default_rng(5)
    base = generator.random(40)
    columns = [base + 0.5, *(base + 1e-6 * generator.normal(size=40) for _ in range(34))]
    pairs = compare_all(pool_of(*columns), [str(number) for number in range(35)])
    assert len(pairs) == 595
    assert max(one.p_value for one in pairs if one.better == "0") < ALPHA


def test_one_method_has_no_pairs() -> None:
    assert compare_all(pool_of([0.1, 0.2]), ["a"]) == []
    assert rank_intervals(resampled(pool_of([0.1, 0.2]))) == [(1, 1)]


@pytest.mark.parametrize(
    ("separated", "expected"),
    [
        ([], [1, 1, 1, 1]),
        ([(0, 2), (0, 3)], [1, 1, 2, 2]),
        ([(0, 1), (0, 2), (0, 3), (1, 3)], [1, 2, 2, 3]),
        # The third is noisy: it is not separated from the leader although the better second is.
        ([(0, 1)], [1, 2, 1, 1]),
    ],
)
def test_tiers_are_led_by_the_best_that_is_left(
    separated: list[tuple[int, int]], expected: list[int]
) -> None:
    p_values = np.full((4, 4), 0.5)
    for better, worse in separated:
        p_values[better, worse] = p_values[worse, better] = 0.01
    assert tiers(p_values) == expected


def test_p_values_drawn_at_once_are_those_of_the_pairwise_test() -> None:
    generator = np.random.default_rng(6)
    base = generator.random(80)
    columns = [base + shift + 0.3 * generator.normal(size=80) for shift in (0.1, 0.05, 0.0)]
    found = corrected_p_values(pool_of(*columns))
    couples = [(0, 1), (0, 2), (1, 2)]
    single = holm(np.array([paired_randomisation(columns[a], columns[b]) for a, b in couples]))
    assert [found[couple] for couple in couples] == pytest.approx(single.tolist(), abs=0.02)
    assert np.array_equal(found, found.T) and (np.diag(found) == 1.0).all()


def test_p_values_weigh_strata_alike() -> None:
    generator = np.random.default_rng(7)
    values = generator.random((40, 2))
    strata = [0] * 30 + [1] * 10
    weights = np.array([1 / 30] * 30 + [1 / 10] * 10)
    found = corrected_p_values(pool_of(*values.T, strata=strata))[0, 1]
    assert found == pytest.approx(
        paired_randomisation(values[:, 0] * weights, values[:, 1] * weights), abs=0.02
    )


def test_methods_with_equal_scores_are_not_separated() -> None:
    values = np.random.default_rng(8).random(50)
    assert (corrected_p_values(pool_of(values, values)) == 1.0).all()


def test_what_a_suite_can_detect_is_the_median_over_pairs() -> None:
    generator = np.random.default_rng(9)
    columns, strata = generator.random((3, 60)), [0] * 20 + [1] * 40
    pairs = [columns[0] - columns[1], columns[0] - columns[2], columns[1] - columns[2]]
    middle = np.median([smallest_difference(pair, np.array(strata, np.int32)) for pair in pairs])
    assert detectable(pool_of(*columns, strata=strata)) == pytest.approx(middle)
    assert np.isnan(detectable(pool_of(columns[0]))) and np.isnan(detectable(pool_of([0.1], [0.2])))
