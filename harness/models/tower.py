"""A sentence encoder as a module to train: the same weights, pooling and normalisation as it encodes with."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import TouchstoneError
from harness.models.batching import Longs, Ragged
from harness.models.encoder import EncoderSpec, TransformerEncoder, load_encoder
from harness.models.profile import read_profile
from harness.models.source import OTHER_FRAMEWORKS, WEIGHTS, ModelFiles, find_model, from_folder

if TYPE_CHECKING:
    import torch


class Tower:
    """An encoder of its own, never one that a process keeps loaded, with its parameters as ``module``."""

    def __init__(self, spec: EncoderSpec) -> None:
        import torch

        encoder = load_encoder(spec)
        assert isinstance(encoder, TransformerEncoder)
        self.spec, self.encoder = spec, encoder
        self.module = torch.nn.ModuleList(encoder.parts())

    def tokenise(self, texts: Sequence[str]) -> Ragged:
        """Token ids of queries, cut at the encoder's length."""
        return self.encoder.tokenise(list(texts), "query")

    def vectors(self, tokens: Ragged, rows: Longs) -> torch.Tensor:
        """[len(rows), d] with a gradient."""
        return self.encoder.differentiable(tokens, rows)


def separator(spec: EncoderSpec) -> str:
    """What stands between two texts of one input: the tokenizer's own mark. None is a TouchstoneError, as is
    one that the model's files have lower-cased together with the texts.
    """
    from transformers import AutoTokenizer

    files = find_model(spec.model, spec.revision, "the sentence encoder")
    profile = read_profile(files, spec.pooling)
    mark = str(from_folder(AutoTokenizer, files.folder / profile.transformer).sep_token or "")
    if not mark or (profile.lower_case and mark.lower() != mark):
        raise TouchstoneError("the tokenizer has no mark between two texts", where=files.name)
    return mark


def save_encoder(spec: EncoderSpec, tower: Tower, folder: Path) -> None:
    """The tower's weights as an encoder's folder, laid out as the one of *spec* that it was made from."""
    from safetensors.torch import save_file

    base = find_model(spec.model, spec.revision, "the sentence encoder").folder
    left_out = shutil.ignore_patterns(*WEIGHTS, *(name.partition("/")[0] for name in OTHER_FRAMEWORKS))
    shutil.copytree(base, folder, ignore=left_out, dirs_exist_ok=True)
    transformer, *dense = tower.encoder.parts()
    profile = read_profile(ModelFiles(spec.model, "", base), spec.pooling)
    transformer_any: Any = transformer
    transformer_any.save_pretrained(folder / profile.transformer)
    for path, layer in zip(profile.dense, dense, strict=True):
        state = {f"linear.{name.partition('.')[2]}": value for name, value in layer.state_dict().items()}
        save_file(state, folder / path / "model.safetensors")
