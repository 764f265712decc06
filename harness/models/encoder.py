"""Sentence encoders: texts to vectors, from sentence-transformers model files, without that package."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from harness.answers import Floats
from harness.errors import TouchstoneError
from harness.meter import package_version
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
from harness.models.packed import PackedBert, is_bert, pool_runs, runs_of
from harness.models.profile import Pooling, Profile, Role, read_profile, with_max_length
from harness.models.source import (
    PACKAGED_MODEL,
    ModelFiles,
    Precision,
    find_model,
    from_folder,
    library_identity,
    read_object,
    read_weights,
    require_neural,
)
from harness.spec import Json

if TYPE_CHECKING:
    import torch

# Raise this when a change here can move a vector: cached vectors of the old code are then left alone.
CODE_VERSION = 2


@dataclass(frozen=True)
class EncoderSpec:
    """An encoder and how to use it. "auto" and 0 mean: as the model's own files say.

    model: the packaged all-MiniLM-L6-v2, a local folder, or a hub id. max_length: tokens a text is cut at.
    """

    model: str = PACKAGED_MODEL
    revision: str = ""
    pooling: Pooling | Literal["auto"] = "auto"
    max_length: int = 0
    normalise: Literal["auto", "yes", "no"] = "auto"
    precision: Precision = "fp32"
    query_prompt: str = "auto"
    document_prompt: str = "auto"
    device: str = "cpu"


class Encoder(Protocol):
    """Turns texts into vectors."""

    @property
    def identity(self) -> dict[str, Json]:
        """Everything that can change a bit of a vector."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""

    @property
    def device(self) -> str:
        """Where it computes, in torch's words."""

    def encode(self, texts: Sequence[str], role: Role, progress: Progress | None = None) -> Floats:
        """float32[len(texts), dimension]. progress gets (done, to do), equal texts counted once."""


def encoder_identity(spec: EncoderSpec) -> dict[str, Json]:
    """What the vectors of *spec* depend on besides the kind of device. Loads no torch and no weights."""
    files, profile = _resolve(spec)
    used: dict[str, Json] = {key: value for key, value in asdict(profile).items() if key != "dense"}
    return {
        "model": files.name,
        "revision": files.revision,
        **used,
        "dense": list(profile.dense),
        "precision": spec.precision,
        **library_identity(),
        "tokenizers": package_version("tokenizers"),
        "code": CODE_VERSION,
    }


def load_encoder(spec: EncoderSpec) -> Encoder:
    """The encoder of *spec*, in memory."""
    require_neural("the sentence encoder")
    files, profile = _resolve(spec)
    return TransformerEncoder(files, profile, spec, device_identity(spec))


def device_identity(spec: EncoderSpec) -> dict[str, Json]:
    """Everything that the vectors of *spec* depend on. Loads no torch and no weights."""
    return {**encoder_identity(spec), "device": torch_device_type(spec.device)}


def _resolve(spec: EncoderSpec) -> tuple[ModelFiles, Profile]:
    files = find_model(spec.model, spec.revision, "the sentence encoder")
    profile = with_max_length(read_profile(files, spec.pooling), spec.max_length, files)
    if spec.normalise != "auto":
        profile = replace(profile, normalise=spec.normalise == "yes")
    if spec.query_prompt != "auto":
        profile = replace(profile, query_prompt=spec.query_prompt)
    if spec.document_prompt != "auto":
        profile = replace(profile, document_prompt=spec.document_prompt)
    return files, profile


class DeferredEncoder:
    """An encoder that is loaded when it is first asked to encode: vectors in the cache need no model."""

    def __init__(self, spec: EncoderSpec, load: Callable[[EncoderSpec], Encoder]) -> None:
        require_neural("the sentence encoder")
        self.identity = device_identity(spec)
        self.device = spec.device
        self._load = partial(load, spec)

    @cached_property
    def loaded(self) -> Encoder:
        """The encoder itself."""
        return self._load()

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self.loaded.dimension

    def encode(self, texts: Sequence[str], role: Role, progress: Progress | None = None) -> Floats:
        """float32[len(texts), dimension]."""
        return self.loaded.encode(texts, role, progress)


