"""The first of many entries that is small enough, in logarithmic time."""

from __future__ import annotations

from collections.abc import Sequence

NEVER = float("inf")


class Firsts:
    """A fixed row of numbers that answers "the first one that is at most x": a tree of minima."""

    def __init__(self, values: Sequence[float]) -> None:
        self._size = 1
        while self._size < max(1, len(values)):
            self._size *= 2
        self._least = [NEVER] * (2 * self._size)
        self._least[self._size : self._size + len(values)] = values
        for node in range(self._size - 1, 0, -1):
            self._least[node] = min(self._least[2 * node], self._least[2 * node + 1])

    @property
    def least(self) -> float:
        """The smallest number, NEVER when all are out."""
        return self._least[1]

    def put(self, place: int, value: float) -> None:
        """Set the number at *place*; NEVER takes it out."""
        least, node = self._least, place + self._size
        least[node] = value
        while node > 1:
            node //= 2
            smaller = min(least[2 * node], least[2 * node + 1])
            if least[node] == smaller:
                return
            least[node] = smaller

    def first(self, limit: float, start: int = 0) -> int:
        """The first place from *start* on whose number is at most *limit*; -1 when there is none."""
        least, node = self._least, start + self._size
        if start >= self._size:
            return -1
        if start == 0:
            node = 1
            if least[1] > limit:
                return -1
        while least[node] > limit:  # up and to the right
            while node % 2:
                if node & (node + 1) == 0:  # the last of its level
                    return -1
                node //= 2
            node += 1
        while node < self._size:
            node *= 2
            node += least[node] > limit
        return node - self._size
