"""Tokens of prompts with their continuations: what many texts share is tokenised once.

The joined tokens must equal those of the whole text, since that is what a model reads. They do where a
tokenizer first splits the text into words, at a space between two other characters: no word reaches over such
a place. One text of each shared beginning is compared with its whole, and where it differs everything is
tokenised whole.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from harness.models.prompts import Request
from harness.models.tokenizer import Tokenizer, shared_prefix

Pair = tuple[list[int], list[int]]
WORD_START = re.compile(r"(?<=\S) (?=\S)")
LEAST_SHARED = 200  # characters: a shorter beginning is not worth a cut


@dataclass(frozen=True)
class Cut:
    """A text as head + middle + end. head is shared with others; the end holds the last word or more."""

    head: str
    middle: str
    end: str


class JointEncoder:
    """Splits requests into (context, targets) by tokens."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._joins = tokenizer.splits_words
        self._heads: dict[str, list[int]] = {}

    def pairs(self, requests: Sequence[Request]) -> list[list[Pair]]:
        """For each request the pair of each continuation, not cut to any window.

        The context is what the prompt's own tokens have in common with the whole text's: all of them, unless
        the boundary falls inside a token.
        """
        cuts = _cuts([request.prompt for request in requests]) if self._joins else []
        if cuts and not self._holds(cuts, requests):
            self._joins, cuts = False, []
        if not cuts:
            cuts = [Cut("", "", request.prompt) for request in requests]
        ends = [
            cut.end + text for cut, request in zip(cuts, requests, strict=True)
            for text in ("", *request.continuations)
        ]  # fmt: skip
        starts = [not (cut.head or cut.middle) for cut, request in zip(cuts, requests, strict=True)
                  for _ in range(1 + len(request.continuations))]  # fmt: skip
        tails = self._encoded(ends, starts)
        middles = self._encoded([cut.middle for cut in cuts], [not cut.head for cut in cuts])
        found, place = [], 0
        for cut, middle, request in zip(cuts, middles, requests, strict=True):
            front = self._head(cut.head) + (middle if cut.middle else [])
            prompt, *wholes = tails[place : place + 1 + len(request.continuations)]
            place += 1 + len(wholes)
            shared = [shared_prefix(prompt, whole) for whole in wholes]
            found.append([(front + w[:n], w[n:]) for w, n in zip(wholes, shared, strict=True)])
        return found

    def _encoded(self, texts: Sequence[str], starts: Sequence[bool]) -> list[list[int]]:
        """Tokens of each text; what the tokenizer puts in front only where the text begins there."""
        found: dict[tuple[str, bool], list[int]] = {}
        for start in (True, False):
            mine = list(dict.fromkeys(t for t, s in zip(texts, starts, strict=True) if s is start))
            rows = self._tokenizer.encode_many(mine, start)
            found |= {(text, start): row for text, row in zip(mine, rows, strict=True)}
        return [found[text, start] for text, start in zip(texts, starts, strict=True)]

    def _head(self, head: str) -> list[int]:
        if head not in self._heads:
            if len(self._heads) > 64:
                self._heads.clear()
            self._heads[head] = self._tokenizer.encode(head) if head else []
        return self._heads[head]

    def _holds(self, cuts: Sequence[Cut], requests: Sequence[Request]) -> bool:
        """Whether joining gives the tokens of the whole text, for one text of each head."""
        first = {cut.head: number for number, cut in reversed(list(enumerate(cuts)))}
        for number in first.values():
            cut, texts = cuts[number], ("", *requests[number].continuations[:1])
            for text in texts:
                parts = self._encoded(
                    [*([cut.middle] if cut.middle else []), cut.end + text],
                    [not cut.head, *([False] if cut.middle else [])],
                )
                whole = self._tokenizer.encode(cut.head + cut.middle + cut.end + text)
                if self._head(cut.head) + [token for part in parts for token in part] != whole:
                    return False
        return True


def _cuts(prompts: Sequence[str]) -> list[Cut]:
    """Each prompt cut after what it shares with a neighbour, and before its last word."""
    shared = [0, *(_common(a, b) for a, b in pairwise(prompts)), 0]
    found = []
    for number, prompt in enumerate(prompts):
        head = _last_space(prompt, 0, max(shared[number], shared[number + 1]))
        head = head if head >= LEAST_SHARED else 0
        end = _last_space(prompt, head, len(prompt))
        found.append(Cut(prompt[:head], prompt[head:end], prompt[end:]))
    return found


def _last_space(text: str, start: int, stop: int) -> int:
    """The last place in text[start:stop] of a space between two other characters, else *start*."""
    width = 256
    while True:
        low = max(start, stop - width)
        places = [m.start() for m in WORD_START.finditer(text, low, stop) if m.start() > start]
        if places or low == start:
            return places[-1] if places else start
        width *= 4


def _common(first: str, second: str) -> int:
    """How many leading characters two texts share, by halving."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
