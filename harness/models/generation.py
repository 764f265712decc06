"""How the next token is chosen: greedily or drawn with a seed, from all tokens or from those allowed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from harness.errors import TouchstoneError

Doubles = npt.NDArray[np.float64]
# From the tokens written so far to those that may come next; none ends the text, None allows every token.
Allowed = Callable[[Sequence[int]], Collection[int] | None]


@dataclass(frozen=True)
class Sampling:
    """temperature 0 is greedy: the likeliest token each time, of equally likely ones the first.

    Otherwise tokens are drawn from the softmax of logits / temperature, cut to the top_k likeliest (0: all)
    and to the smallest set with probability top_p (nucleus sampling, Holtzman et al. 2020, section 3.1).
    A draw depends on seed, prompt and step alone, not on what else is in the batch. stop: texts that end the
    answer and are not part of it.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not (self.temperature >= 0 and self.top_k >= 0 and 0 < self.top_p <= 1 and all(self.stop)):
            raise TouchstoneError(
                "sampling settings out of range",
                why=f"temperature {self.temperature}, top_k {self.top_k}, top_p {self.top_p}",
                fix="temperature >= 0, top_k >= 0, 0 < top_p <= 1, stop texts that are not empty",
            )


GREEDY = Sampling()


@dataclass(frozen=True)
class Generated:
    """What a model wrote. logprob: sum of its tokens' natural log-probabilities before temperature and cuts
    (of all tokens, not of the allowed ones); end: why it ended.
    """

    text: str
    ids: tuple[int, ...]
    logprob: float
    end: Literal["stop", "length"]


@dataclass
class TokenTrie:
    """Token sequences as a prefix tree: as ``allowed`` it lets a model write exactly one of them.

    stop: the end token, offered where a sequence is complete that another one continues.
    """

    stop: int
    _children: dict[int, TokenTrie] = field(default_factory=dict)
    _whole: bool = False

    @classmethod
    def of(cls, sequences: Iterable[Sequence[int]], stop: int) -> Self:
        """The trie of *sequences*; an empty one is an error."""
        root = cls(stop)
        for sequence in sequences:
            if not len(sequence):
                raise TouchstoneError("an empty sequence cannot be generated")
            node: TokenTrie = root
            for token in sequence:
                node = node._children.setdefault(int(token), TokenTrie(stop))
            node._whole = True
        return root

    def __call__(self, written: Sequence[int]) -> Collection[int]:
        """What may follow *written*; nothing after a leaf, or off the tree."""
        node: TokenTrie | None = self
        for token in written:
            node = node._children.get(token) if node else None
        if node is None:
            return ()
        return [*node._children, self.stop] if node._whole and node._children else list(node._children)


def draw_keys(sampling: Sampling, prompt: Sequence[int], steps: int) -> Doubles:
    """float64[steps] in [0, 1): the random numbers of one prompt's tokens."""
    given = np.asarray([sampling.seed, *prompt], np.int64).tobytes()
    seed = int.from_bytes(hashlib.sha256(given).digest()[:8], "little")
    return np.random.default_rng(seed).random(steps)


def pick(logits: Doubles, sampling: Sampling, key: float, allowed: Collection[int] | None) -> int:
    """The next token of one text by logits float64[vocabulary]; *key* in [0, 1) decides a draw."""
    if allowed is not None:
        kept = np.full_like(logits, -np.inf)
        chosen = np.fromiter(allowed, np.int64, len(allowed))
        kept[chosen] = logits[chosen]
        logits = kept
    if sampling.temperature == 0:
        return int(logits.argmax())
    order = np.argsort(-logits, kind="stable")
    if sampling.top_k:
        order = order[: sampling.top_k]
    scaled = (logits[order] - logits[order[0]]) / sampling.temperature
    weights = np.exp(scaled)
    mass = np.cumsum(weights) / weights.sum()
    count = int(np.searchsorted(mass, sampling.top_p)) + 1 if sampling.top_p < 1 else len(mass)
    mass = mass[:count] / mass[:count][-1]
    return int(order[min(int(np.searchsorted(mass, key, side="right")), len(mass) - 1)])


def cut_at_stop(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    """*text* up to the first of *stops*, and whether there was one."""
    ends = [place for place in (text.find(stop) for stop in stops) if place >= 0]
    return (text[: min(ends)], True) if ends else (text, False)
