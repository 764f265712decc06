"""The compiled loop of ``harness.sparse``. Importing it needs numba."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from harness.answers import PAD, Floats, Ints
from harness.sparse import SparseIndex, SparseRows

BLOCK = 1 << 15  # documents scored together: their sums stay in the processor's own cache
CHUNK = 64  # sums looked at together: one comparison of all of them passes over most


def search_compiled(index: SparseIndex, queries: SparseRows, k: int, precedence: Ints) -> tuple[Ints, Floats]:
    """As ``search_plain``; queries side by side on all cores.

    A candidate is one whole number, the bits of its score (a positive float32, whose order they keep) above
    those of its precedence counted down: the largest k numbers, sorted, are the ranking with its ties.
    """
    docs = np.full((len(queries), k), PAD, np.int32)
    scores = np.full((len(queries), k), -np.inf, np.float32)
    if len(queries) and k and index.n_docs:
        by_precedence = np.empty(index.n_docs, np.int32)
        by_precedence[precedence] = np.arange(index.n_docs, dtype=np.int32)
        lists = (index.starts, index.docs, index.weights, precedence, by_precedence)
        _search_all(lists, (queries.starts, queries.terms, queries.weights), docs, scores)
    return docs, scores


def _all(lists: Any, queries: Any, docs: Any, scores: Any) -> None:
    starts, terms, weights = queries
    by_precedence = lists[4]
    for row in numba.prange(len(docs)):
        begin, end = starts[row], starts[row + 1]
        best = _search_one(lists, terms[begin:end], weights[begin:end], docs.shape[1])
        bits = (best >> np.uint64(32)).astype(np.uint32)
        scores[row, : len(best)] = bits.view(np.float32)
        for i in range(len(best)):
            docs[row, i] = by_precedence[np.uint32(0xFFFFFFFF) - np.uint32(best[i] & np.uint64(0xFFFFFFFF))]


def _one(lists: Any, terms: Any, weights: Any, k: int) -> Any:
    """The best candidates of one query, at most k, largest first."""
    starts, all_docs, all_weights, precedence, _ = lists
    at = np.zeros(len(terms), np.int64)
    ends = np.zeros(len(terms), np.int64)
    for i in range(len(terms)):
        if terms[i] < len(starts) - 1:
            at[i], ends[i] = starts[terms[i]], starts[terms[i] + 1]
    sums = np.zeros(BLOCK, np.float32)
    best = np.zeros(2 * k + CHUNK + 1, np.uint64)
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
            held = _gather(sums, precedence[first:], best, held, k)
    return np.sort(best[:held])[::-1][:k]


def _keep(sums: Any, precedence: Any, best: Any, held: int, k: int) -> int:
    """Add the candidates of a block to best[:held] and set its sums to 0; returns how many are held then.

    The last of *best* is the least of the k largest when the rest was dropped last, or 0.
    """
    bits = sums.view(np.uint32)
    least = _float_of(best[-1])
    for chunk in range(0, BLOCK, CHUNK):
        above = 0
        for i in range(chunk, chunk + CHUNK):
            above += sums[i] > np.float32(0.0) and sums[i] >= least
        if above:
            for i in range(chunk, chunk + CHUNK):
                if sums[i] > np.float32(0.0) and sums[i] >= least:
                    place = np.uint32(0xFFFFFFFF) - np.uint32(precedence[i])
                    best[held] = (np.uint64(bits[i]) << np.uint64(32)) | np.uint64(place)
                    held += 1
            if held >= 2 * k:
                _largest_first(best, held, k)
                held = k
                best[-1] = best[k - 1]
                least = _float_of(best[-1])
        sums[chunk : chunk + CHUNK] = 0.0
    return held


def _score(candidate: Any) -> Any:
    """The float32 score of a candidate."""
    return np.array([candidate >> np.uint64(32)]).astype(np.uint32).view(np.float32)[0]


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


def _select(values: Any, n: int, k: int) -> None:
    """Move the k largest of values[:n] to the front, the least of them to place k - 1 (Hoare 1961)."""
    left, right, wanted = 0, n - 1, k - 1
    while left < right:
        middle = values[(left + right) >> 1]
        i, j = left, right
        while i <= j:
            while values[i] > middle:
                i += 1
            while values[j] < middle:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if wanted <= j:
            right = j
        elif wanted >= i:
            left = i
        else:
            return


_end_of = numba.njit(cache=True)(_gallop)
_largest_first = numba.njit(cache=True)(_select)
_float_of = numba.njit(cache=True)(_score)
_gather = numba.njit(cache=True)(_keep)
_search_one = numba.njit(cache=True)(_one)
_search_all = numba.njit(cache=True, parallel=True)(_all)
