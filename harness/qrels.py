"""Judgements as arrays, and where the documents of rankings stand in them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

from harness.answers import PAD, Ints, Rankings
from harness.errors import TouchstoneError

Longs = npt.NDArray[np.int64]

BLOCK = 1 << 20  # ranking cells looked at together: 4 MB of document numbers stay in the cache


@dataclass(frozen=True, eq=False)
class Qrels:
    """Judgements of q queries: starts int64[q+1], docs int32[m] (sorted within a query), grades int32[m]."""

    starts: Longs
    docs: Ints
    grades: Ints

    def __len__(self) -> int:
        return len(self.starts) - 1

    @classmethod
    def build(cls, n_queries: int, queries: Ints, docs: Ints, grades: Ints) -> Self:
        """From one (query number, document number, grade) a judgement, in any order.

        A pair that is judged twice, or a query number outside 0..n_queries-1, is a TouchstoneError.
        """
        order = np.lexsort((docs, queries))
        queries, docs, grades = queries[order], docs[order], grades[order]
        if len(queries) and not 0 <= queries[0] <= queries[-1] < n_queries:
            raise TouchstoneError("a judgement's query number is out of range", why=f"{n_queries} queries")
        if len(docs) and docs.min() < 0:
            raise TouchstoneError("a judgement's document number is negative")
        twice = np.flatnonzero((queries[1:] == queries[:-1]) & (docs[1:] == docs[:-1]))
        if len(twice):
            where = f"query number {queries[twice[0]]}, document number {docs[twice[0]]}"
            raise TouchstoneError("a document is judged twice", where=where, why=f"{len(twice)} such pairs")
        starts = np.searchsorted(queries, np.arange(n_queries + 1)).astype(np.int64)
        return cls(starts, docs.astype(np.int32), grades.astype(np.int32))

    @cached_property
    def rows(self) -> Longs:
        """int64[m]: the query number of every judgement."""
        return np.repeat(np.arange(len(self), dtype=np.int64), np.diff(self.starts))

    def select(self, queries: Longs) -> Qrels:
        """The judgements of *queries* (ascending), which become queries 0, 1, ..."""
        sizes = np.diff(self.starts)[queries]
        starts = np.concatenate(([0], np.cumsum(sizes)))
        at = np.arange(starts[-1]) + np.repeat(self.starts[queries] - starts[:-1], sizes)
        return Qrels(starts, self.docs[at], self.grades[at])


@dataclass(frozen=True, eq=False)
class Hits:
    """The pooled documents of all rankings, by query and then rank.

    rows int64[h]: query number, ranks int64[h]: from 1, grades int32[h]; retrieved int64[q]: ranking lengths.
    """

    qrels: Qrels
    rows: Longs
    ranks: Longs
    grades: Ints
    retrieved: Longs


def find_hits(qrels: Qrels, rankings: Rankings) -> Hits:
    """Look every ranked document up in the judgements, a block of rankings at a time."""
    if len(rankings) and not 0 <= rankings.items.min() <= rankings.items.max() < len(qrels):
        raise TouchstoneError("a ranking's item is out of range", why=f"{len(qrels)} queries are judged")
    if len(np.unique(rankings.items)) != len(rankings):
        raise TouchstoneError("an item has two rankings")
    retrieved = np.zeros(len(qrels), np.int64)
    size = max(1, BLOCK // max(1, rankings.depth))
    parts = [_nothing()]
    for start in range(0, len(rankings), size):
        items, docs = rankings.items[start : start + size], rankings.docs[start : start + size]
        retrieved[items] = (docs != PAD).sum(axis=1)
        parts.append(_look_up(qrels, items, docs))
    rows, ranks, grades = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(rows, kind="stable")
    return Hits(qrels, rows[order], ranks[order], grades[order], retrieved)


def _nothing() -> tuple[Longs, Longs, Ints]:
    return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int32)


def _look_up(qrels: Qrels, items: Ints, docs: Ints) -> tuple[Longs, Longs, Ints]:
    """Query number, rank and grade of every pooled document of *docs*, in reading order."""
    if not len(qrels.docs):
        return _nothing()
    # Most retrieved documents are judged for no query at all: one table look-up drops them before the search.
    beyond = int(qrels.docs.max()) + 1
    pooled = np.zeros(beyond + 1, bool)  # PAD, as an index, is its last cell
    pooled[qrels.docs] = True
    at, column = np.nonzero(pooled[np.minimum(docs, beyond)])
    rows, found = items[at].astype(np.int64), docs[at, column]
    keys = qrels.rows * beyond + qrels.docs
    wanted = rows * beyond + found
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    hit = keys[place] == wanted
    return rows[hit], column[hit].astype(np.int64) + 1, qrels.grades[place[hit]]
