"""What a run produces: rankings and choice log-probabilities as arrays, and written texts.

Items are the integer positions of a task's queries or questions; documents are the integer positions in
its corpus. A ranking shorter than k is padded with document -1 and score -inf.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from harness.errors import TouchstoneError

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

PAD = -1


@dataclass(frozen=True, eq=False)
class Rankings:
    """items int32[n], docs int32[n, k], scores float32[n, k]; best first, padded with PAD and -inf."""

    items: Ints
    docs: Ints
    scores: Floats

    def __len__(self) -> int:
        return len(self.items)

    @property
    def depth(self) -> int:
        """Columns: the most documents a ranking may hold."""
        return int(self.docs.shape[1])

    @classmethod
    def empty(cls, depth: int) -> Self:
        """No items, *depth* columns."""
        return cls(np.empty(0, np.int32), np.empty((0, depth), np.int32), np.empty((0, depth), np.float32))

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """All parts as one, sorted by item; narrower parts are padded."""
        depth = max(part.depth for part in parts)
        padded = [part.resized(depth) for part in parts]
        items = np.concatenate([part.items for part in padded])
        order = np.argsort(items, kind="stable")
        docs = np.concatenate([part.docs for part in padded])[order]
        scores = np.concatenate([part.scores for part in padded])[order]
        return cls(items[order], docs, scores)

    def resized(self, depth: int) -> Self:
        """Cut or padded to *depth* columns."""
        if depth == self.depth:
            return self
        if depth < self.depth:
            return type(self)(self.items, self.docs[:, :depth], self.scores[:, :depth])
        extra = ((0, 0), (0, depth - self.depth))
        docs = np.pad(self.docs, extra, constant_values=PAD)
        return type(self)(self.items, docs, np.pad(self.scores, extra, constant_values=-np.inf))

    def select(self, items: Ints) -> Self:
        """The rows of *items*, in that order; every one must be there."""
        rows = np.searchsorted(self.items, items)
        return type(self)(self.items[rows], self.docs[rows], self.scores[rows])

    def checked(self, n_docs: int, name: Callable[[int], str]) -> Self:
        """Self when well formed; otherwise an error that names the item (by ``name(item)``)."""
        shape = (len(self.items), self.docs.shape[1] if self.docs.ndim == 2 else -1)
        if self.docs.shape != shape or self.scores.shape != shape:
            raise TouchstoneError(
                "rankings have mismatched shapes",
                why=f"items {self.items.shape}, docs {self.docs.shape}, scores {self.scores.shape}",
            )
        held = self.docs != PAD
        problems = (
            ("NaN score", held & np.isnan(self.scores)),
            ("document number out of range", (self.docs < PAD) | (self.docs >= n_docs)),
            ("infinite score", held & np.isinf(self.scores)),
            ("repeated document", repeated(self.docs)),
        )
        for what, bad in problems:
            rows = np.flatnonzero(bad.any(axis=1))
            if len(rows):
                where = name(int(self.items[rows[0]]))
                raise TouchstoneError(
                    f"{what} in a ranking", where=where, why=f"{len(rows)} such items in this block"
                )
        return self

    def canonical(self, doc_ids: Callable[[Ints], Sequence[str]]) -> Self:
        """Ordered as trec_eval orders: score down, then document id down (as text), padding last."""
        docs, scores = self.docs.copy(), np.where(self.docs == PAD, -np.inf, self.scores).astype(np.float32)
        order = np.argsort(-scores, axis=1, kind="stable")
        docs, scores = np.take_along_axis(docs, order, 1), np.take_along_axis(scores, order, 1)
        for row in np.flatnonzero(((scores[:, 1:] == scores[:, :-1]) & (docs[:, 1:] != PAD)).any(axis=1)):
            n = int((docs[row] != PAD).sum())
            ids = np.asarray(doc_ids(docs[row, :n]), dtype=object)
            by_id = np.argsort(ids, kind="stable")[::-1]
            best = by_id[np.argsort(-scores[row, :n][by_id], kind="stable")]
            docs[row, :n], scores[row, :n] = docs[row, best], scores[row, best]
        return type(self)(self.items, docs, scores)

    def tied_items(self) -> int:
        """How many rankings hold two documents of equal score: their order rests on the tie rule."""
        return int(
            ((self.scores[:, 1:] == self.scores[:, :-1]) & (self.docs[:, 1:] != PAD)).any(axis=1).sum()
        )


@dataclass(frozen=True, eq=False)
class Choices:
    """items int32[n], logprobs float32[n, c]; a question with fewer choices is padded with -inf."""

    items: Ints
    logprobs: Floats

    def __len__(self) -> int:
        return len(self.items)

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """All parts as one, sorted by item."""
        width = max(part.logprobs.shape[1] for part in parts)
        padded = [
            np.pad(p.logprobs, ((0, 0), (0, width - p.logprobs.shape[1])), constant_values=-np.inf)
            for p in parts
        ]
        items = np.concatenate([part.items for part in parts])
        order = np.argsort(items, kind="stable")
        return cls(items[order], np.concatenate(padded)[order])

    def checked(self, name: Callable[[int], str]) -> Self:
        """Self when well formed; otherwise an error that names the item."""
        if self.logprobs.ndim != 2 or len(self.logprobs) != len(self.items):
            raise TouchstoneError(
                "choices have mismatched shapes",
                why=f"items {self.items.shape}, logprobs {self.logprobs.shape}",
            )
        bad = np.isnan(self.logprobs).any(axis=1) | np.isposinf(self.logprobs).any(axis=1)
        if bad.any():
            raise TouchstoneError("NaN or +inf log-probability", where=name(int(self.items[np.argmax(bad)])))
        return self


@dataclass(frozen=True, eq=False)
class Texts:
    """items int32[n]; one text an item, and the ids of the pages that it rests on, best first."""

    items: Ints
    texts: tuple[str, ...]
    pages: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.items)

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """All parts as one, sorted by item; no parts give no items."""
        items = np.concatenate([np.empty(0, np.int32), *(part.items for part in parts)])
        order = np.argsort(items, kind="stable")
        texts = [text for part in parts for text in part.texts]
        pages = [row for part in parts for row in part.pages]
        return cls(items[order], tuple(texts[i] for i in order), tuple(pages[i] for i in order))

    def checked(self, name: Callable[[int], str]) -> Self:
        """Self when well formed; otherwise an error that names the item."""
        if not len(self.items) == len(self.texts) == len(self.pages):
            raise TouchstoneError(
                "texts have mismatched lengths",
                why=f"{len(self.items)} items, {len(self.texts)} texts, {len(self.pages)} lists of pages",
            )
        for item, text, pages in zip(self.items.tolist(), self.texts, self.pages, strict=True):
            if not all(isinstance(part, str) for part in (text, *pages)):
                raise TouchstoneError("an answer or a page id is not text", where=name(item))
            if any("\ud800" <= letter <= "\udfff" for part in (text, *pages) for letter in part):
                raise TouchstoneError("an answer holds half a character", where=name(item))
        return self

    def to_arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """As arrays that need no pickling: the items, and texts and pages as the bytes of their JSON."""
        body = {"texts": self.texts, "pages": self.pages}
        encoded = {key: np.frombuffer(json.dumps(value).encode(), np.uint8) for key, value in body.items()}
        return {"items": self.items, **encoded}

    @classmethod
    def from_arrays(cls, arrays: dict[str, npt.NDArray[Any]]) -> Self:
        """The reverse of to_arrays."""
        texts, pages = (json.loads(arrays[key].tobytes()) for key in ("texts", "pages"))
        return cls(arrays["items"], tuple(texts), tuple(map(tuple, pages)))


@dataclass(frozen=True, eq=False)
class TokenLosses:
    """items int32[n]; losses float32[t] of all texts' tokens end to end, starts int64[n + 1] of each text's.

    A loss is minus the natural log-probability of a token after those before it.
    """

    items: Ints
    losses: Floats
    starts: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.items)

    @property
    def sums(self) -> Doubles:
        """float64[n]: the loss of each text, summed in double precision."""
        total = np.concatenate([[0.0], np.cumsum(self.losses, dtype=np.float64)])
        summed: Doubles = total[self.starts[1:]] - total[self.starts[:-1]]
        return summed

    @classmethod
    def of(cls, items: Ints, rows: Sequence[npt.NDArray[Any]]) -> Self:
        """One array of losses for each item."""
        starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
        return cls(items, np.concatenate([np.empty(0, np.float32), *rows]).astype(np.float32), starts)

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """All parts as one, sorted by item; no parts give no items."""
        items = np.concatenate([np.empty(0, np.int32), *(part.items for part in parts)])
        rows = [row for part in parts for row in np.split(part.losses, part.starts[1:-1])]
        order = np.argsort(items, kind="stable")
        return cls.of(items[order], [rows[row] for row in order])

    def select(self, items: Ints) -> Self:
        """The rows of *items*, in that order; every one must be there, and items ascending here."""
        rows = np.searchsorted(self.items, items)
        return self.of(items, [self.losses[self.starts[row] : self.starts[row + 1]] for row in rows])

    def checked(self, name: Callable[[int], str]) -> Self:
        """Self when well formed; otherwise an error that names the item."""
        whole = len(self.starts) == len(self.items) + 1 and int(self.starts[-1]) == len(self.losses)
        if not whole or (np.diff(self.starts) < 0).any():
            raise TouchstoneError(
                "token losses have mismatched shapes",
                why=f"items {self.items.shape}, starts {self.starts.shape}, losses {self.losses.shape}",
            )
        for what, bad in (
            ("no tokens", np.diff(self.starts) == 0),
            ("NaN or infinite loss", ~np.isfinite(self.sums)),
        ):
            if bad.any():
                raise TouchstoneError(what, where=name(int(self.items[np.argmax(bad)])))
        return self


Answers = Rankings | Choices | Texts | TokenLosses


def repeated(docs: Ints) -> npt.NDArray[np.bool_]:
    """bool[n, k]: true in a row that holds the same document twice."""
    ordered = np.sort(docs, axis=1)
    twice = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != PAD)
    return np.broadcast_to(twice.any(axis=1)[:, None], docs.shape)
