"""The compiled loops of ``harness.sparse``. Importing it needs numba."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from harness.answers import PAD, Floats, Ints
from harness.best_numba import finish, keep, room
from harness.sparse import SparseIndex, SparseRows

BLOCK = 1 << 15  # documents scored together: their sums stay in the processor's own cache


def search_compiled(index: SparseIndex, queries: SparseRows, k: int, precedence: Ints) -> tuple[Ints, Floats]:
    """As ``search_plain``; queries side by side on all cores."""
    docs = np.full((len(queries), k), PAD, np.int32)
    scores = np.full((len(queries), k), -np.inf, np.float32)
    if len(queries) and k and index.n_docs:
        by_precedence = np.empty(index.n_docs, np.int32)
        by_precedence[precedence] = np.arange(index.n_docs, dtype=np.int32)
        lists = (index.starts, index.docs, index.weights)
        wanted = (queries.starts, queries.terms, queries.weights)
        _search_all(lists, wanted, precedence, by_precedence, (docs, scores), room(k))
    return docs, scores


def _all(lists: Any, queries: Any, precedence: Any, by_precedence: Any, found: Any, size: int) -> None:
    starts, terms, weights = queries
    docs, scores = found
    for row in numba.prange(len(docs)):
        begin, end = starts[row], starts[row + 1]
        best = np.zeros(size, np.uint64)
        held = _search_one(lists, terms[begin:end], weights[begin:end], precedence, best, docs.shape[1])
        finish(best, held, by_precedence, docs[row], scores[row])


def _one(lists: Any, terms: Any, weights: Any, precedence: Any, best: Any, k: int) -> int:
    """Gather the best candidates of one query; returns how many there are."""
    starts, all_docs, all_weights = lists
    at = np.zeros(len(terms), np.int64)
    ends = np.zeros(len(terms), np.int64)
    for i in range(len(terms)):
        if terms[i] < len(starts) - 1:
            at[i], ends[i] = starts[terms[i]], starts[terms[i] + 1]
    sums = np.zeros(BLOCK, np.float32)
    held = 0
    for first in range(0, len(precedence), BLOCK):
        touched = False
        for i in range(len(terms)):
            stop = _end_of(all_docs, at[i], ends[i], first + BLOCK)
            weight = weights[i]
            for place in range(at[i], stop):
                sums[all_docs[place] - first] += weight * all_weights[place]
            touched = touched or stop > at[i]
            at[i] = stop
        if touched:
            held = keep(sums, precedence[first : first + BLOCK], best, held, k, np.float32(0.0))
            sums[:] = 0.0
    return held


def _gallop(docs: Any, place: int, end: int, last: int) -> int:
    """The first place from *place* on, at most *end*, whose document is not below *last*."""
    if place >= end or docs[place] >= last:
        return place
    step = 1
    while place + step < end and docs[place + step] < last:
        place += step
        step *= 2
    below, above = place, min(place + step, end)
    while above - below > 1:
        middle = (below + above) >> 1
        if docs[middle] < last:
            below = middle
        else:
            above = middle
    return above


_end_of = numba.njit(cache=True)(_gallop)
_search_one = numba.njit(cache=True)(_one)
_search_all = numba.njit(cache=True, parallel=True)(_all)
