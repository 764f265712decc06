"""Cross-encoders: one score for a query and a document read together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from harness.answers import Floats
from harness.errors import TouchstoneError
from harness.models.batching import (
    TOKENISE_AT_ONCE,
    Longs,
    Progress,
    Ragged,
    batch_limits,
    prepare_torch,
    run_batches,
    to_device,
    torch_device_type,
)
from harness.models.profile import position_limit
from harness.models.source import (
    ModelFiles,
    Precision,
    find_model,
    from_folder,
    library_identity,
    require_neural,
)
from harness.spec import Json

CODE_VERSION = 1  # raise when a change here can move a score


@dataclass(frozen=True)
class RerankerSpec:
    """A cross-encoder, by folder or hub id. max_length: tokens of a pair, 0 for the model's own limit."""

    model: str = "cross-encoder/ms-marco-MiniLM-L6-v2"
    revision: str = ""
    max_length: int = 0
    precision: Precision = "fp32"
    device: str = "cpu"


class Reranker(Protocol):
    """Scores (query, document) pairs."""

    @property
    def identity(self) -> dict[str, Json]:
        """Everything that can change a bit of a score."""

    def score(self, pairs: Sequence[tuple[str, str]], progress: Progress | None = None) -> Floats:
        """float32[n], higher is more relevant; comparable within one query."""


def reranker_identity(spec: RerankerSpec) -> dict[str, Json]:
    """What the scores of *spec* depend on besides the kind of device. Loads no torch and no weights."""
    files, max_length = _resolve(spec)
    return {
        "model": files.name,
        "revision": files.revision,
        "max_length": max_length,
        "precision": spec.precision,
        **library_identity(),
        "code": CODE_VERSION,
    }


def load_reranker(spec: RerankerSpec) -> Reranker:
    """The cross-encoder of *spec*, in memory."""
    require_neural("the cross-encoder")
    files, max_length = _resolve(spec)
    identity = {**reranker_identity(spec), "device": torch_device_type(spec.device)}
    return CrossEncoder(files, max_length, spec, identity)


def _resolve(spec: RerankerSpec) -> tuple[ModelFiles, int]:
    files = find_model(spec.model, spec.revision, "the cross-encoder")
    most = position_limit(files)
    if spec.max_length < 0 or (most and spec.max_length > most):
        raise TouchstoneError(
            f"max_length is {spec.max_length}", where=files.name, why=f"the model takes 1 to {most} tokens"
        )
    return files, spec.max_length or most or 512


class CrossEncoder:
    """A sequence classifier of transformers: one label, or two of which the second is relevance."""

    def __init__(
        self, files: ModelFiles, max_length: int, spec: RerankerSpec, identity: dict[str, Json]
    ) -> None:
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        prepare_torch()
        self.identity = identity
        self._device, self._max_length = spec.device, max_length
        self._tokenizer: Any = from_folder(AutoTokenizer, files.folder)
        dtype = torch.bfloat16 if spec.precision == "bf16" else torch.float32
        model = from_folder(AutoModelForSequenceClassification, files.folder)
        self._labels = int(model.config.num_labels)
        if self._labels not in (1, 2):
            raise TouchstoneError(
                f"the model has {self._labels} labels", where=files.name, why="a cross-encoder has one or two"
            )
        self._model: Any = model.to(device=spec.device, dtype=dtype).eval()
        self._limits = batch_limits(spec.device)

    def score(self, pairs: Sequence[tuple[str, str]], progress: Progress | None = None) -> Floats:
        """float32[n]: the logit of a one-label model, the log-probability of label 1 of a two-label model."""
        tokens, types = self._tokenise(pairs)
        scores = np.empty(len(pairs), np.float32)

        def run(rows: Longs) -> None:
            ids, mask = tokens.padded(rows, int(self._tokenizer.pad_token_id or 0))
            inputs = {"input_ids": ids, "attention_mask": mask}
            if types is not None:
                inputs["token_type_ids"] = types.padded(rows, 0)[0]
            scores[rows] = self._forward(inputs)

        run_batches(tokens.lengths, self._limits, run, progress)
        return scores

    def _tokenise(self, pairs: Sequence[tuple[str, str]]) -> tuple[Ragged, Ragged | None]:
        """Token ids, and segment ids for models that take them."""
        ids: list[list[int]] = []
        types: list[list[int]] = []
        typed = "token_type_ids" in self._tokenizer.model_input_names
        for start in range(0, len(pairs), TOKENISE_AT_ONCE):
            chunk = pairs[start : start + TOKENISE_AT_ONCE]
            encoded = self._tokenizer(
                [query.strip() for query, _ in chunk],
                [document.strip() for _, document in chunk],
                truncation="longest_first",
                max_length=self._max_length,
                return_attention_mask=False,
                return_token_type_ids=typed,
            )
            ids += encoded["input_ids"]
            types += encoded["token_type_ids"] if typed else []
        return Ragged.of(ids), Ragged.of(types) if typed else None

    def _forward(self, arrays: dict[str, Longs]) -> Floats:
        import torch

        with torch.inference_mode():
            logits = self._model(**to_device(arrays, self._device)).logits.float()
            chosen = logits[:, 0] if self._labels == 1 else logits.log_softmax(dim=1)[:, 1]
            scores: Floats = chosen.cpu().numpy()
        return scores
