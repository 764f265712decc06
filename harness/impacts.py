"""Learned-sparse vectors in Lucene's impact index: the same rankings as ``harness.sparse`` on whole weights.

Lucene keeps a weight as a term frequency, so weights are whole numbers (``SparseRows.quantised``); a query
repeats a term as often as it weighs. Sums are exact up to 2^24. Documents tied at the end of a ranking are
taken by number, the lowest first.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from harness.answers import Floats, Ints
from harness.errors import TouchstoneError
from harness.lucene import Index, IndexSpec, SearchSpec, build_index, search
from harness.sparse import POSTINGS, SparseIndex, SparseRows

MOST = 65_535  # of one weight: Lucene's documents and queries repeat a term that often


def build_impacts(index: SparseIndex, folder: Path, threads: int = 1) -> Index:
    """Lucene's impact index of the same documents. More threads leave ties at the cut to timing."""
    return build_index(_documents(index), folder, IndexSpec(threads=threads, impact=True))


def search_impacts(index: Index, queries: SparseRows, k: int, threads: int = 0) -> tuple[Ints, Floats]:
    """As ``search_sparse`` without a precedence: docs int32[q, k] and scores float32[q, k]; threads: 0 for
    one a core.
    """
    texts = [" ".join(np.repeat(terms, weights).astype(str)) for terms, weights in _whole(queries, "queries")]
    return search(index, texts, SearchSpec(k, threads=threads))


def _documents(index: SparseIndex) -> Iterator[tuple[str, dict[str, int]]]:
    step = max(1, POSTINGS * index.n_docs // max(1, len(index.docs)))
    for start in range(0, index.n_docs, step):
        rows = index.rows(start, min(start + step, index.n_docs))
        for number, (terms, weights) in enumerate(_whole(rows, "documents"), start):
            yield str(number), dict(zip(terms.astype(str).tolist(), weights.tolist(), strict=True))


def _whole(rows: SparseRows, where: str) -> Iterator[tuple[Ints, Ints]]:
    """(terms, weights) of each row, the weights as whole numbers."""
    whole = np.clip(rows.weights, 0, MOST).astype(np.int32)
    if (whole != rows.weights).any():
        raise TouchstoneError(
            f"Lucene's impacts are whole numbers up to {MOST:,}", where=where, fix="quantise the weights"
        )
    for start, stop in zip(rows.starts[:-1].tolist(), rows.starts[1:].tolist(), strict=True):
        yield rows.terms[start:stop], whole[start:stop]
