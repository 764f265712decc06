"""The compiled running best-k of one query, for scores that come in blocks. Importing it needs numba.

A candidate is one whole number: the bits of its float32 score, changed so that they order as the scores do,
above those of its precedence counted down. The largest k numbers, sorted, are the ranking with its ties.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

CHUNK = 32  # scores looked at together: one comparison of all of them passes over most


def room(k: int) -> int:
    """The length of the uint64 zeros that hold the candidates of one query.

    ``keep`` reads CHUNK back from this length: numba may run callers of it that it compiled before CHUNK
    changed, which must not write past the end.
    """
    return 2 * k + CHUNK + 1


def _candidate(bits: Any, precedence: Any) -> Any:
    """From the bits of a score; 0.0 and -0.0 are the same."""
    sign = np.uint32(0x80000000)
    ordered = ~bits if bits & sign and bits != sign else bits | sign
    return (np.uint64(ordered) << np.uint64(32)) | np.uint64(np.uint32(0xFFFFFFFF) - np.uint32(precedence))


def _score(candidate: Any) -> Any:
    """The float32 score of a candidate."""
    ordered = np.uint32(candidate >> np.uint64(32))
    sign = np.uint32(0x80000000)
    bits = ordered ^ sign if ordered & sign else ~ordered
    return np.array([bits]).astype(np.uint32).view(np.float32)[0]


def _keep(scores: Any, precedence: Any, best: Any, held: int, k: int, floor: Any) -> int:
    """Add the scores of a block that are above *floor* to best[:held]; returns how many are held then.
    None may be NaN.

    The last of *best* is the least of the k largest when the rest was dropped last, else 0.
    """
    bits = scores.view(np.uint32)
    cut = score_of(best[-1]) if best[-1] else np.nextafter(floor, np.float32(np.inf))
    chunk = len(best) - 2 * k - 1
    for begin in range(0, len(scores), chunk):
        end = min(begin + chunk, len(scores))
        if largest_of(scores, begin, end) < cut:
            continue
        for i in range(begin, end):
            if scores[i] >= cut:
                best[held] = candidate_of(bits[i], precedence[i])
                held += 1
        if held >= 2 * k:
            select(best, held, k)
            held = k
            best[-1] = best[k - 1]
            cut = score_of(best[-1])
    return held


def _largest(scores: Any, begin: int, end: int) -> Any:
    """The largest of scores[begin:end], none of which is NaN."""
    largest = scores[begin]
    for i in range(begin, end):
        if scores[i] > largest:
            largest = scores[i]
    return largest


def _select(values: Any, n: int, k: int) -> None:
    """Move the k largest of values[:n] to the front, the least of them to place k - 1 (Hoare 1961, with
    Lomuto's partition, which swaps without a branch that the processor could guess wrongly).
    """
    left, right, wanted = 0, n - 1, k - 1
    while left < right:
        at = middle_of(values, left, (left + right) >> 1, right)
        pivot = values[at]
        values[at] = values[right]
        store = left
        for i in range(left, right):
            value = values[i]
            values[i] = values[store]
            values[store] = value
            store += int(value > pivot)
        values[right] = values[store]
        values[store] = pivot
        if store > wanted:
            right = store - 1
        elif store < wanted:
            left = store + 1
        else:
            return


def _middle(values: Any, a: int, b: int, c: int) -> int:
    """Which of three places holds the middle value."""
    first = values[a] < values[b]
    if first == (values[b] < values[c]):
        return b
    return a if first == (values[c] < values[a]) else c


def _finish(best: Any, held: int, by_precedence: Any, docs: Any, scores: Any) -> None:
    """Write the ranking that best[:held] holds into *docs* and *scores*, of k places each."""
    k = len(docs)
    if held > k:
        select(best, held, k)
        held = k
    decode(np.sort(best[:held]), by_precedence, docs, scores)


def _decode(rising: Any, by_precedence: Any, docs: Any, scores: Any) -> None:
    """Write candidates, sorted, from the last back to the first or to the first place that holds none."""
    last = len(rising) - 1
    for i in range(len(rising)):
        candidate = rising[last - i]
        if not candidate:
            return
        down = np.uint32(candidate & np.uint64(0xFFFFFFFF))
        docs[i] = by_precedence[np.uint32(0xFFFFFFFF) - down]
        scores[i] = score_of(candidate)


candidate_of = numba.njit(cache=True)(_candidate)
middle_of = numba.njit(cache=True)(_middle)
largest_of = numba.njit(cache=True, fastmath={"nnan", "nsz"})(_largest)
score_of = numba.njit(cache=True)(_score)
select = numba.njit(cache=True)(_select)
keep = numba.njit(cache=True)(_keep)
decode = numba.njit(cache=True)(_decode)
finish = numba.njit(cache=True)(_finish)
