"""Rank intervals, corrected comparisons and tiers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.ranking import ALPHA, Pair, Pool, compare_all, rank_intervals, tiers


def pool_of(*columns: list[float] | np.ndarray, strata: list[int] | None = None) -> Pool:
    values = np.stack([np.asarray(column, np.float64) for column in columns], axis=1)
    return Pool(values, np.array(strata or [0] * len(values), np.int32))


def pair(better: str, worse: str, p_value: float) -> Pair:
    return Pair(better, worse, 0.1, 0.0, 0.2, p_value, 1, 0, 0)


def test_a_score_is_the_mean_over_strata() -> None:
    pool = pool_of([1.0, 0.0, 0.0, 0.5], strata=[0, 0, 0, 1])
    assert pool.score(0).value == pytest.approx((1 / 3 + 0.5) / 2)


def test_rank_intervals_of_methods_far_apart_are_single_ranks() -> None:
    noise = np.random.default_rng(1).normal(0, 0.01, (3, 200))
    pool = pool_of(0.9 + noise[0], 0.5 + noise[1], 0.1 + noise[2])
    assert rank_intervals(pool) == [(1, 1), (2, 2), (3, 3)]


def test_rank_intervals_of_equal_methods_share_the_better_rank() -> None:
    values = np.random.default_rng(2).random(100)
    assert rank_intervals(pool_of(values, values, values - 1.0)) == [(1, 1), (1, 1), (3, 3)]


def test_rank_intervals_of_close_methods_overlap() -> None:
    draws = np.random.default_rng(3).random((2, 100))
    assert rank_intervals(pool_of(*draws)) == [(1, 2), (1, 2)]


def test_rank_intervals_are_drawn_within_strata() -> None:
    # Method 0 wins stratum 0 by a constant and both are constant elsewhere: no resample can change the order,
    # although items of stratum 1 drawn more often would.
    strata = [0] * 5 + [1] * 5
    pool = pool_of([0.6] * 5 + [0.2] * 5, [0.1] * 5 + [0.5] * 5, strata=strata)
    assert rank_intervals(pool) == [(1, 1), (2, 2)]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(2, 40), st.integers(0, 2**32 - 1))
def test_rank_intervals_hold_the_order_of_columns_loosely(methods: int, items: int, seed: int) -> None:
    values = np.random.default_rng(seed).random((items, methods))
    found = rank_intervals(Pool(values, np.zeros(items, np.int32)))
    assert len(found) == methods
    assert all(1 <= low <= high <= methods for low, high in found)
    assert rank_intervals(Pool(values, np.zeros(items, np.int32))) == found


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
    assert rank_intervals(pool_of([0.1, 0.2])) == [(1, 1)]


@pytest.mark.parametrize(
    ("separated", "expected"),
    [
        ([], {"a": 1, "b": 1, "c": 1, "d": 1}),
        ([("a", "c"), ("a", "d")], {"a": 1, "b": 1, "c": 2, "d": 2}),
        ([("a", "b"), ("a", "c"), ("a", "d"), ("b", "d")], {"a": 1, "b": 2, "c": 2, "d": 3}),
        # c is noisy: it is not separated from the leader although the better b is.
        ([("a", "b")], {"a": 1, "b": 2, "c": 1, "d": 1}),
    ],
)
def test_tiers_are_led_by_the_best_that_is_left(
    separated: list[tuple[str, str]], expected: dict[str, int]
) -> None:
    keys = "abcd"
    pairs = [
        pair(x, y, 0.01 if (x, y) in separated else 0.5) for i, x in enumerate(keys) for y in keys[i + 1 :]
    ]
    assert tiers(keys, pairs) == expected
