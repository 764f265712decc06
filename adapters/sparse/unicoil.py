"""uniCOIL: one learned impact a token, quantised, in an inverted index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from harness.adapter import Paper
from harness.sparse_models import SparseAdapter, SparseSettings
from harness.spec import Kind
from harness.tasks.base import Task


@dataclass(frozen=True)
class Settings(SparseSettings):
    """Weights in 256 levels up to 5, as the published index has them; no sparsity penalty."""

    model: Annotated[str, "BERT with a linear head (tok_proj): hub id or folder; or all-MiniLM-L6-v2"] = (
        "castorini/unicoil-msmarco-passage"
    )
    levels: Annotated[int, "whole weights from 0 to this number of levels; 0: weights as they are"] = 256
    flops: Annotated[float, "lambda of a FLOPS penalty in training; the paper has none"] = 0.0


class UniCoil(SparseAdapter):
    """Terms of a text at their largest ReLU(w h + b); a query's repeated term counts each time."""

    name = "unicoil"
    family = "sparse"
    kinds = frozenset({Kind.RANK})
    about = "A learned weight for each word-piece of queries and documents, no expansion; inverted index."
    paper = Paper(
        "A Few Brief Notes on DeepImpact, COIL, and a Conceptual Framework "
        "for Information Retrieval Techniques",
        2021,
        "https://arxiv.org/abs/2106.14807",
    )
    Settings = Settings
    head = "impact"
    special_terms = False

    def notes(self, task: Task) -> tuple[str, ...]:
        """The model, and what the published run had besides."""
        return (
            *super().notes(task),
            "documents are not expanded here; the published runs expand them by doc2query-T5",
        )
