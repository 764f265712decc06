"""The inverted index of sparse vectors: built whole and by parts, searched by numpy, numba and Lucene."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import sparse
from harness.answers import PAD, Ints, Rankings
from harness.assets import Assets
from harness.errors import TouchstoneError
from harness.impacts import build_impacts, search_impacts
from harness.sparse import (
    SparseIndex,
    SparseRows,
    Vocabulary,
    build_sparse,
    corpus_index,
    open_sparse,
    search_plain,
    search_sparse,
)
from tests.needs import needs
from tests.test_vectors import Lines


def random_rows(random: np.random.Generator, n: int, terms: int, most: int) -> SparseRows:
    """Small whole weights, whose sums are exact and often tie; terms may repeat, rows may be empty."""
    sizes = random.integers(0, most + 1, n)
    starts = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
    drawn = random.integers(0, terms, starts[-1]).astype(np.int32)
    return SparseRows(starts, drawn, random.integers(1, 4, starts[-1]).astype(np.float32))


def dense(rows: SparseRows, terms: int) -> np.ndarray:
    matrix = np.zeros((len(rows), terms))
    np.add.at(matrix, (np.repeat(np.arange(len(rows)), np.diff(rows.starts)), rows.terms), rows.weights)
    return matrix


def by_trec_eval(matrix: np.ndarray, k: int, precedence: Ints) -> list[list[int]]:
    """Score down, then place among ties, matching documents only."""
    return [
        [d for d in sorted(range(len(row)), key=lambda d: (-row[d], precedence[d])) if row[d] > 0][:k]
        for row in matrix
    ]


def held(docs: Ints) -> list[list[int]]:
    return [[int(d) for d in row if d != PAD] for row in docs]


@needs("numba")
@settings(deadline=None, max_examples=60)
@given(st.integers(1, 60), st.integers(1, 12), st.integers(1, 70), st.integers(1, 4), st.integers(0, 2**32))
def test_both_searches_equal_a_full_sort(n: int, terms: int, k: int, block: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    rows, queries = random_rows(random, n, terms, 6), random_rows(random, 5, terms + 3, 4)
    precedence = random.permutation(n).astype(np.int32)
    parts = [part(rows, start, min(start + block, n)) for start in range(0, n, block)]
    with TemporaryDirectory() as folder:
        index = build_sparse(parts, Path(folder))
        wanted = by_trec_eval(dense(queries, terms + 3)[:, :terms] @ dense(rows, terms).T, k, precedence)
        docs, scores = search_sparse(index, queries, k, precedence)
        plain_docs, plain_scores = search_plain(index, queries, k, precedence)
        assert held(docs) == wanted
        np.testing.assert_array_equal(docs, plain_docs)
        np.testing.assert_array_equal(scores, plain_scores)
        np.testing.assert_array_equal(dense(index.rows(0, n), terms), dense(rows, terms))


def part(rows: SparseRows, start: int, stop: int) -> SparseRows:
    begin, end = rows.starts[start], rows.starts[stop]
    return SparseRows(rows.starts[start : stop + 1] - begin, rows.terms[begin:end], rows.weights[begin:end])


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[SparseIndex, SparseRows]:
    """100,000 documents, several blocks of the compiled loop, real-valued weights, of which many repeat."""
    random = np.random.default_rng(3)
    rows = random_rows(random, 100_000, 500, 12)
    weights = rows.weights * random.choice(np.array([0.37, 1.11, 2.3], np.float32), len(rows.weights))
    rows = SparseRows(rows.starts, rows.terms, weights.astype(np.float32))
    return build_sparse([rows], tmp_path_factory.mktemp("large")), random_rows(random, 40, 500, 10)


@needs("numba")
@pytest.mark.parametrize("k", [1, 10, 1000, 99_000])
def test_the_compiled_search_equals_the_plain_one(large: tuple[SparseIndex, SparseRows], k: int) -> None:
    index, queries = large
    precedence = np.random.default_rng(1).permutation(index.n_docs).astype(np.int32)
    docs, scores = search_sparse(index, queries, k, precedence)
    plain_docs, plain_scores = search_plain(index, queries, k, precedence)
    np.testing.assert_array_equal(docs, plain_docs)
    np.testing.assert_array_equal(scores, plain_scores)


def test_without_numba_the_plain_search_answers(
    large: tuple[SparseIndex, SparseRows], monkeypatch: pytest.MonkeyPatch
) -> None:
    index, queries = large
    wanted = search_sparse(index, queries, 10)
    monkeypatch.setattr(sparse, "find_spec", lambda _name: None)
    for found, expected in zip(search_sparse(index, queries, 10), wanted, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_ties_follow_trec_evals_rule(tmp_path: Path) -> None:
    """The document id down, as text, also where the ranking is cut."""
    ids = ["1", "10", "2", "9", "a"]
    index = build_sparse([SparseRows.of([{0: 1.0}] * len(ids))], tmp_path)
    precedence = np.argsort(np.argsort(np.array(ids))[::-1]).astype(np.int32)
    docs, scores = search_sparse(index, SparseRows.of([{0: 2.0}]), 3, precedence)
    assert [ids[doc] for doc in docs[0]] == ["a", "9", "2"]
    canonical = Rankings(np.zeros(1, np.int32), docs, scores).canonical(lambda d: [ids[i] for i in d])
    np.testing.assert_array_equal(canonical.docs, docs)


def test_small_groups_make_the_same_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = random_rows(np.random.default_rng(2), 200, 30, 8)
    whole = build_sparse([rows], tmp_path / "whole")
    monkeypatch.setattr(sparse, "POSTINGS", 50)
    parts = build_sparse([part(rows, i, i + 10) for i in range(0, 200, 10)], tmp_path / "parts")
    for name in ("starts", "docs", "weights"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == [
        "docs.npy",
        "sparse.json",
        "starts.npy",
        "weights.npy",
    ]


def letters(texts: Sequence[str]) -> SparseRows:
    return SparseRows.of([{ord(letter) - 97: float(text.count(letter)) for letter in text} for text in texts])


def test_an_interrupted_index_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparse, "SHARD", 2)
    corpus, get, seen = Lines(["ab", "b", "cab", "dd", "e"]), Assets(tmp_path).get_or_make, list[str]()

    def encode(texts: Sequence[str]) -> SparseRows:
        if "e" in texts and len(seen) == 4:
            seen.append("stopped")
            raise RuntimeError("stopped")
        seen.extend(texts)
        return letters(texts)

    with pytest.raises(RuntimeError):
        corpus_index(encode, corpus, {"model": "letters"}, get)
    index, asset = corpus_index(encode, corpus, {"model": "letters"}, get)
    assert seen == ["ab", "b", "cab", "dd", "stopped", "e"]
    assert index.n_docs == 5 and asset.made_now
    np.testing.assert_array_equal(dense(index.rows(0, 5), 5), dense(letters(corpus.lines), 5))
    assert not corpus_index(encode, corpus, {"model": "letters"}, get)[1].made_now
    assert corpus_index(letters, corpus, {"model": "other"}, get)[1].made_now


def test_rows_from_elsewhere() -> None:
    rows = SparseRows.from_dense(np.array([[0, 1.5, 0], [0, 0, 0], [0.004, 0, 2]], np.float32))
    assert (rows.starts.tolist(), rows.terms.tolist()) == ([0, 1, 1, 3], [1, 0, 2])
    whole = rows.quantised(100)
    assert (whole.starts.tolist(), whole.weights.tolist()) == ([0, 1, 1, 2], [150.0, 200.0])
    merged = SparseRows(np.array([0, 3]), np.array([4, 1, 4], np.int32), np.ones(3, np.float32)).merged()
    assert (merged.terms.tolist(), merged.weights.tolist()) == ([1, 4], [1.0, 2.0])
    words = Vocabulary()
    assert words.numbers(["b", "a", "b"]) == [0, 1, 0]
    assert words.known(["a", "new"]) == [1]


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_a_weight_that_is_no_impact_is_refused(weight: float, tmp_path: Path) -> None:
    with pytest.raises(TouchstoneError, match=r"block 0, row 1.*negative or not finite"):
        build_sparse([SparseRows.of([{0: 1.0}, {3: weight}])], tmp_path)


def test_other_bad_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TouchstoneError, match="no documents"):
        build_sparse([], tmp_path)
    with pytest.raises(TouchstoneError, match="not a finished sparse index"):
        open_sparse(tmp_path / "nothing")
    with pytest.raises(TouchstoneError, match="1 sparse vectors of 2 texts"):
        corpus_index(lambda texts: letters(texts[:1]), Lines(["a", "b"]), {}, Assets(tmp_path).get_or_make)


def test_documents_without_terms_are_never_found(tmp_path: Path) -> None:
    index = build_sparse([SparseRows.of([{}, {}])], tmp_path)
    docs, scores = search_sparse(index, SparseRows.of([{0: 1.0}, {}]), 2)
    assert (docs == PAD).all() and np.isneginf(scores).all()


@needs("java")
def test_lucenes_impact_index_ranks_alike(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    rows = random_rows(random, 400, 40, 9)
    rows = SparseRows(
        rows.starts, rows.terms, rows.weights * random.random(len(rows.weights)).astype(np.float32)
    )
    queries = random_rows(random, 30, 40, 5)
    index = build_sparse([rows.merged().quantised(50)], tmp_path / "own")
    docs, scores = search_sparse(index, queries, 25)
    (tmp_path / "lucene").mkdir()
    impacts = build_impacts(index, tmp_path / "lucene")
    lucene_docs, lucene_scores = search_impacts(impacts, queries, 25)
    np.testing.assert_array_equal(lucene_docs, docs)
    np.testing.assert_array_equal(lucene_scores, scores)
    with pytest.raises(TouchstoneError, match="whole numbers"):
        search_impacts(impacts, SparseRows.of([{0: 0.5}]), 10)
