"""Fusion: hand-worked numbers, limits, and equality with a plain dictionary version."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.answers import PAD, Rankings
from harness.errors import TouchstoneError
from harness.execute import Session
from harness.fuse import minmax, reciprocal_ranks, summed
from harness.registry import make_adapter, parse_method
from tests.test_execute import run


def _ranking(pairs: dict[int, float], depth: int = 6) -> Rankings:
    best = sorted(pairs.items(), key=lambda pair: -pair[1])
    docs = [doc for doc, _ in best] + [PAD] * (depth - len(best))
    scores = [score for _, score in best] + [-np.inf] * (depth - len(best))
    return Rankings(np.zeros(1, np.int32), np.array([docs], np.int32), np.array([scores], np.float32))


def _fused(parts: list[Rankings], points: list[np.ndarray], weights: list[float]) -> dict[int, float]:
    docs = np.concatenate([part.docs for part in parts], axis=1)
    weighted = np.concatenate([weight * p for weight, p in zip(weights, points, strict=True)], axis=1)
    found, scores = summed(docs, weighted, 10)
    return {int(d): float(s) for d, s in zip(found[0], scores[0], strict=True) if d != PAD}


def test_interpolation_by_hand() -> None:
    # The worked example of the interpolation paper's card: BM25 {1: 12, 2: 9, 3: 6}, dense {2: .9, 4: .8,
    # 1: .5}.
    parts = [_ranking({1: 12, 2: 9, 3: 6}), _ranking({2: 0.9, 4: 0.8, 1: 0.5})]
    fused = _fused(parts, [minmax(part) for part in parts], [0.5, 0.5])
    assert fused == pytest.approx({2: 0.75, 1: 0.5, 4: 0.375, 3: 0.0})
    assert list(fused) == [2, 1, 4, 3]


def test_equal_scores_do_not_divide_by_zero() -> None:
    assert minmax(_ranking({1: 3.0, 2: 3.0}))[0].tolist() == [1, 1, 0, 0, 0, 0]
    assert minmax(_ranking({}))[0].tolist() == [0] * 6


RUN = st.dictionaries(st.integers(0, 8), st.floats(-5, 5, width=32), max_size=6)


@given(st.lists(RUN, min_size=2, max_size=3))
def test_reciprocal_ranks_equal_the_plain_sum(runs: list[dict[int, float]]) -> None:
    parts = [_ranking(one) for one in runs]
    plain: dict[int, float] = {}
    for part in parts:
        for rank, doc in enumerate(part.docs[0][part.docs[0] != PAD].tolist(), start=1):
            plain[doc] = plain.get(doc, 0.0) + 1 / (60 + rank)
    fused = _fused(parts, [reciprocal_ranks(part, 60) for part in parts], [1.0] * len(parts))
    assert fused == pytest.approx(plain, rel=1e-6)
    assert list(fused.values()) == sorted(fused.values(), reverse=True)


def test_all_weight_on_one_part_keeps_its_order(session: Session) -> None:
    run(session, "bm25")
    run(session, "fusion(methods=bm25+random,mode=minmax,weights=1.0+0.0)")
    alone, fused = session.store.find(method="bm25")[0], session.store.find()[-1]
    task = session.task(alone.run.task)
    a, b = session.store.answers(alone, task), session.store.answers(fused, task)
    for row in range(6):
        held = a.docs[row][a.docs[row] != PAD]  # type: ignore[union-attr]
        best = a.scores[row][: len(held)] > a.scores[row][: len(held)].min()  # type: ignore[union-attr]
        assert b.docs[row][: best.sum()].tolist() == held[best].tolist()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "says"),
    [("fusion(methods=bm25)", "two methods or more"), ("fusion(weights=1.0)", "1 weights for 2 methods")],
)
def test_mistakes(text: str, says: str) -> None:
    with pytest.raises(TouchstoneError, match=says):
        make_adapter(parse_method(text)).check()
