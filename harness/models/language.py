"""Causal language models: log-probabilities of continuations, and greedy text."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from harness.answers import Floats
from harness.data.dataset import mirror
from harness.errors import TouchstoneError
from harness.models.batching import (
    Longs,
    Progress,
    Ragged,
    batch_limits,
    prepare_torch,
    run_batches,
    to_device,
    torch_device_type,
)
from harness.models.llama2c import Llama2cTokenizer, load_llama2c, read_shape
from harness.models.profile import position_limit
from harness.models.source import (
    ModelFiles,
    Precision,
    file_digest,
    find_model,
    from_folder,
    library_identity,
    require_neural,
)
from harness.models.tokenizer import FolderTokenizer, Tokenizer, shared_prefix
from harness.spec import Json

CODE_VERSION = 1  # raise when a change here can move a log-probability or a text
STORIES = "stories260K"
WHO = "the language model"


@dataclass(frozen=True)
class LanguageModelSpec:
    """A causal language model: a hub id, a folder, a llama2.c file, or the mirror's ``stories260K``."""

    model: str
    revision: str = ""
    precision: Precision = "fp32"
    device: str = "cpu"


@dataclass(frozen=True)
class Request:
    """A prompt and the continuations to compare."""

    prompt: str
    continuations: tuple[str, ...]


class LanguageModel(Protocol):
    """A causal language model with its tokenizer."""

    @property
    def identity(self) -> dict[str, Json]:
        """Everything that can change a bit of an answer."""

    @property
    def max_tokens(self) -> int:
        """The window: the most tokens the model reads."""

    @property
    def truncated(self) -> int:
        """How many prompts were longer than the window and lost their beginning, since loading."""

    def encode(self, text: str) -> list[int]:
        """Token ids, with what the tokenizer puts in front."""

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids."""

    def continuation_logprobs(
        self, requests: Sequence[Request], progress: Progress | None = None
    ) -> list[Floats]:
        """For each request float32[its continuations]: sums of their tokens' natural log-probabilities."""

    def generate(self, prompt: str, max_new_tokens: int) -> str:
        """The most likely next tokens, one after the other, as text; ends early at an end token."""


def language_model_identity(spec: LanguageModelSpec) -> dict[str, Json]:
    """What the answers of *spec* depend on besides the kind of device. Loads no torch and no weights."""
    checkpoint = _llama2c_checkpoint(spec.model)
    if checkpoint is not None:
        tokenizer = _llama2c_tokenizer(checkpoint)
        name, revision = (
            checkpoint.stem,
            f"sha256 {file_digest(checkpoint)[:32]} {file_digest(tokenizer)[:32]}",
        )
    else:
        files = find_model(spec.model, spec.revision, WHO)
        name, revision = files.name, files.revision
    return {
        "model": name,
        "revision": revision,
        "precision": spec.precision,
        **library_identity(),
        "code": CODE_VERSION,
    }


def load_language_model(spec: LanguageModelSpec) -> LanguageModel:
    """The language model of *spec*, in memory."""
    require_neural(WHO)
    identity = {**language_model_identity(spec), "device": torch_device_type(spec.device)}
    prepare_torch()
    checkpoint = _llama2c_checkpoint(spec.model)
    if checkpoint is not None:
        shape = read_shape(checkpoint)
        tokenizer = Llama2cTokenizer.read(_llama2c_tokenizer(checkpoint), shape.vocab_size)
        return CausalModel(load_llama2c(checkpoint), tokenizer, shape.max_seq_len, spec, identity)
    files = find_model(spec.model, spec.revision, WHO)
    return CausalModel(
        _load_model(files), FolderTokenizer(files), position_limit(files) or 2048, spec, identity
    )


