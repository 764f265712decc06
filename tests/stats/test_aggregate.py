"""Means and Borda counts with holes, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import TouchstoneError
from harness.stats import borda, mean_score
from harness.stats.aggregate import Missing

HOLE = np.nan
TABLE = np.array([[0.9, 0.2, 0.5], [0.8, HOLE, 0.5], [0.1, 0.3, 0.4]])


@pytest.mark.parametrize(
    ("rule", "means", "points"),
    [
        # Among the two complete methods: 1 + 0 + 1 and 0 + 1 + 0.
        ("exclude", [1.6 / 3, HOLE, 0.8 / 3], [2.0, HOLE, 1.0]),
        # The first and the third task: 2 + 1.5, 1 + 1.5, 0 + 0.
        ("common", [0.7, 0.65, 0.25], [3.5, 2.5, 0.0]),
        # The hole counts 0.2 in the mean, and beats nobody: 2 + 1 + 1.5, 1 + 0 + 1.5, 0 + 2 + 0.
        ("worst", [1.6 / 3, 0.5, 0.8 / 3], [4.5, 2.5, 2.0]),
    ],
)
def test_each_rule_by_hand(rule: Missing, means: list[float], points: list[float]) -> None:
    assert mean_score(TABLE, rule).tolist() == pytest.approx(means, nan_ok=True)
    assert borda(TABLE, rule).tolist() == pytest.approx(points, nan_ok=True)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_borda_follows_order_only_and_hands_out_all_points(m: int, t: int, seed: int) -> None:
    table = np.random.default_rng(seed).integers(0, 4, (m, t)).astype(np.float64)
    points = borda(table)
    assert points.sum() == pytest.approx(t * m * (m - 1) / 2)
    assert borda(np.exp(table)).tolist() == points.tolist()


@pytest.mark.parametrize(
    ("table", "rule", "message"),
    [
        (np.empty((0, 2)), "exclude", "no scores to aggregate"),
        (np.full((2, 2), HOLE), "worst", "every cell is missing"),
        (np.array([[HOLE, 1.0], [1.0, HOLE]]), "common", "no task has a result of every method"),
    ],
)
def test_nothing_to_aggregate_is_an_error(table: np.ndarray, rule: Missing, message: str) -> None:
    with pytest.raises(TouchstoneError, match=message):
        mean_score(table, rule)
