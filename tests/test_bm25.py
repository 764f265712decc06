"""BM25's tokens, scores and rankings held to bm25s'."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import bm25s
import numpy as np
import pytest
import Stemmer
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import bm25, sparse
from harness.answers import PAD
from harness.bm25 import Analyser, Bm25Index, Bm25Spec, Variant, build_bm25, open_bm25
from tests.test_vectors import Lines

logging.getLogger("bm25s").setLevel(logging.WARNING)

WORDS = [
    "the",
    "of",
    "apple",
    "apples",
    "running",
    "runner",
    "river",
    "bank",
    "banks",
    "café",
    "x",
    "42",
    "4",
]
WORDS += ["naïve", "über日本", "can't", "under_score"]
texts = st.lists(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join), min_size=1, max_size=25)


def tokens_of(lines: Sequence[str], spec: Bm25Spec) -> list[list[str]]:
    stemmer = None if spec.stemmer == "none" else Stemmer.Stemmer(spec.stemmer)
    words = None if spec.stopwords == "none" else spec.stopwords
    found: list[list[str]] = bm25s.tokenize(
        list(lines), stopwords=words, stemmer=stemmer, return_ids=False, show_progress=False
    )
    return found


def theirs(lines: Sequence[str], spec: Bm25Spec) -> Any:
    index = bm25s.BM25(k1=spec.k1, b=spec.b, method=spec.variant)
    index.index(tokens_of(lines, spec), show_progress=False)
    return index


def made(lines: Sequence[str], spec: Bm25Spec, folder: Path) -> Bm25Index:
    build_bm25(Lines(lines), spec, folder)
    return open_bm25(folder, spec)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(max_size=40), min_size=1, max_size=8), st.sampled_from(["english", "none"]))
def test_tokens_are_those_of_bm25s(lines: list[str], stemmer: str) -> None:
    spec = Bm25Spec(stemmer=stemmer)
    analyser = Analyser(spec)
    starts, numbers = analyser.rows(lines, grow=True)
    terms = list(analyser.terms)
    found = [[terms[i] for i in numbers[a:b]] for a, b in pairwise(starts)]
    assert found == tokens_of(lines, spec)


@pytest.mark.parametrize("variant", get_args(Variant))
@settings(deadline=None, max_examples=25)
@given(texts, texts, st.sampled_from([(0.9, 0.4), (1.5, 0.75)]))
def test_scores_are_those_of_bm25s(
    variant: Variant, lines: list[str], queries: list[str], parameters: tuple[float, float]
) -> None:
    """To the last bit, of every document that shares a term with the query."""
    spec = Bm25Spec(*parameters, variant)
    lines = [*lines, "river bank"]  # bm25s cannot index texts without a single token
    reference = theirs(lines, spec)
    with TemporaryDirectory() as folder:
        index = made(lines, spec, Path(folder))
        docs, scores = index.search(queries, len(lines))
    held = {
        (row, doc): scores[row, column]
        for row, column in np.argwhere(docs != PAD)
        for doc in [docs[row, column]]
    }
    for row, tokens in enumerate(tokens_of(queries, spec)):
        known = [token for token in tokens if token in reference.vocab_dict]
        expected = reference.get_scores(known) if known else np.zeros(len(lines), np.float32)
        shared = [bool(set(known) & set(line)) for line in tokens_of(lines, spec)]
        for doc in range(len(lines)):
            if (row, doc) in held:
                assert shared[doc]
                assert held[row, doc] == expected[doc]
            else:
                assert not shared[doc] or expected[doc] <= 0 or variant in ("bm25l", "bm25+")


def test_small_steps_and_parts_make_the_same_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    lines = [" ".join(random.choice(WORDS, 20)) for _ in range(90)]
    for variant in get_args(Variant):
        spec = Bm25Spec(variant=variant)
        whole = made(lines, spec, tmp_path / f"{variant}-whole")
        with monkeypatch.context() as patch:
            patch.setattr(bm25, "STEP", 7)
            patch.setattr(bm25, "POSTINGS", 50)
            patch.setattr(sparse, "POSTINGS", 50)
            parts = made(lines, spec, tmp_path / f"{variant}-parts")
        assert parts.analyser.terms == whole.analyser.terms
        np.testing.assert_array_equal(parts.index.docs, whole.index.docs)
        np.testing.assert_array_equal(parts.index.weights, whole.index.weights)


def test_texts_without_a_word_are_never_found(tmp_path: Path) -> None:
    index = made(["", "a . the", "river"], Bm25Spec(), tmp_path / "some")
    docs, scores = index.search(["river", "", "unheard"], 3)
    assert docs.tolist() == [[2, PAD, PAD], [PAD] * 3, [PAD] * 3]
    assert np.isneginf(scores[1:]).all()
    docs, _ = made(["", "the"], Bm25Spec(), tmp_path / "none").search(["river"], 1)
    assert docs.tolist() == [[PAD]]
