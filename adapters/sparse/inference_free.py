"""Inference-free learned sparse retrieval: documents are encoded, queries only looked up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from harness.adapter import Context, Paper
from harness.answers import Floats
from harness.errors import TouchstoneError
from harness.models.source import find_model
from harness.models.term_encoder import TermTokenizer
from harness.sparse_models import SparseAdapter, SparseSettings, corpus_table, shipped_table
from harness.spec import Json, Kind
from harness.tasks.base import Task
from harness.tasks.rank import RankTask


@dataclass(frozen=True)
class Settings(SparseSettings):
    """The checkpoint's weights and query table, or an encoder trained here."""

    model: Annotated[str, "a masked language model: hub id, folder, or the packaged all-MiniLM-L6-v2"] = (
        "opensearch-project/opensearch-neural-sparse-encoding-doc-v2-distill"
    )
    idf: Annotated[
        Literal["table", "none"], "query weights: IDF, or 1 for every term (plain document-only SPLADE)"
    ] = "table"
    logs: Annotated[int, "how often log(1 + x) is applied; 2 for the v3 models"] = 1


class InferenceFreeSparse(SparseAdapter):
    """s(q, d) = sum over the distinct terms of q of idf_t w_t(d); no model at query time."""

    name = "inference-free-sparse"
    family = "sparse"
    kinds = frozenset({Kind.RANK})
    about = "SPLADE-like documents; queries are their word-pieces at a table's IDF, without any inference."
    paper = Paper(
        "Towards Competitive Search Relevance For Inference-Free Learned Sparse Retrievers",
        2024,
        "https://arxiv.org/abs/2411.04403",
    )
    Settings = Settings
    special_terms = False

    def check(self) -> None:
        """One logarithm, or two."""
        super().check()
        if self.settings.logs not in (1, 2):
            raise TouchstoneError(f"logs is {self.settings.logs}", where=self.name, fix="1, or 2 for v3")

    def notes(self, task: Task) -> tuple[str, ...]:
        """The model, and where the query weights come from."""
        told = super().notes(task)
        if self.settings.train == "corpus":
            told = (
                *told,
                "training is short: the paper's gain of IDF-aware over plain scoring shows on SciFact and "
                "Vaswani, on Cranfield it turns round (benchmarks/README.md)",
            )
        if self.settings.idf == "none":
            return (*told, "every query term weighs 1: plain document-only SPLADE, the paper's baseline")
        folder = find_model(self.settings.model, self.settings.revision, self.name).folder
        if (folder / "idf.json").exists():
            return told
        return (*told, "(adapted) the checkpoint brings no IDF table: it is counted in the task's documents")

    def static_weights(self, task: RankTask, context: Context) -> Floats:
        """The checkpoint's table, or the documents' own, or 1 for every term but special ones."""
        tokenizer = TermTokenizer(self.spec())
        if self.settings.idf == "none":
            ones = np.ones(len(tokenizer), np.float32)
            ones[sorted(tokenizer.special)] = 0.0
            return ones
        shipped = shipped_table(self.spec(), tokenizer)
        if shipped is not None:
            return shipped
        key: dict[str, Json] = {"corpus": task.corpus.digest, **self.made_with()}
        asset = context.asset(
            "idf", key, lambda folder: np.save(folder / "idf.npy", corpus_table(task, tokenizer))
        )
        table: Floats = np.load(asset.path / "idf.npy")
        return table
