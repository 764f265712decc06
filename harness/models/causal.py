"""The back end on transformers: every ability, in batches sorted by length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.answers import Floats
from harness.errors import TouchstoneError
from harness.models.batching import BatchLimits, Longs, Progress, Ragged, batch_limits, run_batches
from harness.models.generation import GREEDY, Allowed, Generated, Sampling
from harness.models.joint import JointEncoder, Pair
from harness.models.memory import fitting_limits
from harness.models.network import Batch, Network, Places
from harness.models.prompts import Chat, Prompt, Request
from harness.models.scoring import Work, plain_logprobs, score_pairs
from harness.models.tokenizer import Tokenizer
from harness.models.writer import write_texts
from harness.spec import Json

Doubles = npt.NDArray[np.float64]


class CausalModel:
    """A transformers causal model with its tokenizer. Implements ``LanguageModel``; see there."""

    def __init__(
        self, network: Network, tokenizer: Tokenizer, max_tokens: int, identity: dict[str, Json]
    ) -> None:
        self._network = network
        self._tokenizer = tokenizer
        self.identity = identity
        self.max_tokens = max_tokens
        self.chats = tokenizer.chats
        self.truncated = 0
        self.shortened = 0
        self.work = Work()
        self._joint = JointEncoder(tokenizer)

    def encode(self, text: str) -> list[int]:
        """Token ids, with what the tokenizer puts in front."""
        return self._tokenizer.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids."""
        return self._tokenizer.decode(ids)

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        """The tokens of a prompt; an empty one is the start token."""
        if isinstance(prompt, Chat):
            return self._tokenizer.encode_chat(prompt)
        ids = self.encode(prompt) if isinstance(prompt, str) else [int(token) for token in prompt]
        return ids or [self._start()]

    def continuation_logprobs(
        self, requests: Sequence[Request], progress: Progress | None = None
    ) -> list[Floats]:
        """For each request float32[its continuations]; equal inputs (one-token choices) are computed once."""
        pairs = self._pairs(requests)
        return self._sums(requests, score_pairs(self._network, pairs, self.work, progress))

    def plain_logprobs(self, requests: Sequence[Request]) -> list[Floats]:
        """The same, every continuation by itself, nothing batched and nothing reused: what the fast path must
        equal.
        """
        pairs = self._pairs(requests)
        return self._sums(requests, plain_logprobs(self._network, pairs))

    def _sums(self, requests: Sequence[Request], values: Sequence[Doubles]) -> list[Floats]:
        sums = [float(part.sum()) for part in values]
        starts = np.cumsum([0, *(len(request.continuations) for request in requests)])
        return [np.array(sums[a:b], np.float32) for a, b in pairwise(starts)]

    def token_logprobs(
        self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], progress: Progress | None = None
    ) -> list[Doubles]:
        """For each (context, targets) float64[targets]; together they must fit the window."""
        checked = []
        for context, targets in pairs:
            start = list(context) or [self._start()]
            self._require_room(len(start) + len(targets) - 1, "a text")
            checked.append((start, list(targets)))
        return score_pairs(self._network, checked, self.work, progress)

    def next_token_logits(self, prompts: Sequence[Prompt]) -> Floats:
        """float32[prompts, vocabulary]."""
        rows = [self._fitted_prompt(prompt, 0) for prompt in prompts]
        found: list[Floats] = [np.empty(0, np.float32)] * len(rows)

        def run(batch: Batch, numbers: Longs, ends: Longs) -> None:
            logits = self._network.logits(batch, Places(np.arange(len(numbers)), ends)).cpu().numpy()
            for number, row in zip(numbers.tolist(), logits, strict=True):
                found[number] = row

        self._in_batches(rows, run)
        return np.stack(found) if found else np.empty((0, self._network.config.vocab_size), np.float32)

    def hidden_states(
        self, prompts: Sequence[Prompt], positions: Sequence[Sequence[int]] | None = None
    ) -> list[Floats]:
        """For each prompt float32[its positions (default: all tokens), dimensions]."""

        def read(batch: Batch, places: Places) -> list[Floats]:
            return [self._network.hidden(batch, places).cpu().numpy()]

        return [found[0] for found in self._read_at(prompts, positions, read)]

    def states_and_logits(
        self, prompts: Sequence[Prompt], positions: Sequence[Sequence[int]]
    ) -> list[tuple[Floats, Floats]]:
        """For each prompt (float32[its positions, dimensions], float32[its positions, vocabulary])."""

        def read(batch: Batch, places: Places) -> list[Floats]:
            return [part.cpu().numpy() for part in self._network.hidden_and_logits(batch, places)]

        return [(found[0], found[1]) for found in self._read_at(prompts, positions, read)]

    def _read_at(
        self,
        prompts: Sequence[Prompt],
        positions: Sequence[Sequence[int]] | None,
        read: Callable[[Batch, Places], list[Floats]],
    ) -> list[list[Floats]]:
        """What *read* gives of each prompt's positions (None: all tokens), in batches."""
        rows = [self._fitted_prompt(prompt, 0) for prompt in prompts]
        wanted = [np.arange(len(row)) for row in rows]
        if positions is not None:
            wanted = [_checked(at, len(row)) for at, row in zip(positions, rows, strict=True)]
        found: list[list[Floats]] = [[]] * len(rows)

        def run(batch: Batch, numbers: Longs, _ends: Longs) -> None:
            mine = [wanted[number] for number in numbers]
            owner = np.repeat(np.arange(len(numbers)), [len(at) for at in mine])
            ends = np.cumsum([len(at) for at in mine])[:-1]
            parts = [np.split(part, ends) for part in read(batch, Places(owner, np.concatenate(mine)))]
            for number, own in zip(numbers.tolist(), zip(*parts, strict=True), strict=True):
                found[number] = list(own)

        self._in_batches(rows, run)
        return found

    def generate(
        self,
        prompt: Prompt,
        max_new_tokens: int,
        sampling: Sampling = GREEDY,
        allowed: Allowed | None = None,
    ) -> str:
        """The text after one prompt."""
        return self.generate_many([prompt], max_new_tokens, sampling, allowed)[0].text

    def generate_many(
        self,
        prompts: Sequence[Prompt],
        max_new_tokens: int,
        sampling: Sampling = GREEDY,
        allowed: Allowed | None = None,
    ) -> list[Generated]:
        """The text after each prompt, in batches; never past the window."""
        rows = [self._fitted_prompt(prompt, max_new_tokens) for prompt in prompts]
        found: dict[int, Generated] = {}
        lengths = np.array([len(row) + max_new_tokens for row in rows], np.int64)

        def run(numbers: Longs) -> None:
            given = [rows[number] for number in numbers]
            texts = write_texts(self._network, self._tokenizer, given, max_new_tokens, sampling, allowed)
            found.update(zip(numbers.tolist(), texts, strict=True))

        self.work.halved += run_batches(
            lengths, self._limits(1 / max(1, int(lengths.max(initial=1)))), run, None
        )
        return [found[number] for number in range(len(rows))]

    def _in_batches(self, rows: Sequence[Sequence[int]], run: Any) -> None:
        """``run(batch, row numbers, last columns)`` for right-padded batches of *rows*."""
        ragged = Ragged.of(rows)

        def padded(numbers: Longs) -> None:
            ids, mask = ragged.padded(numbers, 0)
            run(Batch(ids, None if mask.all() else mask), numbers, ragged.lengths[numbers] - 1)

        self.work.halved += run_batches(ragged.lengths, self._limits(0.0), padded, None)

    def _limits(self, scored: float) -> BatchLimits:
        return fitting_limits(batch_limits(self._network.device), self._network, 0, scored)

    def _pairs(self, requests: Sequence[Request]) -> list[Pair]:
        """(context, targets) of every continuation. A request that does not fit the window is asked with its
        next shorter prompt; the last one is cut, and counted once.
        """
        found: list[list[Pair]] = [[] for _ in requests]
        waiting, step = list(range(len(requests))), 0
        while waiting:
            asked = [
                replace(requests[n], prompt=(requests[n].prompt, *requests[n].shorter)[step]) for n in waiting
            ]
            longer = []
            for number, pairs in zip(waiting, self._joint.pairs(asked), strict=True):
                pairs = [(context or [self._start()], targets) for context, targets in pairs]
                fits = all(len(context) + len(targets) - 1 <= self.max_tokens for context, targets in pairs)
                if not fits and step < len(requests[number].shorter):
                    longer.append(number)
                    continue
                self.shortened += step > 0
                self.truncated += not fits
                found[number] = [self._cut(context, targets) for context, targets in pairs]
            waiting, step = longer, step + 1
        return [pair for pairs in found for pair in pairs]

    def _cut(self, context: list[int], targets: list[int]) -> Pair:
        self._require_room(len(targets), "a continuation")
        return self._fitted(context, self.max_tokens + 1 - len(targets)), targets

    def _start(self) -> int:
        if self._tokenizer.start is None:
            raise TouchstoneError("an empty prompt", why="the model has no start token", fix="give a prompt")
        return self._tokenizer.start

    def _require_room(self, tokens: int, what: str) -> None:
        if tokens > self.max_tokens:
            raise TouchstoneError(
                f"{what} of {tokens} tokens does not fit", why=f"the model reads {self.max_tokens} tokens"
            )

    def _fitted_prompt(self, prompt: Prompt, more: int) -> list[int]:
        """The prompt's tokens with room for *more*; one that is cut is counted."""
        ids = self.prompt_ids(prompt)
        fitted = self._fitted(ids, self.max_tokens - more)
        self.truncated += len(fitted) < len(ids)
        return fitted

    def _fitted(self, ids: list[int], room: int) -> list[int]:
        """The last *room* tokens, the start token kept in front."""
        if room < 1:
            raise TouchstoneError(
                f"no room for a prompt in {self.max_tokens} tokens", fix="lower max_new_tokens"
            )
        if len(ids) <= room:
            return ids
        if ids[0] == self._tokenizer.start and room > 1:
            return [ids[0], *ids[len(ids) - room + 1 :]]
        return ids[len(ids) - room :]


def _checked(positions: Sequence[int], length: int) -> Longs:
    """int64 positions counted from the front; negative ones count from the end."""
    found = np.asarray(positions, np.int64).reshape(-1)
    if ((found < -length) | (found >= length)).any():
        raise TouchstoneError(f"a position is outside a prompt of {length} tokens", why=f"{list(positions)}")
    return found % length
