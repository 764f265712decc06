"""Models that write after a source, one step at a time: encoder-decoders, and causal models given a prompt.

What constrained decoding needs, log-probabilities over the whole vocabulary after given beginnings and of
whole sequences, and texts drawn freely.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from harness.answers import Floats
from harness.errors import TouchstoneError
from harness.models.batching import Ragged, batch_limits, prepare_torch, run_batches, to_device
from harness.models.generation import Sampling
from harness.models.language import (
    CODE_VERSION,
    WHO,
    LanguageModel,
    LanguageModelSpec,
    language_model_identity,
    load_language_model,
)
from harness.models.language import STORIES as STORIES
from harness.models.profile import position_limit
from harness.models.source import ModelFiles, find_model, from_folder, library_identity, require_neural
from harness.spec import Json, digest

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SampleSpec:
    """Texts drawn after a source: how many, of how many tokens at most, from the top_k likeliest (0: all) at
    temperature 1. cue: what a causal model reads after the source, which asks for the text. source: tokens
    that are read of a source at most.
    """

    count: int
    tokens: int
    top_k: int = 10
    cue: str = ""
    source: int = 512
    seed: int = 0


class StepModel(Protocol):
    """Writes token by token after a source text."""

    @property
    def end(self) -> int:
        """A token that ends texts; one beyond the vocabulary where the model has none."""

    def tokens(self, text: str) -> list[int]:
        """Token ids of a text with one space in front, without special tokens."""

    def next_logprobs(self, source: str, beginnings: Sequence[Sequence[int]]) -> Floats:
        """float32[beginnings, vocabulary]: natural log-probabilities of what comes after each."""

    def sequence_logprobs(self, source: str, sequences: Sequence[Sequence[int]]) -> Doubles:
        """float64[sequences]: sums of the log-probabilities of their tokens."""

    def samples(self, sources: Sequence[str], spec: SampleSpec) -> list[list[str]]:
        """For each source ``spec.count`` texts, one line each; the same sources give the same texts."""


def step_model_identity(spec: LanguageModelSpec) -> dict[str, Json]:
    """What the answers of *spec* depend on besides the kind of device."""
    files = _encoder_decoder(spec)
    if files is None:
        return language_model_identity(spec)
    used: dict[str, Json] = {"model": files.name, "revision": files.revision, "precision": spec.precision}
    return {**used, **library_identity(), "code": CODE_VERSION}


def load_step_model(spec: LanguageModelSpec) -> StepModel:
    """The model of *spec*, in memory: an encoder-decoder where its configuration says so, else causal."""
    require_neural(WHO)
    files = _encoder_decoder(spec)
    return Causal(load_language_model(spec)) if files is None else EncoderDecoder(files, spec)


def _encoder_decoder(spec: LanguageModelSpec) -> ModelFiles | None:
    if spec.model == STORIES or spec.model.endswith(".bin"):
        return None
    files = find_model(spec.model, spec.revision, WHO)
    return files if files.read_json("config.json").get("is_encoder_decoder") else None


class Causal:
    """A causal model: the source is its prompt."""

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self._front = model.encode("")
        self._space = "" if model.decode(self._bare("a")).startswith(" ") else " "
        self.end = int(model.next_token_logits([model.prompt_ids("")]).shape[1])

    def tokens(self, text: str) -> list[int]:
        """See StepModel; a space that the tokenizer puts in front itself is not put twice."""
        return self._bare(self._space + text)

    def _bare(self, text: str) -> list[int]:
        return self._model.encode(text)[len(self._front) :]

    def _prompt(self, source: str, written: Sequence[Sequence[int]]) -> list[int]:
        """The source's tokens, its end where the window has no room for all."""
        room = self._model.max_tokens - len(self._front) - max(map(len, written), default=0)
        return [*self._front, *self.tokens(source)[-room:]]

    def next_logprobs(self, source: str, beginnings: Sequence[Sequence[int]]) -> Floats:
        """See StepModel."""
        prompt = self._prompt(source, beginnings)
        logits = self._model.next_token_logits([[*prompt, *beginning] for beginning in beginnings])
        top = logits.max(axis=1, keepdims=True)
        found: Floats = logits - top - np.log(np.exp(logits - top).sum(axis=1, keepdims=True))
        return found

    def sequence_logprobs(self, source: str, sequences: Sequence[Sequence[int]]) -> Doubles:
        """See StepModel."""
        prompt = self._prompt(source, sequences)
        rows = self._model.token_logprobs([(prompt, sequence) for sequence in sequences])
        return np.array([row.sum() for row in rows])

    def samples(self, sources: Sequence[str], spec: SampleSpec) -> list[list[str]]:
        """See StepModel; the source loses its end where the window has no room for all."""
        cue = self.tokens(spec.cue)
        room = self._model.max_tokens - len(self._front) - len(cue) - spec.tokens
        if room < 1:
            why = f"its window is {self._model.max_tokens} tokens"
            raise TouchstoneError(f"the model cannot write {spec.tokens} tokens after a source", why=why)
        read = min(room, spec.source)
        prompts = [[*self._front, *self.tokens(source)[:read], *cue] for source in sources]
        found: list[list[str]] = [[] for _ in sources]
        for number in range(spec.count):
            drawn = Sampling(1.0, spec.top_k, seed=spec.seed + number, stop=("\n",))
            written = self._model.generate_many(prompts, spec.tokens, drawn)
            for texts, text in zip(found, written, strict=True):
                texts.append(" ".join(text.text.split()))
        return found


