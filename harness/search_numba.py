"""The compiled part of ``harness.search``. Importing it needs numba."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from harness.answers import Floats, Ints
from harness.best_numba import decode, keep, room, select


class Best:
    """The k best of all that was added, for each of n queries: n x ``room(k)`` whole numbers."""

    def __init__(self, n: int, k: int) -> None:
        self.k = k
        self._held = np.zeros(n, np.int64)
        self._best = np.zeros((n, room(k)), np.uint64)

    def add(self, scores: Floats, precedence: Ints, first: int) -> None:
        """Scores float32[m, b] of queries first..first+m-1 for the documents whose precedence is given."""
        rows = slice(first, first + len(scores))
        _add_all(scores, precedence, self._best[rows], self._held[rows], self.k)

    def write(self, precedence: Ints, docs: Ints, scores: Floats) -> None:
        """The rankings, into int32[n, k] and float32[n, k]; what is not filled stays as it is."""
        by_precedence = np.empty(len(precedence), np.int32)
        by_precedence[precedence] = np.arange(len(precedence), dtype=np.int32)
        _select_all(self._best, self._held, self.k)
        rising = np.sort(self._best[:, : self.k])  # numpy's sort is faster than numba's
        _decode_all(rising, by_precedence, docs, scores)


def _add(scores: Any, precedence: Any, best: Any, held: Any, k: int) -> None:
    for row in numba.prange(len(scores)):
        held[row] = keep(scores[row], precedence, best[row], held[row], k, np.float32(-np.inf))


def _select(best: Any, held: Any, k: int) -> None:
    for row in numba.prange(len(best)):
        if held[row] > k:
            select(best[row], held[row], k)


def _decode_rows(rising: Any, by_precedence: Any, docs: Any, scores: Any) -> None:
    for row in numba.prange(len(docs)):
        decode(rising[row], by_precedence, docs[row], scores[row])


_add_all = numba.njit(cache=True, parallel=True)(_add)
_select_all = numba.njit(cache=True, parallel=True)(_select)
_decode_all = numba.njit(cache=True, parallel=True)(_decode_rows)
