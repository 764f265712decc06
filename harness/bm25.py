"""BM25 over an inverted index of ready scores (Lu 2024, "BM25S"), with the tokens and scores of bm25s.

A text's terms are found once a distinct word: bm25s says what becomes of the word (stop word, stem), and
texts are numbers from then on. The score of a term in a document is computed when indexing, in float64, kept
as float32; a query's score is the sum over its words in their order (``harness.sparse``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from harness.answers import PAD, Floats, Ints
from harness.models.batching import Progress
from harness.qrels import Longs
from harness.sparse import POSTINGS, SparseIndex, SparseRows, build_sparse, open_sparse, search_sparse
from harness.vectors import TextCorpus

Doubles = npt.NDArray[np.float64]
Variant = Literal["lucene", "robertson", "atire", "bm25l", "bm25+"]

BM25_FORMAT = 1  # raise when tokens, scores or files change
STEP = 20_000  # documents tokenised together
WORD = re.compile(r"(?u)\b\w\w+\b")
DELTA = 0.5  # of bm25l and bm25+


@dataclass(frozen=True)
class Bm25Spec:
    """stemmer: a Snowball language, or none. stopwords: a stop-word list of bm25s, or none."""

    k1: float = 0.9
    b: float = 0.4
    variant: Variant = "lucene"
    stemmer: str = "english"
    stopwords: str = "en"


class Words(dict[str, int]):
    """Numbers of distinct words as they stand in texts, in order of appearance."""

    def __missing__(self, word: str) -> int:
        self[word] = len(self)
        return len(self) - 1


class Analyser:
    """From texts to numbers of terms. terms: the terms by number."""

    def __init__(self, spec: Bm25Spec, terms: Sequence[str] = ()) -> None:
        self._spec = spec
        self._words = Words()
        self._of_word = np.empty(0, np.int32)
        self.terms = {term: number for number, term in enumerate(terms)}

    def rows(self, texts: Sequence[str], grow: bool) -> tuple[Longs, Ints]:
        """(starts int64[n+1], terms int32): the terms of each text in order; new ones count when *grow*, else
        they are left out.
        """
        look, find = self._words.__getitem__, WORD.findall
        found = [find(text.lower()) for text in texts]
        sizes = np.fromiter(map(len, found), np.int64, len(found))
        flat = np.fromiter((look(word) for words in found for word in words), np.int32, int(sizes.sum()))
        if len(self._words) > len(self._of_word):
            self._learn(list(self._words)[len(self._of_word) :], grow)
        terms = self._of_word[flat]
        ends = np.concatenate(([0], np.cumsum(terms != PAD)))
        return ends[np.concatenate(([0], np.cumsum(sizes)))], terms[terms != PAD]

    def _learn(self, words: list[str], grow: bool) -> None:
        """What becomes of words that were not met before."""
        import bm25s
        import Stemmer

        stemmer = None if self._spec.stemmer == "none" else Stemmer.Stemmer(self._spec.stemmer)
        stopwords = None if self._spec.stopwords == "none" else self._spec.stopwords
        told = bm25s.tokenize(
            words, stopwords=stopwords, stemmer=stemmer, return_ids=False, show_progress=False
        )
        of_word = np.full(len(words), PAD, np.int32)
        for place, tokens in enumerate(told):
            for token in tokens:
                if grow:
                    self.terms.setdefault(token, len(self.terms))
                of_word[place] = self.terms.get(token, PAD)
        self._of_word = np.concatenate((self._of_word, of_word))


@dataclass(frozen=True, eq=False)
class Bm25Index:
    """base float32[terms]: what bm25l and bm25+ give each query term in every document, 0 for others."""

    index: SparseIndex
    analyser: Analyser
    base: Floats

    def search(self, queries: Sequence[str], k: int, precedence: Ints | None = None) -> tuple[Ints, Floats]:
        """(document numbers int32[q, k], scores float32[q, k]) of documents that share a term with the query;
        see ``search_sparse``.
        """
        starts, terms = self.analyser.rows(queries, grow=False)
        rows = SparseRows(starts, terms, np.ones(len(terms), np.float32))
        docs, scores = search_sparse(self.index, rows, k, precedence)
        if self.base.any():
            scores += np.array([self.base[rows.row(i)[0]].sum() for i in range(len(rows))], np.float32)[
                :, None
            ]
        return docs, scores


def build_bm25(corpus: TextCorpus, spec: Bm25Spec, folder: Path, progress: Progress | None = None) -> None:
    """Index a corpus into *folder*; memory is that of STEP documents, the words, and 4 bytes a document."""
    analyser, lengths = Analyser(spec), list[Longs]()

    def blocks() -> Iterator[SparseRows]:
        for start in range(0, len(corpus), STEP):
            stop = min(start + STEP, len(corpus))
            starts, terms = analyser.rows(corpus.texts(start, stop), grow=True)
            lengths.append(np.diff(starts))
            yield SparseRows(starts, terms, np.ones(len(terms), np.float32))
            if progress is not None:
                progress(stop, len(corpus))

    index = build_sparse(blocks(), folder)
    base = _weigh(index, np.concatenate(lengths).astype(np.float64), spec, folder / "weights.npy")
    np.save(folder / "base.npy", base)
    (folder / "terms.txt").write_text("\n".join(analyser.terms), encoding="utf-8")


def open_bm25(folder: Path, spec: Bm25Spec) -> Bm25Index:
    """The index that ``build_bm25`` left in *folder*."""
    text = (folder / "terms.txt").read_text(encoding="utf-8")
    return Bm25Index(
        open_sparse(folder), Analyser(spec, text.split("\n") if text else ()), np.load(folder / "base.npy")
    )


def _weigh(index: SparseIndex, lengths: Doubles, spec: Bm25Spec, path: Path) -> Floats:
    """Turn the term frequencies of an index into scores, in place on disk; returns base."""
    idf_of, saturated = VARIANTS[spec.variant]
    distinct, which = np.unique(np.diff(index.starts), return_inverse=True)
    exact = np.array([idf_of(int(df), len(lengths)) if df else 0.0 for df in distinct])[which]
    idf, base = exact.astype(np.float32), np.zeros(len(exact), np.float32)
    if spec.variant in ("bm25l", "bm25+"):  # what a document of mean length without the term gets
        base = (exact * saturated(np.zeros(1, np.float32), spec.k1, np.ones(1))[0]).astype(np.float32)
    norm = (1 - spec.b) + spec.b * lengths / (lengths.mean() or 1.0)
    weights = np.load(path, mmap_mode="r+")
    for start in range(0, len(weights), POSTINGS):
        part = slice(start, start + POSTINGS)
        inside = np.clip(index.starts, start, start + POSTINGS)
        terms = np.repeat(np.arange(len(idf)), np.diff(inside))
        scores = idf[terms] * saturated(weights[part], spec.k1, norm[index.docs[part]])
        weights[part] = scores - base[terms]
    weights.flush()
    return base


def _okapi(tf: Floats, k1: float, norm: Doubles) -> Doubles:
    """Robertson's saturation of the term frequency."""
    return tf / (k1 * norm + tf)


