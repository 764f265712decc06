"""Interpolation and vector feedback: the card's worked numbers, its limits, and the four pipelines."""

from __future__ import annotations

import numpy as np
import pytest

from adapters.feedback.prf_interpolation import PrfInterpolation, Settings, rocchio
from harness.answers import PAD, Rankings
from harness.errors import TouchstoneError
from harness.execute import Session
from harness.registry import make_adapter, parse_method
from tests.adapters.dense.test_dense import ranked
from tests.needs import needs


def test_rocchio_by_hand() -> None:
    documents = np.array([[0.8, 0.6], [0.6, 0.8], [0, 1]], np.float32)
    query = np.array([[1, 0]], np.float32)
    docs = np.array([[0, 1, 2]], np.int32)
    alpha_beta = np.array(0.4), np.array(0.6)
    np.testing.assert_allclose(rocchio(query, docs, documents, alpha_beta), [[0.68, 0.48]], rtol=1e-6)
    one = rocchio(query, np.array([[1, PAD, PAD]], np.int32), documents, alpha_beta)
    np.testing.assert_allclose(one, [[0.76, 0.48]], rtol=1e-6)
    assert (rocchio(query, docs[:, :0], documents, alpha_beta) == query).all()  # k = 0: no feedback


def test_average_is_the_mean_of_query_and_feedback() -> None:
    documents = np.array([[0.8, 0.6], [0.6, 0.8], [0, 1]], np.float32)
    moved = PrfInterpolation(Settings(feedback="average"))._moved(
        np.array([[1, 0]], np.float32), np.array([[0, 2, PAD]], np.int32), documents
    )
    np.testing.assert_allclose(moved, [[0.6, 1.6 / 3]], rtol=1e-6)


def test_fusion_by_hand() -> None:
    """BM25 {1: 12, 2: 9, 3: 6} and dense {2: .9, 4: .8, 1: .5}, lambda .5."""
    items = np.zeros(1, np.int32)
    sparse = Rankings(items, np.array([[1, 2, 3]], np.int32), np.array([[12, 9, 6]], np.float32))
    dense = Rankings(items, np.array([[2, 4, 1]], np.int32), np.array([[0.9, 0.8, 0.5]], np.float32))
    fused = PrfInterpolation()._fused(sparse, dense, 10)
    assert fused.docs[0, :4].tolist() == [2, 1, 4, 3]
    np.testing.assert_allclose(fused.scores[0, :4], [0.75, 0.5, 0.375, 0], atol=1e-6)
    raw = PrfInterpolation(Settings(norm="minmax-sparse-only"))._fused(sparse, dense, 10)
    np.testing.assert_allclose(raw.scores[0, :4], [0.75, 0.7, 0.4, 0], atol=1e-6)


def answers(session: Session, settings: str) -> Rankings:
    return ranked(session, f"prf-interpolation({settings})")[0]


def same(a: Rankings, b: Rankings) -> bool:
    return np.array_equal(a.docs, b.docs)


@needs("minilm")
def test_limits(session: Session) -> None:
    """The task's depth (10) is below the corpus (30), so fused rows hold documents of both runs."""

    def found(settings: str) -> Rankings:
        return answers(session, settings)

    alone, dense = found("where=alone"), ranked(session, "dense")[0]
    assert not same(alone, dense)
    # The last document of a run has 0 after min-max, as those that it lacks have: it may be any of them.
    for where in ("post", "both"):
        assert np.array_equal(found(f"where={where},weight=0.0").docs[:, :9], alone.docs[:, :9])
    sparse = ranked(session, "bm25")[0]
    post = found("where=post,weight=1.0")
    for row in range(6):
        above = sparse.scores[row] > sparse.scores[row][sparse.docs[row] != PAD].min()
        assert post.docs[row][: above.sum()].tolist() == sparse.docs[row][above].tolist()
    none = found("where=none")
    for same_as_none in ("post,alpha=1.0,beta=0.0", "both,alpha=1.0,beta=0.0", "both,k=0", "post,k=0"):
        assert same(found(f"where={same_as_none}"), none)
    for unmoved in ("alpha=0.3,beta=0.0", "k=0"):
        assert same(found(f"where=alone,{unmoved}"), dense)


@needs("minilm")
def test_a_partner_equal_to_the_dense_run_changes_nothing(session: Session) -> None:
    settings = "sparse=dense"
    alone = answers(session, "where=alone")
    assert same(answers(session, f"where=pre,{settings}"), alone)
    assert same(
        answers(session, f"where=both,{settings}"),
        answers(session, f"where=post,{settings}"),
    )


@needs("minilm")
def test_feedback_may_come_from_the_sparse_run_alone(session: Session) -> None:
    """With all weight on BM25 before feedback, the feedback passages are BM25's."""
    pre, task = ranked(
        session,
        "prf-interpolation(where=pre,weight=1.0,k=1,alpha=0.0,beta=1.0)",
    )
    sparse = ranked(session, "bm25")[0]
    assert np.array_equal(pre.docs[:, 0], sparse.docs[:, 0])  # q' is that passage's own vector
    assert len(task.items) == 6


@needs("minilm")
@pytest.mark.parametrize(
    ("settings", "says"), [("weight=1.5", "weight is 1.5"), ("k=-1", "k is -1"), ("depth=0", "0")]
)
def test_mistakes(settings: str, says: str) -> None:
    with pytest.raises(TouchstoneError, match=says):
        make_adapter(parse_method(f"prf-interpolation({settings})")).check()
