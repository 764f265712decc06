"""Language models behind a server that speaks OpenAI's HTTP interface: vLLM, llama.cpp's server, Ollama.

What each ability asks of the server, and who answers it (vLLM 0.6 on, llama.cpp's server, Ollama):

- generation: ``/completions`` for texts and token ids, ``/chat/completions`` for chats, both streamed. All
  three; token ids as a prompt: vLLM and llama.cpp.
- log-probabilities of continuations and of tokens: ``/completions`` with ``echo`` and ``logprobs``. vLLM.
  Where a server does not echo, continuations of one token are looked up among the ``logprobs`` most likely
  next tokens: llama.cpp, and Ollama where its version fills ``logprobs``.
- token ids of a text: ``/tokenize`` and ``/detokenize`` beside ``/v1``. vLLM and llama.cpp.
- hidden states, logits over the whole vocabulary, allowed tokens: none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Any, NoReturn, TypeVar
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import numpy.typing as npt

from harness.answers import Floats
from harness.errors import TouchstoneError
from harness.models.batching import Progress
from harness.models.generation import GREEDY, Allowed, Generated, Sampling
from harness.models.http_client import Client, Refused
from harness.models.prompts import Chat, Prompt, Request
from harness.models.scoring import Work
from harness.spec import Json

T = TypeVar("T")
R = TypeVar("R")
UNKNOWN_WINDOW = 1_000_000  # the server itself refuses what is too long
LISTED = 20  # most likely next tokens to ask for: vLLM's limit as it is set by default


@dataclass(frozen=True)
class ServerSpec:
    """``http://host:8000/v1?concurrency=8&timeout=120&attempts=6#model`` taken apart."""

    base: str
    model: str
    concurrency: int = 8
    timeout: float = 120.0
    attempts: int = 6

    @classmethod
    def parse(cls, text: str) -> ServerSpec:
        """The server that *text* names; a TouchstoneError for an unknown or malformed option."""
        parts = urlsplit(text)
        kinds: dict[str, Callable[[str], float]] = {"concurrency": int, "timeout": float, "attempts": int}
        options: dict[str, Any] = {}
        for key, value in parse_qsl(parts.query):
            if key not in kinds:
                raise TouchstoneError(f"a server has no option '{key}'", where=text, fix=", ".join(kinds))
            try:
                options[key] = kinds[key](value)
            except ValueError as error:
                raise TouchstoneError(f"{key} is '{value}'", where=text, fix="give a number") from error
        if not parts.fragment or not parts.netloc or min([1, *options.values()]) <= 0:
            raise TouchstoneError("not a server", where=text, fix="as in http://127.0.0.1:8000/v1#model")
        return cls(f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}", parts.fragment, **options)


