"""SPLADE: a masked language model says which terms a text is about, its own and others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from harness.adapter import Paper
from harness.sparse_models import SparseAdapter, SparseSettings
from harness.spec import Kind


@dataclass(frozen=True)
class Settings(SparseSettings):
    """SPLADE++ (ensemble distillation) at the length of its authors' code."""

    model: Annotated[str, "a masked language model: hub id, folder, or the packaged all-MiniLM-L6-v2"] = (
        "naver/splade-cocondenser-ensembledistil"
    )
    max_length: Annotated[int, "tokens a text is cut at; 0: as the model says"] = 256


class Splade(SparseAdapter):
    """w_t = max over positions of log(1 + ReLU(logit_t)), for queries and documents; dot product."""

    name = "splade"
    family = "sparse"
    kinds = frozenset({Kind.RANK})
    about = "A masked language model expands queries and documents to weighted terms; inverted index."
    paper = Paper(
        "From Distillation to Hard Negative Sampling: Making Sparse Neural IR Models More Effective",
        2022,
        "https://arxiv.org/abs/2205.04733",
    )
    Settings = Settings
