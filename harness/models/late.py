"""Late-interaction encoders: a vector for each token of a text, as ColBERT makes them.

Khattab & Zaharia 2020, section 3; ColBERTv2 (Santhanam et al. 2022) reads the same way. A checkpoint is a
BERT with one linear layer beside it (``linear.weight``). A plain encoder without that layer gives its own
last states: then no marker stands before a text and no mask after a query. (adapted)
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.answers import Floats
from harness.errors import TouchstoneError
from harness.models.batching import Longs, Ragged, batch_limits, prepare_torch, run_batches, to_device
from harness.models.batching import torch_device_type as device_type
from harness.models.profile import Role, read_profile, with_max_length
from harness.models.source import (
    PACKAGED_MODEL,
    ModelFiles,
    Precision,
    find_model,
    from_folder,
    library_identity,
    require_neural,
)
from harness.spec import Json

CODE_VERSION = 1  # raise when a change here can move a vector
MARKERS: dict[Role, str] = {"query": "[unused0]", "document": "[unused1]"}


@dataclass(frozen=True)
class LateSpec:
    """query_tokens: length that queries are filled up to with masks (checkpoints only) and cut at;
    document_tokens: length that documents are cut at.
    """

    model: str = PACKAGED_MODEL
    revision: str = ""
    query_tokens: int = 32
    document_tokens: int = 180
    precision: Precision = "fp32"
    device: str = "cpu"


@dataclass(frozen=True, eq=False)
class TokenVectors:
    """values float32[tokens, d], each of length 1; starts int64[n + 1]: where texts begin."""

    values: Floats
    starts: Longs

    def __len__(self) -> int:
        return len(self.starts) - 1


def late_identity(spec: LateSpec) -> dict[str, Json]:
    """All that the vectors depend on besides the kind of device. Loads no torch."""
    files = find_model(spec.model, spec.revision, "the late-interaction encoder")
    return {
        "model": files.name,
        "revision": files.revision,
        "query_tokens": spec.query_tokens,
        "document_tokens": spec.document_tokens,
        "precision": spec.precision,
        **library_identity(),
        "code": CODE_VERSION,
    }


class LateEncoder:
    """Texts to token vectors."""

    def __init__(self, spec: LateSpec) -> None:
        import torch
        from transformers import AutoModel, AutoTokenizer

        require_neural("the late-interaction encoder")
        prepare_torch()
        files = find_model(spec.model, spec.revision, "the late-interaction encoder")
        profile = with_max_length(read_profile(files, "mean"), 0, files)
        folder = files.folder / profile.transformer
        dtype = torch.bfloat16 if spec.precision == "bf16" else torch.float32
        self._spec, self._most, self._lower = spec, profile.max_length, profile.lower_case
        self._tokenizer: Any = from_folder(AutoTokenizer, folder)
        self._model: Any = from_folder(AutoModel, folder).to(device=spec.device, dtype=dtype).eval()
        weight = _linear(files)
        self._linear = None if weight is None else weight.to(spec.device)
        self.identity = {**late_identity(spec), "device": device_type(spec.device)}
        self.dimension = int(self._model.config.hidden_size if weight is None else weight.shape[0])
        marks = [self._tokenizer.encode(mark, add_special_tokens=False) for mark in string.punctuation]
        self._punctuation = np.array(sorted({ids[0] for ids in marks if len(ids) == 1}), np.int64)

    @property
    def trained(self) -> bool:
        """Whether the model was made for late interaction."""
        return self._linear is not None

    def encode(self, texts: Sequence[str], role: Role) -> TokenVectors:
        """Vectors of the tokens that count: of documents all but punctuation, of queries the masks too."""
        tokens, attended = self._tokens(texts, role)
        kept = [np.ones(0, bool)] * len(texts)
        found = [np.empty((0, self.dimension), np.float32)] * len(texts)

        def run(rows: Longs) -> None:
            ids, mask = tokens.padded(rows, int(self._tokenizer.pad_token_id or 0))
            reads = np.arange(ids.shape[1]) < attended[rows][:, None]
            states = self._states(ids, (mask & reads).astype(np.int64))
            for number, row in enumerate(rows.tolist()):
                own = ids[number, : tokens.lengths[row]]
                kept[row] = ~np.isin(own, self._punctuation) if role == "document" else own >= 0
                found[row] = states[number, : len(own)][kept[row]]

        run_batches(tokens.lengths, batch_limits(self._spec.device), run, None)
        starts = np.cumsum([0, *map(len, found)]).astype(np.int64)
        values = np.concatenate(found) if found else np.empty((0, self.dimension), np.float32)
        return TokenVectors(values, starts)

    def _tokens(self, texts: Sequence[str], role: Role) -> tuple[Ragged, Longs]:
        """(token ids, how many of each text the model attends to): masks after a query are not attended to,
        but have vectors (query augmentation).
        """
        spec = self._spec
        most = min(self._most, spec.query_tokens if role == "query" else spec.document_tokens)
        given = [text.lower() if self._lower else text for text in texts]
        rows: list[list[int]] = []
        if given:
            room = most - 1 if self.trained else most
            rows = self._tokenizer(given, truncation=True, max_length=room)["input_ids"]
        if self.trained:
            marker = self._tokenizer.convert_tokens_to_ids(MARKERS[role])
            rows = [[row[0], marker, *row[1:]] for row in rows]
        attended = np.array([len(row) for row in rows], np.int64)
        if self.trained and role == "query":
            mask = self._tokenizer.mask_token_id
            rows = [row + [mask] * (most - len(row)) for row in rows]
        return Ragged.of(rows), attended

    def _states(self, ids: Longs, mask: Longs) -> Floats:
        import torch

        with torch.inference_mode():
            inputs = to_device({"input_ids": ids, "attention_mask": mask}, self._spec.device)
            states = self._model(**inputs).last_hidden_state.float()
            if self._linear is not None:
                states = states @ self._linear.T
            found: Floats = torch.nn.functional.normalize(states, dim=-1).cpu().numpy()
        return found


def _linear(files: ModelFiles) -> Any:
    """float32[d, hidden] of a ColBERT checkpoint, None of another model."""
    if "HF_ColBERT" not in json_list(files, "architectures"):
        return None
    path = files.folder / "model.safetensors"
    weight = _read_weight(path if path.exists() else files.folder / "pytorch_model.bin")
    if weight is None:
        raise TouchstoneError("the ColBERT checkpoint has no linear.weight", where=str(files.folder))
    return weight.float()


def json_list(files: ModelFiles, key: str) -> list[Json]:
    """A list of the model's config.json, empty when it has none."""
    found = files.read_json("config.json").get(key)
    return found if isinstance(found, list) else []


def _read_weight(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(path, "pt") as held:
            return held.get_tensor("linear.weight") if "linear.weight" in held.keys() else None  # noqa: SIM118
    import torch

    return torch.load(path, map_location="cpu", weights_only=True).get("linear.weight")