class EncoderDecoder:
    """A transformers sequence-to-sequence model: the source is what its encoder reads, once for all steps."""

    def __init__(self, files: ModelFiles, spec: LanguageModelSpec) -> None:
        import torch
        from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

        prepare_torch()
        dtype = torch.bfloat16 if spec.precision == "bf16" else torch.float32
        self._model: Any = from_folder(AutoModelForSeq2SeqLM, files.folder).to(spec.device, dtype).eval()
        self._tokenizer: Any = from_folder(AutoTokenizer, files.folder)
        config = self._model.config
        start, self.end = config.decoder_start_token_id, config.eos_token_id
        if start is None or self.end is None:
            raise TouchstoneError("the model has no start or end token", where=str(files.folder))
        self._start = int(start)
        self._device = spec.device
        self._most = position_limit(files) or 512
        self._source: tuple[str, Any] = ("", None)

    def tokens(self, text: str) -> list[int]:
        """See StepModel."""
        ids: list[int] = self._tokenizer(f" {text}", add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def next_logprobs(self, source: str, beginnings: Sequence[Sequence[int]]) -> Floats:
        """See StepModel."""
        found: dict[int, Floats] = {}
        for rows, logprobs, lengths in self._read(source, beginnings):
            last = logprobs[np.arange(len(rows)), lengths]
            found.update(zip(rows.tolist(), last.cpu().numpy(), strict=True))
        return np.stack([found[row] for row in range(len(beginnings))])

    def sequence_logprobs(self, source: str, sequences: Sequence[Sequence[int]]) -> Doubles:
        """See StepModel."""
        found = np.zeros(len(sequences))
        for rows, logprobs, lengths in self._read(source, sequences):
            for number, (row, length) in enumerate(zip(rows.tolist(), lengths.tolist(), strict=True)):
                steps = logprobs[number, np.arange(length), np.asarray(sequences[row], np.int64)]
                found[row] = float(steps.double().sum())
        return found

    def _read(self, source: str, beginnings: Sequence[Sequence[int]]) -> list[tuple[Any, Any, Any]]:
        """(row numbers, log-softmax [rows, width, vocabulary], lengths) of batches of decoder inputs."""
        import torch

        ragged = Ragged.of([[self._start, *beginning] for beginning in beginnings])
        parts: list[tuple[Any, Any, Any]] = []

        def run(rows: npt.NDArray[np.int64]) -> None:
            ids, _ = ragged.padded(rows, self._start)  # causal: what is padded on the right is never seen
            with torch.inference_mode():
                states = self._encoded(source)
                inputs = to_device({"decoder_input_ids": ids}, self._device)
                shared = states.expand(len(rows), -1, -1)
                logits = self._model(encoder_outputs=(shared,), **inputs, use_cache=False).logits
            parts.append((rows, logits.float().log_softmax(-1), ragged.lengths[rows] - 1))

        run_batches(ragged.lengths, batch_limits(self._device), run, None)
        return parts

    def _encoded(self, source: str) -> Any:
        """The encoder's states [1, tokens, dimensions]; those of the last source are kept."""
        if self._source[1] is None or self._source[0] != source:
            ids = self._tokenizer(f" {source}", return_tensors="pt", truncation=True, max_length=self._most)
            states = self._model.get_encoder()(**ids.to(self._device)).last_hidden_state
            self._source = (source, states)
        return self._source[1]

    def samples(self, sources: Sequence[str], spec: SampleSpec) -> list[list[str]]:
        """See StepModel. Every batch of sources, longest first, draws from a seed of its own texts."""
        import torch

        most = min(self._most, spec.source)
        encoded = self._tokenizer(list(sources), truncation=True, max_length=most, verbose=False)
        ragged, pad = Ragged.of(encoded["input_ids"]), int(self._tokenizer.pad_token_id or 0)
        found: list[list[str]] = [[] for _ in sources]

        def run(rows: npt.NDArray[np.int64]) -> None:
            ids, mask = ragged.padded(rows, pad)
            torch.manual_seed(int(digest([spec.seed, *(sources[row] for row in rows)], 12), 16))
            with torch.inference_mode():
                written = self._model.generate(
                    **to_device({"input_ids": ids, "attention_mask": mask}, self._device),
                    do_sample=True,
                    num_beams=1,
                    top_k=spec.top_k,
                    top_p=1.0,
                    temperature=1.0,
                    num_return_sequences=spec.count,
                    max_new_tokens=spec.tokens,
                    pad_token_id=pad,
                )
            texts = self._tokenizer.batch_decode(written, skip_special_tokens=True)
            for place, row in enumerate(rows.tolist()):
                drawn = texts[place * spec.count : (place + 1) * spec.count]
                found[row] = [" ".join(text.split()) for text in drawn]

        with torch.random.fork_rng():
            run_batches(ragged.lengths, batch_limits(self._device), run, None)
        return found