class CausalModel:
    """A transformers causal model. Batches are sorted by length and padded on the right."""

    def __init__(
        self,
        model: Any,
        tokenizer: Tokenizer,
        max_tokens: int,
        spec: LanguageModelSpec,
        identity: dict[str, Json],
    ) -> None:
        import torch

        dtype = torch.bfloat16 if spec.precision == "bf16" else torch.float32
        self._model = model.to(device=spec.device, dtype=dtype).eval()
        self._tokenizer = tokenizer
        self._device = spec.device
        self._keeps_some = "logits_to_keep" in inspect.signature(model.forward).parameters
        self.identity = identity
        self.max_tokens = max_tokens
        self.truncated = 0

    def encode(self, text: str) -> list[int]:
        """Token ids, with what the tokenizer puts in front."""
        return self._tokenizer.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids."""
        return self._tokenizer.decode(ids)

    def continuation_logprobs(
        self, requests: Sequence[Request], progress: Progress | None = None
    ) -> list[Floats]:
        """For each request float32[its continuations]; equal inputs (one-token choices) are computed once."""
        rows: dict[tuple[int, ...], int] = {}
        asked: list[tuple[int, int, int]] = []  # (input row, position of the prediction, predicted token)
        ends: list[int] = []  # where each continuation's tokens end in asked
        for request in requests:
            for context, targets in self._split(request):
                ids = (*context, *targets[:-1])
                row = rows.setdefault(ids, len(rows)) if targets else -1
                asked += [(row, len(context) - 1 + i, token) for i, token in enumerate(targets)]
                ends.append(len(asked))
        logprobs = self._logprobs(Ragged.of(rows), np.array(asked, np.int64).reshape(-1, 3), progress)
        sums = [float(part.sum()) for part in np.split(logprobs, ends)[:-1]]
        starts = np.cumsum([0, *(len(request.continuations) for request in requests)])
        return [np.array(sums[a:b], np.float32) for a, b in pairwise(starts)]

    def generate(self, prompt: str, max_new_tokens: int) -> str:
        """Greedy text after *prompt*, never past the window."""
        import torch

        given = self._fitted(self.encode(prompt) or [self._start()], self.max_tokens - max_new_tokens)
        self.truncated += len(given) < len(self.encode(prompt))
        ids, cache = list(given), None
        with torch.inference_mode():
            for _ in range(max_new_tokens):
                unread = torch.tensor([ids if cache is None else ids[-1:]], device=self._device)
                output = self._model(input_ids=unread, past_key_values=cache, use_cache=True)
                cache = output.past_key_values
                token = int(output.logits[0, -1].argmax())
                if token in self._tokenizer.stop:
                    break
                ids.append(token)
        before, whole = self.decode(given), self.decode(ids)
        return whole[len(before) :] if whole.startswith(before) else self.decode(ids[len(given) :])

    def _split(self, request: Request) -> list[tuple[list[int], list[int]]]:
        """(context, targets) of every continuation, cut to the window; a cut request is counted once.

        Prompt and continuation are encoded together, since a model reads whole texts. The context is what the
        prompt's own tokens have in common with that: all of them, unless the boundary falls inside a token.
        """
        prompt, found, cut = self.encode(request.prompt), [], False
        for continuation in request.continuations:
            whole = self.encode(request.prompt + continuation)
            shared = shared_prefix(prompt, whole)
            context, targets = whole[:shared] or [self._start()], whole[shared:]
            if len(targets) > self.max_tokens:
                raise TouchstoneError(
                    f"a continuation of {len(targets)} tokens does not fit",
                    why=f"the model reads {self.max_tokens} tokens",
                    where=f"{continuation[:40]!r}",
                )
            fitted = self._fitted(context, self.max_tokens + 1 - len(targets))
            cut |= len(fitted) < len(context)
            found.append((fitted, targets))
        self.truncated += cut
        return found

    def _start(self) -> int:
        if self._tokenizer.start is None:
            raise TouchstoneError("an empty prompt", why="the model has no start token", fix="give a prompt")
        return self._tokenizer.start

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

    def _logprobs(self, inputs: Ragged, asked: Longs, progress: Progress | None) -> npt.NDArray[np.float64]:
        """float64[len(asked)]: the log-probability of each (row, position, token)."""
        order = np.argsort(asked[:, 0], kind="stable")
        bounds = np.searchsorted(asked[order, 0], np.arange(len(inputs.lengths) + 1))
        found = np.empty(len(asked))

        def run(rows: Longs) -> None:
            slots = [order[bounds[row] : bounds[row + 1]] for row in rows]
            local = np.repeat(np.arange(len(rows)), [len(slot) for slot in slots])
            picked = np.concatenate(slots)
            found[picked] = self._forward(inputs.padded(rows, 0), local, asked[picked, 1:])

        run_batches(inputs.lengths, batch_limits(self._device), run, progress)
        return found

    def _forward(self, batch: tuple[Longs, Longs], local: Longs, wanted: Longs) -> Floats:
        """float32[m] for row ``local[i]`` of the batch and (position, token) ``wanted[i]``."""
        import torch

        positions, place = np.unique(wanted[:, 0], return_inverse=True)
        inputs = to_device({"input_ids": batch[0], "attention_mask": batch[1]}, self._device)
        picks = to_device({"row": local, "place": place, "token": wanted[:, 1].copy()}, self._device)
        kept = to_device({"logits_to_keep": positions}, self._device)
        with torch.inference_mode():
            if self._keeps_some:
                logits = self._model(**inputs, **kept, use_cache=False).logits
            else:
                logits = self._model(**inputs, use_cache=False).logits[:, kept["logits_to_keep"]]
            chosen = logits[picks["row"], picks["place"]].float().log_softmax(dim=-1)
            values: Floats = chosen.gather(1, picks["token"][:, None])[:, 0].cpu().numpy()
        return values


def _load_model(files: ModelFiles) -> Any:
    from transformers import AutoModelForCausalLM

    return from_folder(AutoModelForCausalLM, files.folder)


def _llama2c_checkpoint(model: str) -> Path | None:
    """The llama2.c file that *model* names, None when it names something else."""
    path = Path(model).expanduser()
    if model == STORIES and not path.exists():
        root = mirror()
        if root is None:
            raise TouchstoneError(
                f"the model '{model}' is part of the local mirror", fix="set TOUCHSTONE_DATA"
            )
        path = root / "models" / STORIES
    if path.is_dir() and not (path / "config.json").exists():
        path = path / f"{path.name}.bin"
    if path.suffix != ".bin":
        return None
    if not path.is_file():
        raise TouchstoneError("there is no such checkpoint", where=str(path))
    return path


def _llama2c_tokenizer(checkpoint: Path) -> Path:
    """The tokenizer beside a checkpoint: ``tok<vocabulary size>.bin``, or ``tokenizer.bin``."""
    size = read_shape(checkpoint).vocab_size
    for name in (f"tok{size}.bin", "tokenizer.bin"):
        if (checkpoint.parent / name).is_file():
            return checkpoint.parent / name
    raise TouchstoneError(
        "the tokenizer of the checkpoint is missing",
        where=str(checkpoint),
        fix=f"put tok{size}.bin beside it",
    )