class TransformerEncoder:
    """An encoder of the transformers library: tokenise, last layer, pool, dense layers if any, normalise."""

    def __init__(
        self, files: ModelFiles, profile: Profile, spec: EncoderSpec, identity: dict[str, Json]
    ) -> None:
        import torch
        from transformers import AutoTokenizer

        prepare_torch()
        folder = files.folder / profile.transformer
        self.identity = identity
        self.device = spec.device
        self._profile = profile
        self._tokenizer: Any = from_folder(AutoTokenizer, folder)
        dtype = torch.bfloat16 if spec.precision == "bf16" else torch.float32
        self._model: Any = _load_transformer(folder).to(device=spec.device, dtype=dtype).eval()
        self._dense = [_load_dense(files.folder / path, spec.device) for path in profile.dense]
        width = int(self._model.config.hidden_size)
        self.dimension = int(self._dense[-1][0].out_features) if self._dense else width
        self._limits = batch_limits(spec.device)
        on_cpu = torch_device_type(spec.device) == "cpu"
        self._packed = PackedBert(self._model) if on_cpu and is_bert(self._model) else None
        self._threads = torch.get_num_threads() if on_cpu else 1

    def encode(self, texts: Sequence[str], role: Role, progress: Progress | None = None) -> Floats:
        """float32[len(texts), dimension]; equal texts are computed once."""
        distinct = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        tokens = self.tokenise(list(distinct), role)
        vectors = np.empty((len(distinct), self.dimension), np.float32)

        def run(rows: Longs) -> None:
            vectors[rows] = self._forward(tokens, rows)

        threads = min(self._threads, len(distinct))
        run_batches(tokens.lengths, self._limits, run, progress, threads)
        if len(distinct) == len(texts):
            return vectors
        return vectors[[distinct[text] for text in texts]]

    @property
    def _pad(self) -> int:
        return int(self._tokenizer.pad_token_id or 0)

    def tokenise(self, texts: list[str], role: Role) -> Ragged:
        """Token ids of texts with the prompt of their role, cut at the encoder's length."""
        prompt, lower = self._profile.prompt(role), self._profile.lower_case
        rows: list[list[int]] = []
        for start in range(0, len(texts), TOKENISE_AT_ONCE):
            given = [prompt + text.strip() for text in texts[start : start + TOKENISE_AT_ONCE]]
            encoded = self._tokenizer(
                [text.lower() for text in given] if lower else given,
                truncation=True,
                max_length=self._profile.max_length,
                return_attention_mask=False,
                return_token_type_ids=False,
            )
            rows += encoded["input_ids"]
        return Ragged.of(rows)

    def _forward(self, tokens: Ragged, rows: Longs) -> Floats:
        import torch

        with torch.inference_mode():
            vectors: Floats = self._finished(self._pooled(tokens, rows)).cpu().numpy()
        return vectors

    def _finished(self, pooled: torch.Tensor) -> torch.Tensor:
        """The dense layers and the normalisation, where the model has them."""
        import torch

        for layer in self._dense:
            pooled = layer(pooled)
        return torch.nn.functional.normalize(pooled, dim=1) if self._profile.normalise else pooled

    def parts(self) -> list[torch.nn.Module]:
        """The transformer, then the dense layers: all that has weights."""
        return [self._model, *self._dense]

    def differentiable(self, tokens: Ragged, rows: Longs) -> torch.Tensor:
        """[len(rows), dimension] as ``parts`` compute it now, with a gradient: for training."""
        return self._finished(self._padded(tokens, rows))

    def _pooled(self, tokens: Ragged, rows: Longs) -> torch.Tensor:
        """fp32[len(rows), d]: on a processor without padding where the model allows it."""
        import torch

        if self._packed is not None and tokens.lengths[rows].all():
            ids, lengths = tokens.joined(rows)
            runs = runs_of(lengths)
            states = self._packed.states(torch.from_numpy(ids), runs)
            return pool_runs(states.float(), runs, self._profile.pooling)
        return self._padded(tokens, rows)

    def _padded(self, tokens: Ragged, rows: Longs) -> torch.Tensor:
        ids, mask = tokens.padded(rows, self._pad)
        inputs = to_device({"input_ids": ids, "attention_mask": mask}, self.device)
        states = self._model(**inputs).last_hidden_state
        return pool(states.float(), inputs["attention_mask"], self._profile.pooling)


def pool(states: torch.Tensor, mask: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """[n, d] from states [n, length, d]: the mean over real tokens, the first token, or the last real one."""
    import torch

    if pooling == "mean":
        weights = mask.unsqueeze(-1).to(states.dtype)
        return (states * weights).sum(1) / weights.sum(1).clamp(min=1)
    if pooling == "cls":
        return states[:, 0]
    last = mask.sum(1).clamp(min=1) - 1
    return states[torch.arange(len(states), device=states.device), last]


def _load_transformer(folder: Path) -> Any:
    from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding

    # An encoder-decoder such as T5 is used by its encoder alone.
    halved = from_folder(AutoConfig, folder).is_encoder_decoder
    return from_folder(AutoModelForTextEncoding if halved else AutoModel, folder)


def _load_dense(folder: Path, device: str) -> Any:
    """A sentence-transformers Dense module: linear layer and activation; computed in fp32."""
    import torch

    config = read_object(folder / "config.json")
    activation = str(config.get("activation_function", "")).rpartition(".")[2]
    known = {
        "Identity": torch.nn.Identity,
        "Tanh": torch.nn.Tanh,
        "ReLU": torch.nn.ReLU,
        "GELU": torch.nn.GELU,
    }
    if activation not in known:
        raise TouchstoneError(f"unsupported activation '{activation}'", where=str(folder / "config.json"))
    weights = read_weights(folder, "linear.") or read_weights(folder, "")
    out_features, in_features = weights["weight"].shape
    linear = torch.nn.Linear(in_features, out_features, bias="bias" in weights)
    linear.load_state_dict(weights)
    return torch.nn.Sequential(linear, known[activation]()).to(device).eval()
