"""Token sequences as a tree of shared beginnings, each of which is computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from harness.models.batching import Longs, Ragged

# A shared stretch is worth a forward pass of its own from this length on, and from this many tokens saved on.
LEAST_LENGTH = 16
LEAST_SAVED = 64


@dataclass(frozen=True, eq=False)
class Questions:
    """What is read: row int64[n] of the inputs, position int64[n] in it, token int64[n] predicted there.

    Sorted by row. bounds int64[rows + 1]: where each row's questions begin.
    """

    position: Longs
    token: Longs
    slot: Longs
    bounds: Longs

    @classmethod
    def of(cls, asked: Longs, rows: int) -> Questions:
        """From int64[n, 3] of (row, position, token) in any order; slot is the place in that order."""
        slot = np.argsort(asked[:, 0], kind="stable")
        bounds = np.searchsorted(asked[slot, 0], np.arange(rows + 1))
        return cls(asked[slot, 1], asked[slot, 2], slot, bounds)


@dataclass(eq=False)
class Node:
    """Tokens start..stop of *row*, and what follows them. rows: the inputs that run through it."""

    start: int
    stop: int
    row: int
    rows: Longs
    children: list[Node] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        """How many tokens the whole subtree computes."""
        return self.stop - self.start + sum(child.tokens for child in self.children)

    def asked(self, questions: Questions) -> Longs:
        """Numbers of the questions that are answered at one of this node's positions."""
        spans = [np.arange(questions.bounds[row], questions.bounds[row + 1]) for row in self.rows]
        found = np.concatenate(spans) if spans else np.empty(0, np.int64)
        at = questions.position[found]
        mine: Longs = found[(at >= self.start) & (at < self.stop)]
        return mine


def plan_alone(inputs: Ragged) -> list[Node]:
    """Every sequence by itself: nothing is shared."""
    return [Node(0, int(n), row, np.array([row])) for row, n in enumerate(inputs.lengths)]


def plan_shared(inputs: Ragged) -> list[Node]:
    """A tree over distinct sequences, none of them empty, whose shared stretches are worth it.

    Stretches that are not worth a pass of their own are computed with each of their continuations.
    """
    starts = inputs.starts
    if len(starts) == 1:
        return []
    rows = [inputs.values[a:b] for a, b in pairwise(starts)]
    keys = [row.astype(">u4").tobytes() for row in rows]
    order = np.array(sorted(range(len(rows)), key=keys.__getitem__), np.int64)
    common = np.zeros(len(rows) + 1, np.int64)  # with the one before, in sorted order
    for place in range(1, len(rows)):
        common[place] = _common(rows[order[place - 1]], rows[order[place]])
    return _grow(_Sorted(order, inputs.lengths[order], common), (0, len(rows)), 0, 0)


@dataclass(frozen=True, eq=False)
class _Sorted:
    """Sequences in lexicographic order: their numbers, lengths, and tokens shared with the one before."""

    order: Longs
    lengths: Longs
    common: Longs


def _grow(rows: _Sorted, span: tuple[int, int], depth: int, begin: int) -> list[Node]:
    """Nodes of rows span[0]..span[1], which share *depth* tokens, those from *begin* on not computed yet."""
    found = []
    low, high = span
    breaks = [low, *(place for place in range(low + 1, high) if rows.common[place] <= depth), high]
    for first, last in pairwise(breaks):
        mine = rows.order[first:last]
        if rows.lengths[first] == depth and depth > begin:  # ends where the others go on
            found.append(Node(begin, depth, int(mine[0]), mine[:1]))
            first, mine = first + 1, mine[1:]
        if first == last:
            continue
        if last - first == 1:
            found.append(Node(begin, int(rows.lengths[first]), int(mine[0]), mine))
            continue
        stop = int(rows.common[first + 1 : last].min())
        saved = (stop - begin) * (last - first - 1)
        if stop - begin < LEAST_LENGTH or saved < LEAST_SAVED:
            found += _grow(rows, (first, last), stop, begin)
            continue
        node = Node(begin, stop, int(mine[0]), mine)
        rest = first + int(rows.lengths[first] == stop)
        node.children = _grow(rows, (rest, last), stop, stop)
        found.append(node)
    return found


def _common(first: Sequence[int] | np.ndarray, second: Sequence[int] | np.ndarray) -> int:
    width = min(len(first), len(second))
    differing = np.flatnonzero(np.asarray(first[:width]) != np.asarray(second[:width]))
    return int(differing[0]) if len(differing) else width