def _atire(tf: Floats, k1: float, norm: Doubles) -> Doubles:
    """Trotman 2014's ATIRE: scaled by k1 + 1."""
    return (tf * (k1 + 1)) / (tf + k1 * norm)


def _l(tf: Floats, k1: float, norm: Doubles) -> Doubles:
    """Lv & Zhai 2011's BM25L."""
    scaled = tf / norm
    return ((k1 + 1) * (scaled + DELTA)) / (k1 + scaled + DELTA)


def _plus(tf: Floats, k1: float, norm: Doubles) -> Doubles:
    """Lv & Zhai 2011's BM25+."""
    return ((k1 + 1) * tf) / (k1 * norm + tf) + DELTA


# Variant: (inverse document frequency from df and the number of documents, saturation); Kamphuis 2020.
VARIANTS: dict[str, tuple[Callable[[int, int], float], Callable[[Floats, float, Doubles], Doubles]]] = {
    "lucene": (lambda df, n: math.log(1 + (n - df + 0.5) / (df + 0.5)), _okapi),
    "robertson": (lambda df, n: math.log(max(1.0, (n - df + 0.5) / (df + 0.5))), _okapi),
    "atire": (lambda df, n: math.log(n / df), _atire),
    "bm25l": (lambda df, n: math.log((n + 1) / (df + 0.5)), _l),
    "bm25+": (lambda df, n: math.log((n + 1) / df), _plus),
}
