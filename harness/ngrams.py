"""Passages scored by the n-grams that a language model finds likely: SEAL's evidence.

Bevilacqua et al. 2022, section 3.3: an n-gram weighs the more, the likelier the model finds it beside how
often the corpus holds it; a passage's score adds up its n-grams, of which none may overlap, and tokens that
better n-grams held already count less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.answers import Ints
from harness.fm_index import FmIndex, Span

Doubles = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Key:
    """An n-gram of the corpus with its weight."""

    tokens: tuple[int, ...]
    span: Span
    weight: float


@dataclass(frozen=True)
class EvidenceSpec:
    """max_hits: occurrences up to which an n-gram counts as rare; candidates: passages scored exactly.

    repeat: weight lost by tokens covered before (beta); single_key: the share
    of the best n-gram's weight in the score (lambda).
    """

    max_hits: int = 1500
    candidates: int = 1500
    repeat: float = 0.8
    single_key: float = 0.0


def key_weight(logprob: Doubles, count: Doubles, total: int, smoothing: float, power: float) -> Doubles:
    """max(0, log odds of the model's probability less those of the corpus's) ** power; 0 where count is 0."""
    given = np.minimum(logprob - 1e-10, -1e-10)
    corpus = np.log((count + smoothing) / (total + smoothing))
    odds = (given - _log_rest(given)) - (corpus - _log_rest(corpus))
    return np.where(count > 0, np.maximum(0.0, odds) ** power, 0.0)


def _log_rest(logs: Doubles) -> Doubles:
    """log(1 - exp(logs)), without loss near 0."""
    return np.log(-np.expm1(np.minimum(logs, -1e-12)))


class Evidence:
    """Scores the passages of an index by weighted n-grams."""

    def __init__(self, index: FmIndex, spec: EvidenceSpec) -> None:
        self._index = index
        self._spec = spec
        self._free = np.ones(len(index) + 1, bool)

    def ranked(self, keys: Sequence[Key], unigrams: Doubles, k: int) -> tuple[Ints, Doubles]:
        """(passages int32[n], scores float64[n]) of at most k passages with a score above 0, best first.

        unigrams: float64[vocabulary], weights of single tokens at places that no n-gram took.
        """
        order = sorted((key for key in keys if key.weight > 0), key=lambda key: (-key.weight, key.tokens))
        rare = [key for key in order if 0 < key.span.count <= self._spec.max_hits]
        places = [self._index.locate(key.span) for key in rare]
        if not places:
            return np.empty(0, np.int32), np.empty(0)
        passages = np.unique(self._index.passage_of(np.concatenate(places)))
        passages = passages[passages >= 0].astype(np.int32)
        scores = self._added(rare, places, passages)[0]
        best = np.lexsort((passages, -scores))[: self._spec.candidates]
        passages = np.sort(passages[best])
        scores = self._exact(order, passages, unigrams)
        kept = np.lexsort((passages, -scores))[:k]
        kept = kept[scores[kept] > 0]
        return passages[kept], scores[kept]

    def _exact(self, keys: Sequence[Key], passages: Ints, unigrams: Doubles) -> Doubles:
        """Scores of *passages* by all n-grams, frequent ones too, and by single tokens at free places."""
        inside, tokens = self._places(passages)
        order = np.argsort(tokens, kind="stable")
        places = [self._inside(key, inside, tokens, order) for key in keys]
        several, best, covered = self._added(keys, places, passages)
        free = self._free[inside] & (tokens >= 0) & (tokens < len(unigrams))
        free[free] = unigrams[tokens[free]] > 0
        # The end token before a passage counts for that passage, though it stands in the next one's place.
        owner = np.searchsorted(passages, self._index.passage_of(inside[free] - 1))
        pairs = np.unique(owner * np.int64(len(unigrams)) + tokens[free])
        owner, token = pairs // len(unigrams), pairs % len(unigrams)
        share = np.where(covered.has(owner, token), 1.0 - self._spec.repeat, 1.0)
        several += np.bincount(owner, share * unigrams[token], len(passages))
        return (1.0 - self._spec.single_key) * several + self._spec.single_key * best

    def _places(self, passages: Ints) -> tuple[Longs, Ints]:
        """(places in the index's text, tokens) of passages: the end token that stands before each, not its
        own.
        """
        starts, ends = self._index.starts[passages] + 1, self._index.starts[passages + 1] + 1
        lengths = ends - starts
        offsets = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        places = np.repeat(starts, lengths) + offsets
        return places, (self._index.text[places] - 1).astype(np.int32)

    def _inside(self, key: Key, inside: Longs, tokens: Ints, order: Longs) -> Longs:
        """The places of *key* in the candidate passages: from the index when rare, else by its last token."""
        if 0 < key.span.count <= self._spec.max_hits:
            return self._index.locate(key.span)
        low, high = np.searchsorted(tokens, (key.tokens[-1], key.tokens[-1] + 1), sorter=order)
        places = inside[order[low:high]]
        text = self._index.text
        for offset, token in enumerate(reversed(key.tokens[:-1]), 1):
            places = places[places + offset < len(text)]
            places = places[text[places + offset] == token + 1]
        return np.sort(places)

    def _added(
        self, keys: Sequence[Key], places: Sequence[Longs], passages: Ints
    ) -> tuple[Doubles, Doubles, Covered]:
        """(sums, best single weights, covered tokens) by passage; keys come heaviest first.

        A key counts once a passage, where an occurrence overlaps no better key's. Its places stay taken.
        """
        self._free.fill(True)
        sums, best = np.zeros(len(passages)), np.zeros(len(passages))
        covered = Covered(keys, len(passages))
        for key, found in zip(keys, places, strict=True):
            owner = self._index.passage_of(found)
            row = np.minimum(np.searchsorted(passages, owner), len(passages) - 1)
            known = passages[row] == owner
            spans, row = found[known, None] + np.arange(len(key.tokens)), row[known]
            open_ = self._free[spans].all(axis=1)
            spans, rows = spans[open_], np.unique(row[open_])
            sums[rows] += key.weight * (1.0 - self._spec.repeat * covered.share(key, rows))
            best[rows] = np.maximum(best[rows], key.weight)
            covered.add(key, rows)
            self._free[spans] = False
        return sums, best, covered


class Covered:
    """Which tokens of the keys each passage has had covered."""

    def __init__(self, keys: Sequence[Key], passages: int) -> None:
        every = sorted({token for key in keys for token in key.tokens})
        self._column = {token: column for column, token in enumerate(every)}
        self._tokens = np.array(every, np.int64)
        self._held: Flags = np.zeros((passages, len(every)), bool)

    def share(self, key: Key, rows: Longs) -> Doubles:
        """float64[rows]: the share of a key's distinct tokens that were covered before."""
        shares: Doubles = self._held[np.ix_(rows, self._columns(key))].mean(axis=1)
        return shares

    def add(self, key: Key, rows: Longs) -> None:
        """A key's tokens are covered from now on."""
        self._held[np.ix_(rows, self._columns(key))] = True

    def has(self, rows: Longs, tokens: Longs) -> Flags:
        """bool[n]: whether token i is covered in row i."""
        if not len(self._tokens):
            return np.zeros(len(rows), bool)
        column = np.minimum(np.searchsorted(self._tokens, tokens), len(self._tokens) - 1)
        found: Flags = self._held[rows, column] & (self._tokens[column] == tokens)
        return found

    def _columns(self, key: Key) -> Longs:
        return np.array(sorted({self._column[token] for token in key.tokens}), np.int64)
