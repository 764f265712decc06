"""Re-ranking with a cross-encoder, which reads a query and a document together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from harness.adapter import Adapter, Context, Need, Paper
from harness.answers import PAD, Answers, Rankings
from harness.errors import TouchstoneError
from harness.models.reranker import Reranker, RerankerSpec, reranker_identity
from harness.models.source import find_model, require_neural
from harness.spec import Json, Kind, digest
from harness.tasks.base import Task, blocks
from harness.tasks.rank import RankTask

BLOCK = 8  # queries; each brings up to `depth` pairs
RUNTIME_BYTES = 2_000_000_000  # torch and a batch


@dataclass(frozen=True)
class Settings:
    """A model, and what it reorders."""

    model: Annotated[str, "a folder or a hub id"] = "cross-encoder/ms-marco-MiniLM-L6-v2"
    revision: Annotated[str, "commit, tag or branch of a hub id"] = ""
    max_length: Annotated[int, "tokens a pair is cut at, 0 for the model's own limit"] = 0
    precision: Annotated[Literal["fp32", "bf16"], "of the model"] = "fp32"
    first_stage: Annotated[str, "the method whose documents are reordered"] = "bm25"
    depth: Annotated[int, "how many of them; the others are left out"] = 100


class CrossEncoderRerank(Adapter):
    """The first stage's best documents, ordered by the cross-encoder's score alone."""

    name = "cross-encoder"
    family = "rerank"
    kinds = frozenset({Kind.RANK})
    about = "A cross-encoder reads query and document together; ranks the first stage's best documents."
    paper = Paper("Passage re-ranking with BERT", 2019, "https://arxiv.org/abs/1901.04085")
    extras = ("neural",)
    Settings = Settings

    def check(self) -> None:
        """torch and transformers are installed, and there is something to reorder."""
        require_neural(self.name)
        if self.settings.depth < 1:
            raise TouchstoneError(f"depth is {self.settings.depth}", where=self.name, fix="1 or more")

    def part_methods(self) -> tuple[str, ...]:
        """The first stage."""
        return (self.settings.first_stage,)

    def made_with(self) -> dict[str, Json]:
        """The cross-encoder's identity; the engine adds the first stage's."""
        return {"reranker": reranker_identity(self._spec("cpu"))}

    def need(self, task: Task) -> Need:
        """The weights and torch."""
        weights = find_model(self.settings.model, self.settings.revision, self.name).weight_bytes
        model = f"reranker {digest(reranker_identity(self._spec('cpu')))}"
        return Need(RUNTIME_BYTES + weights, RUNTIME_BYTES + weights, model=model)

    def run(self, task: Task, context: Context) -> Iterator[Answers]:
        """Blocks of BLOCK queries."""
        assert isinstance(task, RankTask)
        depth = min(self.settings.depth, task.spec.depth)
        first = context.first_stage(self.settings.first_stage)
        candidates = first.resized(min(depth, first.depth)).select(task.items)
        with context.meter.phase("load"):
            reranker = context.reranker(self._spec(context.device))
        done = 0
        for items in blocks(task.items, BLOCK):
            with context.meter.phase("rerank"):
                answers = reranked(reranker, task, candidates.select(items))
            done += len(items)
            context.progress("rerank", done, len(task.items))
            yield answers

    def _spec(self, device: str) -> RerankerSpec:
        s = self.settings
        return RerankerSpec(s.model, s.revision, s.max_length, s.precision, device)


def reranked(reranker: Reranker, task: RankTask, candidates: Rankings) -> Rankings:
    """*candidates* with the reranker's scores, best first."""
    held = candidates.docs != PAD
    texts = task.corpus.texts_of(candidates.docs[held])
    queries = [task.query_texts[item] for item in np.repeat(candidates.items, held.sum(axis=1))]
    scores = np.full(candidates.docs.shape, -np.inf, np.float32)
    scores[held] = reranker.score(list(zip(queries, texts, strict=True)))
    order = np.argsort(-scores, axis=1, kind="stable")
    docs = np.take_along_axis(candidates.docs, order, 1)
    return Rankings(candidates.items, docs, np.take_along_axis(scores, order, 1))