class ServerModel:
    """A model behind a server. Implements ``LanguageModel``; see there and above."""

    def __init__(self, spec: ServerSpec, identity: dict[str, Json]) -> None:
        self.spec = spec
        self.identity = identity
        self.truncated = 0
        self.shortened = 0
        self.work = Work()
        self._lock = Lock()  # requests are sent from several threads
        self._client = Client(spec.base, spec.timeout, spec.attempts)
        self._root = Client(spec.base.removesuffix("/v1"), spec.timeout, spec.attempts)
        self._echoes: bool | None = None
        self.max_tokens = self._window()
        self.chats = True

    def encode(self, text: str) -> list[int]:
        """Token ids by the server's own tokenizer, with what it puts in front."""
        body = {"model": self.spec.model, "prompt": text, "content": text, "add_special": True}
        return [int(token) for token in self._tokens_of("/tokenize", body, "tokens")]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids by the server's own tokenizer."""
        found = self._tokens_of("/detokenize", {"model": self.spec.model, "tokens": list(ids)}, "")
        return str(found.get("prompt", found.get("content", "")))

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        """Token ids of a text; a chat's template stays with the server."""
        if isinstance(prompt, Chat):
            self._lacks("the tokens of a chat")
        return self.encode(prompt) if isinstance(prompt, str) else list(prompt)

    def continuation_logprobs(
        self, requests: Sequence[Request], progress: Progress | None = None
    ) -> list[Floats]:
        """For each request float32[its continuations]; many requests at once."""
        return self._at_once(self._continuations, requests, progress)

    def token_logprobs(
        self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], progress: Progress | None = None
    ) -> list[npt.NDArray[np.float64]]:
        """For each (context, targets) float64[targets]; the server must echo."""
        return self._at_once(self._targets, pairs, progress)

    def next_token_logits(self, prompts: Sequence[Prompt]) -> Floats:
        """A server gives no logits over the whole vocabulary: a TouchstoneError."""
        self._lacks("logits over the whole vocabulary")

    def hidden_states(
        self, prompts: Sequence[Prompt], positions: Sequence[Sequence[int]] | None = None
    ) -> list[Floats]:
        """A server gives no hidden states: a TouchstoneError."""
        self._lacks("hidden states")

    def states_and_logits(
        self, prompts: Sequence[Prompt], positions: Sequence[Sequence[int]]
    ) -> list[tuple[Floats, Floats]]:
        """A server gives no hidden states: a TouchstoneError."""
        self._lacks("hidden states")

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
        """The text after each prompt; ids are empty, logprob is NaN: a stream tells neither."""
        if allowed is not None:
            self._lacks("a choice of allowed tokens")
        return self._at_once(lambda prompt: self._written(prompt, max_new_tokens, sampling), prompts, None)

    def _at_once(self, do: Callable[[T], R], things: Sequence[T], progress: Progress | None) -> list[R]:
        found: list[R] = []
        with ThreadPoolExecutor(self.spec.concurrency) as pool:
            try:
                for number, result in enumerate(pool.map(do, things)):
                    found.append(result)
                    if progress is not None:
                        progress(number + 1, len(things))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return found

    def _window(self) -> int:
        """What ``/models`` says of the model, which must be one that the server has."""
        models = self._client.call("/models").get("data") or []
        named = {str(model.get("id")): model for model in models if isinstance(model, dict)}
        if named and self.spec.model not in named:
            known = ", ".join(sorted(named))
            raise TouchstoneError(
                f"the server has no model '{self.spec.model}'", where=self.spec.base, fix=f"it has {known}"
            )
        return int(named.get(self.spec.model, {}).get("max_model_len") or UNKNOWN_WINDOW)

    def _continuations(self, request: Request) -> Floats:
        """Of the first of the request's prompts that the server finds short enough."""
        for prompt in (request.prompt, *request.shorter):
            try:
                found = self._of_prompt(prompt, request.continuations)
            except Refused as error:
                if not _too_long(error) or prompt == (request.prompt, *request.shorter)[-1]:
                    raise
                continue
            with self._lock:
                self.shortened += prompt != request.prompt
            return found
        raise AssertionError("the last prompt returns or raises")

    def _of_prompt(self, prompt: str, continuations: Sequence[str]) -> Floats:
        values = []
        for continuation in continuations:
            read = self._read(prompt + continuation) if self._echoes is not False else None
            if read is None:
                return self._looked_up(prompt, continuations)
            ends = np.array(
                [start + len(token) for start, token in zip(read.starts, read.tokens, strict=True)]
            )
            values.append(float(read.logprobs[ends > len(prompt)].sum()))
        return np.array(values, np.float32)

    def _targets(self, pair: tuple[Sequence[int], Sequence[int]]) -> npt.NDArray[np.float64]:
        context, targets = list(pair[0]), list(pair[1])
        if not context:
            self._lacks("the log-probability of a first token")
        read = self._read([*context, *targets])
        if read is None:
            self._lacks("log-probabilities of a prompt (it does not echo)")
        return read.logprobs[len(context) : len(context) + len(targets)]

    def _read(self, prompt: str | list[int]) -> _Echo | None:
        """The prompt's tokens with their log-probabilities; None when the server does not echo."""
        body = {"prompt": prompt, "max_tokens": 1, "temperature": 0, "echo": True, "logprobs": 1}
        choice = self._choice(body)
        found = choice.get("logprobs") or {}
        tokens, logprobs = found.get("tokens") or [], found.get("token_logprobs") or []
        if len(tokens) < 2 or len(tokens) != len(logprobs):
            self._echoes = False
            return None
        self._echoes = True
        starts = found.get("text_offset") or [0, *np.cumsum([len(token) for token in tokens])[:-1].tolist()]
        values = np.array([0.0 if value is None else value for value in logprobs], np.float64)
        return _Echo(tokens[:-1], starts[:-1], values[:-1])  # the last one was written, not read

    def _looked_up(self, prompt: str, continuations: Sequence[str]) -> Floats:
        """Continuations of one token among the likeliest next ones; -inf for one that is not listed."""
        choice = self._choice({"prompt": prompt, "max_tokens": 1, "temperature": 0, "logprobs": LISTED})
        found = _listed(choice.get("logprobs") or {})
        if not found:
            self._lacks("log-probabilities")
        values = [found.get(continuation, -np.inf) for continuation in continuations]
        if not np.isfinite(values).any():
            raise TouchstoneError(
                "no continuation is among the likeliest next tokens",
                where=self.spec.base,
                why=f"the server lists {len(found)} and does not echo prompts",
                fix="use a server that echoes, such as vLLM",
            )
        with self._lock:
            self.work.unlisted += int(np.isinf(values).sum())
        return np.array(values, np.float32)

    def _choice(self, body: dict[str, Any]) -> dict[str, Any]:
        answer = self._client.call("/completions", {"model": self.spec.model, **body})
        choices = answer.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            raise TouchstoneError("the server's answer holds no choices", where=self.spec.base)
        found: dict[str, Any] = choices[0]
        return found

    def _written(self, prompt: Prompt, most: int, sampling: Sampling) -> Generated:
        body: dict[str, Any] = {
            "model": self.spec.model, "max_tokens": most, "temperature": sampling.temperature,
            "top_p": sampling.top_p, "seed": sampling.seed,
        }  # fmt: skip
        body |= {"stop": list(sampling.stop)} if sampling.stop else {}
        body |= {"top_k": sampling.top_k} if sampling.top_k else {}
        if isinstance(prompt, Chat):
            events = self._client.stream("/chat/completions", {**body, "messages": prompt.plain()})
        else:
            given = prompt if isinstance(prompt, str) else list(prompt)
            events = self._client.stream("/completions", {**body, "prompt": given})
        parts, end = [], ""
        for choice in (choice for event in events for choice in event.get("choices") or []):
            parts.append(choice.get("text") or (choice.get("delta") or {}).get("content") or "")
            end = choice.get("finish_reason") or end
        return Generated("".join(parts), (), float("nan"), "length" if end == "length" else "stop")

    def _tokens_of(self, path: str, body: dict[str, Any], key: str) -> Any:
        try:
            answer = self._root.call(path, body)
        except Refused as error:
            if error.status in (404, 405, 501):
                self._lacks("token ids")
            raise
        return answer.get(key, []) if key else answer

    def _lacks(self, what: str) -> NoReturn:
        raise TouchstoneError(
            f"the server gives no {what.removeprefix('the ')}",
            where=self.spec.base,
            fix="use a model in a folder or on the hub",
        )


@dataclass(frozen=True, eq=False)
class _Echo:
    """tokens of a prompt as text, where each starts (characters), float64[tokens]; the first one's is 0."""

    tokens: list[str]
    starts: list[int]
    logprobs: npt.NDArray[np.float64]


def _listed(found: dict[str, Any]) -> dict[str, float]:
    """The likeliest next tokens: ``top_logprobs`` as completions give them, or ``content`` as chats do."""
    tops = found.get("top_logprobs")
    if isinstance(tops, list) and tops and isinstance(tops[0], dict):
        return {str(token): float(value) for token, value in tops[0].items()}
    content = found.get("content")
    if isinstance(content, list) and content and isinstance(content[0], dict):
        return {
            str(entry.get("token")): float(entry.get("logprob", -np.inf))
            for entry in content[0].get("top_logprobs") or []
        }
    return {}


def _too_long(error: Refused) -> bool:
    text = error.message.lower()
    return error.status in (400, 413, 422) and "context" in text and ("length" in text or "size" in text)
