"""Approximate search: near exact on random vectors, and its recall counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from adapters.dense import dense_faiss
from adapters.dense.dense_faiss import DenseFaiss, FaissSettings
from harness.adapter import Context
from harness.answers import PAD
from harness.assets import Assets
from harness.dense import DenseVectors
from harness.errors import MissingExtra
from harness.search import SearchSpec, top_k
from tests.needs import needs

pytestmark = needs("faiss", "torch")


def unit_vectors(n: int) -> np.ndarray:
    vectors = np.random.default_rng(2).normal(size=(n, 16)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("settings", "least", "most"),
    [
        (FaissSettings(index="hnsw"), 0.97, 1.0),
        (FaissSettings(index="ivf", lists=20, probes=20), 1.0, 1.0),  # every list: exact
        (FaissSettings(index="ivf", lists=50, probes=1), 0.05, 0.9),
    ],
)
def test_the_recall_against_exact_search_is_counted(
    settings: FaissSettings, least: float, most: float, tmp_path: Path
) -> None:
    import faiss

    docs = unit_vectors(3000)
    queries = docs[:50] + 0.1 * docs[1000:1050]
    method = DenseFaiss(settings)
    method._build(docs, tmp_path)
    index = faiss.read_index(str(tmp_path / "index.faiss"))
    found, scores = method._search(index, queries, 10)
    held = found != PAD
    np.testing.assert_allclose(scores[held], (queries @ docs.T)[np.nonzero(held)[0], found[held]], rtol=1e-5)
    context = Context(Assets(tmp_path), cast(Any, None))
    vectors = DenseVectors(cast(Any, None), cast(Any, docs), np.arange(3000, dtype=np.int32), context)
    method._compare(vectors, queries, found, context)
    exact, _ = top_k(queries, docs, SearchSpec(10))
    overlap = np.mean(
        [len(set(a) & set(b)) / 10 for a, b in zip(exact.tolist(), found.tolist(), strict=True)]
    )
    counts = context.meter.counts
    assert counts["exact_asked"] == 500
    assert counts["exact_found"] == round(500 * overlap)
    assert least <= overlap <= most
    assert "compare" in context.meter.phases


def test_an_index_repeats(tmp_path: Path) -> None:
    docs = unit_vectors(500)
    for settings in (FaissSettings(), FaissSettings(index="ivf")):
        for name in ("a", "b"):
            (tmp_path / name).mkdir(exist_ok=True)
            DenseFaiss(settings)._build(docs, tmp_path / name)
        first, second = ((tmp_path / name / "index.faiss").read_bytes() for name in ("a", "b"))
        assert first == second


def test_without_faiss_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense_faiss, "package_version", lambda _name: "")
    monkeypatch.setattr(dense_faiss.DenseAdapter, "check", lambda _self: None)
    with pytest.raises(MissingExtra, match=r"touchstone-bench\[faiss\]"):
        DenseFaiss(FaissSettings()).check()
