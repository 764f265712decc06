"""An FM-index over passages of token ids: how often a sequence occurs, what follows it, and where.

Ferragina & Manzini 2000 (opportunistic data structures), on whole numbers, as SEAL uses it (Bevilacqua et al.
2022, section 3): every passage's tokens are reversed before they are joined, so that backward search over the
reversed text extends a sequence to the right. Each passage ends with one end token; reversed, it comes first,
so the end of a passage is "followed" by the beginning of the passage before it, and that of the first passage
by nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.answers import Ints
from harness.errors import TouchstoneError

Longs = npt.NDArray[np.int64]
MOST = np.iinfo(np.int32).max - 1
ARRAYS = ("text", "bwt", "order", "rows", "before", "starts")


@dataclass(frozen=True)
class Span:
    """The rows low..high-1: the suffixes of the reversed text that begin with a sequence, reversed."""

    low: int
    high: int

    @property
    def count(self) -> int:
        """How often the sequence occurs."""
        return max(0, self.high - self.low)


@dataclass(frozen=True, eq=False)
class FmIndex:
    """n tokens of d passages; symbols are token ids + 1, and 0 ends the text.

    text int32[n + 1]: the reversed symbols; bwt int32[n + 1]: the symbol before each row's suffix; order
    int32[n + 1]: the rows of each symbol of bwt, ascending, symbol after symbol; rows int32[n + 1]: where
    each row's suffix begins in text; before int64[symbols + 1]: how many symbols of text are smaller; starts
    int64[d + 1]: where passages begin in text.
    """

    text: Ints
    bwt: Ints
    order: Ints
    rows: Ints
    before: Longs
    starts: Longs

    def __len__(self) -> int:
        """Tokens, end tokens included."""
        return len(self.text) - 1

    @property
    def passages(self) -> int:
        """Number of passages."""
        return len(self.starts) - 1

    @property
    def everything(self) -> Span:
        """The span of the empty sequence: every row, that of the text's end too."""
        return Span(0, len(self.text))

    def extended(self, span: Span, token: int) -> Span:
        """The span of a sequence with *token* after it: one step of backward search, O(log n)."""
        symbol = token + 1
        if not 0 < symbol < len(self.before) - 1:
            return Span(0, 0)
        first, last = int(self.before[symbol]), int(self.before[symbol + 1])
        low, high = np.searchsorted(self.order[first:last], (span.low, span.high))
        return Span(first + int(low), first + int(high))

    def find(self, tokens: Sequence[int]) -> Span:
        """The span of a sequence."""
        span = self.everything
        for token in tokens:
            if not span.count:
                break
            span = self.extended(span, token)
        return span

    def continuations(self, span: Span) -> tuple[Ints, Longs]:
        """(tokens, how often each) that follow a span's sequence, tokens ascending."""
        part = self.bwt[span.low : span.high]
        if len(part) > len(self.before):
            counts = np.bincount(part, minlength=len(self.before))
            symbols = np.flatnonzero(counts)
            counts = counts[symbols]
        else:
            symbols, counts = np.unique(part, return_counts=True)
        real = symbols > 0
        return (symbols[real] - 1).astype(np.int32), counts[real].astype(np.int64)

    def locate(self, span: Span) -> Longs:
        """int64[count]: the places in ``text`` where a sequence occurs: those of its last token."""
        return self.rows[span.low : span.high].astype(np.int64)

    def passage_of(self, places: Longs) -> Ints:
        """The passages that hold places of ``text``."""
        return (np.searchsorted(self.starts, places, side="right") - 1).astype(np.int32)

    def passage(self, number: int) -> list[int]:
        """The tokens of a passage, end token last, rebuilt from the index."""
        found: list[int] = (self.text[self.starts[number] : self.starts[number + 1]][::-1] - 1).tolist()
        return found

    def save(self, folder: Path) -> None:
        """One .npy file an array."""
        for name in ARRAYS:
            np.save(folder / f"{name}.npy", getattr(self, name))

    @classmethod
    def open(cls, folder: Path) -> FmIndex:
        """The index of a folder, memory-mapped."""
        return cls(**{name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS})


def build_fm_index(passages: Iterable[Sequence[int]], end: int) -> FmIndex:
    """The index of *passages* (token ids, without end token); *end* is put after each.

    Time O(n log n log l) with the longest repeated sequence l, memory about 40 bytes a token.
    """
    reversed_passages = [np.append(np.asarray(p, np.int32), end)[::-1] + 1 for p in passages]
    if not reversed_passages:
        raise TouchstoneError("there are no passages to index")
    starts = np.cumsum([0, *map(len, reversed_passages)]).astype(np.int64)
    if starts[-1] > MOST:
        raise TouchstoneError(f"{starts[-1]} tokens are too many for one index", why=f"it holds {MOST}")
    text = np.append(np.concatenate(reversed_passages), 0).astype(np.int32)
    rows = suffix_array(text)
    bwt = text[rows - 1]
    order = np.argsort(bwt, kind="stable").astype(np.int32)
    before = np.concatenate([[0], np.cumsum(np.bincount(text, minlength=end + 2))]).astype(np.int64)
    return FmIndex(text, bwt, order, rows, before, starts)


def suffix_array(text: Ints) -> Ints:
    """int32[n]: where the suffixes of *text* begin, in order; its last symbol must be its only smallest one.

    Prefix doubling (Manber & Myers 1990): suffixes sorted by their first 2^i symbols at step i.
    """
    size = len(text)
    _, rank = np.unique(text, return_inverse=True)
    rank, width = rank.astype(np.int64), 1
    while True:
        following = np.zeros(size, np.int64)
        following[: size - width] = rank[width:] + 1
        pairs = rank * (size + 1) + following
        found = np.argsort(pairs, kind="stable")
        changes = np.diff(pairs[found]) != 0
        rank[found] = np.concatenate([[0], np.cumsum(changes)])
        if changes.all():
            return found.astype(np.int32)
        width *= 2
