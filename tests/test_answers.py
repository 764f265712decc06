"""Rankings and choices: order, checks, joining."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.answers import PAD, Choices, Rankings
from harness.errors import TouchstoneError

IDS = ["d10", "d2", "d1", "é", "D3", "d"]


def _rankings(docs: list[list[int]], scores: list[list[float]]) -> Rankings:
    return Rankings(
        np.arange(len(docs), dtype=np.int32), np.array(docs, np.int32), np.array(scores, np.float32)
    )


def _ids(docs: np.ndarray) -> list[str]:
    return [IDS[doc] for doc in docs]


@given(
    st.lists(st.sampled_from([0.0, 1.0, 2.5]), min_size=6, max_size=6),
    st.permutations(range(6)),
    st.integers(0, 6),
)
def test_canonical_order_is_score_down_then_id_down(scores: list[float], docs: list[int], held: int) -> None:
    padded = [doc if i < held else PAD for i, doc in enumerate(docs)]
    found = _rankings([padded], [scores]).canonical(_ids)
    pairs = list(zip(found.scores[0, :held].tolist(), _ids(found.docs[0, :held]), strict=True))
    expected = [(score, IDS[doc]) for score, doc in zip(scores[:held], docs[:held], strict=True)]
    assert pairs == sorted(expected, reverse=True)
    assert (found.docs[0, held:] == PAD).all()
    assert np.isneginf(found.scores[0, held:]).all()


@pytest.mark.parametrize(
    ("docs", "scores", "says"),
    [
        ([[0, 1]], [[1.0, np.nan]], "NaN score"),
        ([[0, 1]], [[1.0, np.inf]], "infinite score"),
        ([[0, 6]], [[2.0, 1.0]], "document number out of range"),
        ([[0, -2]], [[2.0, 1.0]], "document number out of range"),
        ([[3, 3]], [[2.0, 1.0]], "repeated document"),
        ([[3, 2]], [[2.0]], "mismatched shapes"),
    ],
)
def test_bad_rankings_name_the_query(docs: list[list[int]], scores: list[list[float]], says: str) -> None:
    with pytest.raises(TouchstoneError) as caught:
        _rankings(docs, scores).checked(6, lambda item: f"query 'q{item}'")
    assert says in caught.value.line
    assert "mismatched" in says or "query 'q0'" in caught.value.line


def test_padding_may_carry_any_score() -> None:
    _rankings([[0, PAD]], [[1.0, np.nan]]).checked(6, str)


def test_parts_of_different_depth_join_by_item() -> None:
    a = Rankings(np.array([2], np.int32), np.array([[5]], np.int32), np.array([[1.0]], np.float32))
    b = Rankings(
        np.array([0, 1], np.int32), np.array([[1, 2], [3, 4]], np.int32), np.ones((2, 2), np.float32)
    )
    whole = Rankings.concatenate([a, b])
    assert whole.items.tolist() == [0, 1, 2]
    assert whole.docs.tolist() == [[1, 2], [3, 4], [5, PAD]]
    assert whole.select(np.array([2, 0], np.int32)).docs.tolist() == [[5, PAD], [1, 2]]
    assert whole.resized(1).docs.tolist() == [[1], [3], [5]]


def test_tied_items_are_counted() -> None:
    assert _rankings([[0, 1], [1, 2], [3, PAD]], [[1, 1], [2, 1], [1, -np.inf]]).tied_items() == 1


def test_choices_join_and_refuse_nan() -> None:
    a = Choices(np.array([1], np.int32), np.array([[-1.0, -2.0]], np.float32))
    b = Choices(np.array([0], np.int32), np.array([[-1.0, -2.0, -3.0]], np.float32))
    assert Choices.concatenate([a, b]).logprobs.tolist() == [[-1, -2, -3], [-1, -2, -np.inf]]
    with pytest.raises(TouchstoneError, match="item 1: NaN"):
        Choices(np.array([1], np.int32), np.array([[np.nan, 0.0]], np.float32)).checked(lambda i: f"item {i}")
