"""Exact search: its two ways held to a full sort, to each other, and to faiss."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import search
from harness.answers import PAD, Floats, Ints
from harness.errors import TouchstoneError
from harness.search import SearchSpec, top_k
from tests.needs import needs

WAYS = [pytest.param("numba", marks=needs("numba")), "torch"]
sizes = st.tuples(st.integers(1, 40), st.integers(1, 200), st.integers(1, 6), st.integers(1, 220))


def by(way: str, queries: Floats, docs: Floats, spec: SearchSpec, precedence: Ints) -> tuple[Ints, Floats]:
    """``top_k`` with numba, or as without it."""
    with pytest.MonkeyPatch.context() as patch:
        if way == "torch":
            patch.setattr(search, "find_spec", lambda _name: None)
        return top_k(queries, docs, spec, precedence)


@needs("torch")
@pytest.mark.parametrize("way", WAYS)
@settings(deadline=None, max_examples=50)
@given(sizes, st.integers(1, 5), st.integers(1, 17), st.integers(0, 2**32 - 1))
def test_top_k_equals_a_full_sort(
    way: str, shape: tuple[int, int, int, int], query_block: int, doc_block: int, seed: int
) -> None:
    """On small whole numbers, whose products are exact and tie often, at the cut too."""
    n_queries, n_docs, width, k = shape
    random = np.random.default_rng(seed)
    queries = random.integers(-2, 3, (n_queries, width)).astype(np.float32)
    docs = random.integers(-2, 3, (n_docs, width)).astype(np.float32)
    precedence = random.permutation(n_docs).astype(np.int32)
    spec = SearchSpec(k, "cpu", 16 * query_block, 64 * doc_block)
    found, scores = by(way, queries, docs, spec, precedence)
    every = queries @ docs.T
    held = min(k, n_docs)
    order = np.array([np.lexsort((precedence, -row)) for row in every])[:, :held]
    np.testing.assert_array_equal(found[:, :held], order)
    np.testing.assert_array_equal(scores[:, :held], np.take_along_axis(every, order, 1))
    assert (found[:, held:] == PAD).all()
    assert np.isneginf(scores[:, held:]).all()
    assert found.dtype == np.int32
    assert scores.dtype == np.float32


def unit_vectors(n: int, width: int) -> Floats:
    vectors = np.random.default_rng(1).normal(size=(n, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@needs("torch")
@pytest.mark.parametrize("way", WAYS)
def test_top_k_on_unit_vectors_on_disk_equals_a_full_sort(way: str, tmp_path: Path) -> None:
    vectors = unit_vectors(3000, 32)
    np.save(tmp_path / "docs.npy", vectors)
    docs = np.load(tmp_path / "docs.npy", mmap_mode="r")
    found, scores = by(way, vectors[:50], docs, SearchSpec(20, docs=700), np.arange(3000, dtype=np.int32))
    exact = vectors[:50].astype(np.float64) @ vectors.astype(np.float64).T
    order = np.argsort(-exact, axis=1)[:, :20]
    np.testing.assert_allclose(scores, np.take_along_axis(exact, order, 1), atol=1e-6)
    np.testing.assert_array_equal(found, order)
    assert found[:, 0].tolist() == list(range(50))


@needs("torch")
@pytest.mark.parametrize("way", WAYS)
def test_blocks_and_company_change_no_bit(way: str) -> None:
    """Another number of queries, and blocks of other sizes, give the same scores to the last bit."""
    docs, order = unit_vectors(5000, 96), np.arange(5000, dtype=np.int32)
    queries = docs[:150] + 0.1 * docs[1000:1150]
    found, scores = by(way, queries, docs, SearchSpec(100), order)
    for spec in (SearchSpec(100, docs=640), SearchSpec(100, queries=48, docs=1024)):
        for part in (slice(0, 150), slice(3, 4), slice(20, 131)):
            again, same = by(way, queries[part], docs, spec, order)
            np.testing.assert_array_equal(again, found[part])
            np.testing.assert_array_equal(same, scores[part])


@needs("torch", "faiss", "numba")
@pytest.mark.parametrize("k", [1, 100, 1000])
def test_top_k_equals_faiss(k: int) -> None:
    import faiss

    docs = unit_vectors(20_000, 64)
    queries = docs[:64] + 0.2 * docs[5000:5064]
    index = faiss.IndexFlatIP(64)
    index.add(docs)
    theirs, numbers = index.search(queries, k)
    found, scores = top_k(queries, docs, SearchSpec(k))
    np.testing.assert_allclose(scores, theirs, atol=1e-6)
    differ = found != numbers  # only where two scores are closer than float32 can tell
    near = np.abs(scores - np.take_along_axis(queries @ docs.T, numbers, 1)) < 1e-6
    assert near[differ].all()
    assert differ.mean() < 0.01


@needs("torch")
@pytest.mark.parametrize("way", WAYS)
def test_equal_documents_at_the_cut_go_by_precedence(way: str) -> None:
    docs = np.ones((500, 8), np.float32)
    precedence = np.random.default_rng(0).permutation(500).astype(np.int32)
    found, _ = by(way, docs[:3], docs, SearchSpec(7, docs=64), precedence)
    for row in found:
        np.testing.assert_array_equal(row, np.argsort(precedence)[:7])


@needs("torch")
@pytest.mark.parametrize("way", WAYS)
def test_not_a_number_is_refused(way: str) -> None:
    docs = np.ones((90, 8), np.float32)
    docs[77, 3] = np.nan
    with pytest.raises(TouchstoneError, match="NaN score"):
        by(way, docs[:2], docs, SearchSpec(5), np.arange(90, dtype=np.int32))


def test_widths_must_agree() -> None:
    with pytest.raises(TouchstoneError, match="differ in width"):
        top_k(np.ones((1, 3), np.float32), np.ones((1, 4), np.float32), SearchSpec(1))


@needs("torch")
def test_little_memory_makes_small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    docs = unit_vectors(3000, 16)
    wanted = top_k(docs[:40], docs, SearchSpec(9))
    monkeypatch.setattr(search, "free_bytes", lambda _device: 100_000)
    assert search._block_sizes(SearchSpec(9), 40, 3000) == (48, 128)
    for found, expected in zip(top_k(docs[:40], docs, SearchSpec(9)), wanted, strict=True):
        np.testing.assert_array_equal(found, expected)
