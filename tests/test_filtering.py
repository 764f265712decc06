"""Thresholds pooled over queries: the card's toy, equality with scikit-style average precision, limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.answers import PAD, Rankings
from harness.filtering import average_precision, precision_at_recall, strictly_falling, threshold


def rankings(scores: list[list[float]]) -> Rankings:
    array = np.array(scores, np.float32)
    docs = np.tile(np.arange(array.shape[1], dtype=np.int32), (len(array), 1))
    return Rankings(np.arange(len(array), dtype=np.int32), docs, array)


RELEVANT = np.array([[True, False], [True, False]])


def test_a_query_dependent_map_separates_what_one_threshold_cannot() -> None:
    raw = rankings([[0.9, 0.8], [0.6, 0.5]])
    mapped = rankings([[20 * 0.9 - 17, 20 * 0.8 - 17], [20 * 0.6 - 11, 20 * 0.5 - 11]])
    assert average_precision(raw, RELEVANT).mean() == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(mapped, RELEVANT).mean() == 1.0
    assert precision_at_recall(mapped, RELEVANT, 1.0).mean() == 1.0
    assert precision_at_recall(raw, RELEVANT, 1.0).mean() == pytest.approx(2 / 3)


@given(
    st.lists(
        st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=3, max_size=3), min_size=1, max_size=6
    )
)
def test_average_precision_equals_the_plain_sum(rows: list[list[tuple[int, bool]]]) -> None:
    scores, labels = np.array([[s for s, _ in r] for r in rows]), np.array([[y for _, y in r] for r in rows])
    order = np.argsort(-scores, axis=1, kind="stable")
    scores, labels = np.take_along_axis(scores, order, 1), np.take_along_axis(labels, order, 1)
    plain, before = 0.0, 0.0
    for cut in sorted(set(scores.ravel().tolist()), reverse=True):
        kept = scores >= cut
        recall = float(labels[kept].sum()) / max(1, int(labels.sum()))
        plain += (recall - before) * float(labels[kept].mean())
        before = recall
    assert average_precision(rankings(scores.tolist()), labels).mean() == pytest.approx(plain, abs=1e-6)


def test_padding_takes_no_part() -> None:
    ranked = rankings([[0.9, 0.8], [0.6, 0.5]])
    ranked.docs[1, 1], ranked.scores[1, 1] = PAD, -np.inf
    assert average_precision(ranked, RELEVANT).mean() == pytest.approx((1 + 2 / 3) / 2)


def test_threshold_keeps_the_wanted_recall() -> None:
    values = np.array([[5.0, 4.0, 3.0, 2.0, 1.0]])
    relevant = np.array([[True, True, False, True, True]])
    assert threshold(values, relevant, 0.75) == 2.0
    assert threshold(values, relevant, 1.0) == 1.0
    assert threshold(values, relevant, 0.01) == 5.0
    assert threshold(values, np.zeros_like(relevant), 0.95) <= 1.0  # nothing to go by: keep all


def test_ties_of_clipping_keep_the_order() -> None:
    scores = strictly_falling(np.array([[3.0, 1.0, 1.0, 1.0, 0.5]], np.float32))
    assert (np.diff(scores) < 0).all()
    np.testing.assert_allclose(scores, [[3, 1, 1, 1, 0.5]], rtol=1e-6)
