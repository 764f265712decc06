"""ColBERT: a vector a token, and for each query token its best document token."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import numpy as np

from harness.adapter import Adapter, Context, Need, Paper
from harness.answers import PAD, Answers, Ints, Rankings
from harness.errors import TouchstoneError
from harness.late_interaction import TokenIndex, best_rows, max_sim, token_index
from harness.models.late import LateEncoder, LateSpec, late_identity
from harness.models.source import find_model, require_neural
from harness.spec import Json, Kind, digest
from harness.tasks.base import Task, blocks
from harness.tasks.rank import RankTask

BLOCK = 16
RUNTIME_BYTES = 2_000_000_000


@dataclass(frozen=True)
class Settings:
    """Defaults are ColBERTv2's."""

    model: Annotated[
        str, "a ColBERT checkpoint, or an encoder whose own states are used: folder or hub id"
    ] = "colbert-ir/colbertv2.0"
    revision: Annotated[str, "commit, tag or branch of a hub id"] = ""
    query_tokens: Annotated[int, "tokens of a query, filled up with masks"] = 32
    document_tokens: Annotated[int, "tokens a document is cut at"] = 180
    precision: Annotated[Literal["fp32", "bf16"], "of the encoder; vectors are kept as float16"] = "fp32"
    first_stage: Annotated[str, "a method whose documents alone are scored; empty: all documents"] = ""
    depth: Annotated[int, "how many of the first stage's documents"] = 1000


class Colbert(Adapter):
    """Exact MaxSim over the whole corpus, or over a first stage's documents."""

    name = "colbert"
    family = "dense"
    kinds = frozenset({Kind.RANK})
    about = "Late interaction: the sum over query tokens of the best document token's cosine."
    paper = Paper(
        "ColBERTv2: Effective and Efficient Retrieval via Lightweight Late Interaction",
        2022,
        "https://arxiv.org/abs/2112.01488",
    )
    extras = ("neural",)
    Settings = Settings

    def check(self) -> None:
        """torch and transformers are installed, and lengths leave room for a word."""
        require_neural(self.name)
        s = self.settings
        if min(s.query_tokens, s.document_tokens) < 4 or s.depth < 1:
            raise TouchstoneError("lengths out of range", where=self.name, fix="tokens >= 4 and depth >= 1")

    def part_methods(self) -> tuple[str, ...]:
        """The first stage, where there is one."""
        return (self.settings.first_stage,) if self.settings.first_stage else ()

    def made_with(self) -> dict[str, Json]:
        """The encoder's identity."""
        return {"late_encoder": late_identity(self._spec("cpu"))}

    def need(self, task: Task) -> Need:
        """The weights and torch; token vectors stay on disk."""
        s = self.settings
        weights = find_model(s.model, s.revision, self.name).weight_bytes
        model = f"late {digest(late_identity(self._spec('cpu')))}"
        return Need(RUNTIME_BYTES + weights, RUNTIME_BYTES + weights, model=model)

    def notes(self, task: Task) -> tuple[str, ...]:
        """The model; what a model that was not made for this lacks."""
        s = self.settings
        files = find_model(s.model, s.revision, self.name)
        told = f"token vectors of {files.name} ({files.revision}), kept as float16; exact, without PLAID"
        if "HF_ColBERT" in str(files.read_json("config.json").get("architectures")):
            return (told,)
        return (told, "(adapted) the model was not trained for late interaction: no markers, no masks")

    def run(self, task: Task, context: Context) -> Iterator[Answers]:
        """Blocks of BLOCK queries."""
        assert isinstance(task, RankTask)
        with context.meter.phase("load"):
            encoder = context.keep(self._spec(context.device), LateEncoder)
        with context.meter.phase("index"):
            progress = partial(context.progress, "encode")
            index = token_index(encoder, task.corpus, context.asset, progress)
        first = context.first_stage(self.settings.first_stage) if self.settings.first_stage else None
        done = 0
        for items in blocks(task.items, BLOCK):
            with context.meter.phase("search"):
                candidates = None if first is None else first.resized(self.settings.depth).select(items)
                answers = self._ranked(task, encoder, index, items, candidates, context.device)
            done += len(items)
            context.progress("search", done, len(task.items))
            yield answers

    def _ranked(
        self,
        task: RankTask,
        encoder: LateEncoder,
        index: TokenIndex,
        items: Ints,
        candidates: Rankings | None,
        device: str,
    ) -> Rankings:
        queries = encoder.encode(task.select(items).queries(), "query")
        docs = None if candidates is None else np.unique(candidates.docs[candidates.docs != PAD])
        scores = max_sim(queries, index, docs, device)
        every = np.arange(len(index), dtype=np.int32) if docs is None else docs
        rows = []
        for row in range(len(items)):
            own = scores[row]
            if candidates is not None:
                own = np.where(np.isin(every, candidates.docs[row]), own, -np.inf)
            rows.append(best_rows(own, every, task.corpus.precedence, task.search_depth))
        found, values = (np.stack(part) for part in zip(*rows, strict=True))
        return task.check(Rankings(items, found, values))

    def _spec(self, device: str) -> LateSpec:
        s = self.settings
        return LateSpec(s.model, s.revision, s.query_tokens, s.document_tokens, s.precision, device)
