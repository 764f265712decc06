"""Adder: identity at the start, a planted map recovered, rank, untouched corpus vectors, shuffled labels."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from adapters.dense.adder import Adder, Residual, Settings, adapted
from harness.answers import Floats, Rankings
from harness.errors import TouchstoneError
from harness.execute import Session
from harness.folds import Fold
from harness.measures import Qrels
from harness.registry import make_adapter, parse_method
from harness.training import TrainSpec, train
from tests.adapters.dense.test_dense import ranked
from tests.needs import needs

D, N = 24, 120


def unit(vectors: np.ndarray) -> Floats:
    found: Floats = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return found


def planted(seed: int, shuffled: bool = False) -> tuple[Any, Any]:
    """A task and vectors: query i is document i moved by the inverse of I + u v^T; 90 train, 30 test."""
    random = np.random.default_rng(seed)
    u, v = random.normal(size=D), random.normal(size=D)
    v *= 12.0 / (u @ v)
    documents = unit(random.normal(size=(N, D)))
    queries = unit(documents @ np.linalg.inv(np.eye(D) + np.outer(u, v)).T)
    wanted = random.permutation(N) if shuffled else np.arange(N)
    items = np.arange(N, dtype=np.int32)
    qrels = Qrels.build(N, items, wanted.astype(np.int32), np.ones(N, np.int32))
    task = SimpleNamespace(
        qrels=qrels,
        corpus=range(N),
        spec=SimpleNamespace(measures=("nDCG@10",)),
        relevant=lambda item: (qrels.docs[item : item + 1], qrels.grades[item : item + 1]),
    )
    vectors = SimpleNamespace(
        documents=documents, context=SimpleNamespace(device="cpu"), all_queries=lambda _task: queries
    )
    return task, vectors


def recall_at_1(task: Any, vectors: Any, settings: Settings, tmp_path: Any) -> tuple[float, dict[str, Any]]:
    from safetensors.numpy import load_file

    items = np.arange(N, dtype=np.int32)
    fold = Fold(items[:70], items[70:90], items[90:])
    learner = Residual(task, vectors, fold, settings, {})
    train(learner, TrainSpec(settings.epochs, 16, 0.02, 0.0, patience=40), tmp_path, lambda _a, _b: None)
    state = load_file(tmp_path / "weights.safetensors")
    residual = state["query_a"], state["query_b"], np.zeros(D, np.float32)
    moved = adapted(vectors.all_queries(task)[fold.test], residual)
    best = (moved @ vectors.documents.T).argmax(axis=1)
    return float((best == task.qrels.docs[fold.test]).mean()), state


@needs("torch")
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_planted_rank_one_map_is_recovered(tmp_path: Any, seed: int) -> None:
    task, vectors = planted(seed)
    base = (vectors.all_queries(task)[90:] @ vectors.documents.T).argmax(axis=1)
    before = float((base == np.arange(90, 120)).mean())
    after, state = recall_at_1(task, vectors, Settings(rank=1, epochs=150, temperature=0.1), tmp_path)
    assert after >= 0.85 and after >= before + 0.1
    values = np.linalg.svd(state["query_b"] @ state["query_a"], compute_uv=False)
    assert values[0] > 0.1 and values[1] < 1e-5 * values[0]


@needs("torch")
def test_shuffled_labels_teach_nothing(tmp_path: Any) -> None:
    task, vectors = planted(0, shuffled=True)
    after, _ = recall_at_1(task, vectors, Settings(rank=4, epochs=30), tmp_path)
    assert after <= 0.1


def test_what_is_zero_moves_nothing() -> None:
    vectors = unit(np.random.default_rng(0).normal(size=(5, D)))
    zero = np.ones((3, D), np.float32), np.zeros((D, 3), np.float32), np.zeros(D, np.float32)
    assert adapted(vectors, zero) is vectors and adapted(vectors, None) is vectors
    part = np.ones((1, D), np.float32), np.full((D, 1), 0.1, np.float32), np.zeros(D, np.float32)
    moved = adapted(vectors, part)
    np.testing.assert_allclose(np.linalg.norm(moved, axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(adapted(2 * vectors, part), moved, rtol=1e-5)  # a scale leaves the direction


@needs("minilm")
def test_on_the_toy_task(session: Session) -> None:
    base, _ = ranked(session, "dense(similarity=cosine)")
    none, task = ranked(session, "adder(rank=0)")
    assert np.array_equal(base.docs, none.docs)
    np.testing.assert_allclose(base.scores, none.scores, atol=1e-6)
    files = list((session.assets.root / "vectors").glob("*/vectors.npy"))  # of documents and of queries
    before = [path.read_bytes() for path in files]
    settings = "rank=2,epochs=2,batch=2,folds=3"
    moved = {
        side: ranked(session, f"adder({settings},side={side})")[0] for side in ("query", "both", "shared")
    }
    assert files and [path.read_bytes() for path in files] == before
    assert all(isinstance(answers, Rankings) for answers in moved.values())
    scores = Adder().score(task, moved["query"])
    assert {"R@1", "R@3", "R@5", "nDCG@3"} <= set(scores.measures)
    assert scores.counts["seen_targets"] == 0  # the topics share no documents


def test_mistakes() -> None:
    with pytest.raises(TouchstoneError, match="rank=-1"):
        make_adapter(parse_method("adder(rank=-1)")).check()
