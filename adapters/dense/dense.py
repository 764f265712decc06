"""Dense retrieval with one vector a text: a sentence encoder and exact search over the whole corpus."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Annotated, Literal

from harness.adapter import Adapter, Context, Need, Paper
from harness.answers import Answers, Rankings
from harness.assets import asset_name
from harness.models.encoder import EncoderSpec, encoder_identity
from harness.models.source import PACKAGED_MODEL, find_model, require_neural
from harness.spec import Json, Kind, digest
from harness.tasks.base import Task, blocks
from harness.tasks.rank import RankTask
from harness.vectors import SearchSpec, corpus_vectors, top_k, vectors_key

BLOCK = 1024
NORMALISE: dict[str, Literal["auto", "yes", "no"]] = {"auto": "auto", "cosine": "yes", "dot": "no"}
RUNTIME_BYTES = 2_000_000_000  # torch, a batch and a block of scores


@dataclass(frozen=True)
class Settings:
    """auto and 0 mean: as the model's own files say."""

    model: Annotated[str, "the packaged all-MiniLM-L6-v2, a folder, or a hub id"] = PACKAGED_MODEL
    revision: Annotated[str, "commit, tag or branch of a hub id"] = ""
    pooling: Annotated[Literal["auto", "mean", "cls", "last"], "from token vectors to a text's"] = "auto"
    max_length: Annotated[int, "tokens a text is cut at"] = 0
    similarity: Annotated[Literal["auto", "cosine", "dot"], "of two vectors"] = "auto"
    precision: Annotated[Literal["fp32", "bf16"], "of the encoder"] = "fp32"
    query_prompt: Annotated[str, "put before every query"] = "auto"
    document_prompt: Annotated[str, "put before every document"] = "auto"


class Dense(Adapter):
    """Dot products of query and document vectors, all documents scored."""

    name = "dense"
    family = "dense"
    kinds = frozenset({Kind.RANK})
    about = "A sentence encoder and exact search: dot product or cosine, as the model says."
    paper = Paper(
        "Sentence-BERT: Sentence embeddings using Siamese BERT-networks",
        2019,
        "https://arxiv.org/abs/1908.10084",
    )
    extras = ("neural",)
    Settings = Settings

    def check(self) -> None:
        """torch and transformers are installed."""
        require_neural(self.name)

    def made_with(self) -> dict[str, Json]:
        """The encoder's identity."""
        return {"encoder": encoder_identity(self._spec("cpu"))}

    def need(self, task: Task) -> Need:
        """The weights, torch, and the corpus vectors of a 768-dimensional model."""
        weights = find_model(self.settings.model, self.settings.revision, self.name).weight_bytes
        identity = encoder_identity(self._spec("cpu"))
        need = Need(RUNTIME_BYTES + weights, RUNTIME_BYTES + weights, model=f"encoder {digest(identity)}")
        if not isinstance(task, RankTask):
            return need
        vectors = asset_name("vectors", vectors_key(identity, task.corpus))
        return replace(need, bytes=need.bytes + len(task.corpus) * 768 * 4, assets=(vectors,))

    def run(self, task: Task, context: Context) -> Iterator[Answers]:
        """Blocks of BLOCK queries."""
        assert isinstance(task, RankTask)
        with context.meter.phase("load"):
            encoder = context.encoder(self._spec(context.device))
        with context.meter.phase("index"):
            vectors, _ = corpus_vectors(
                encoder, task.corpus, context.asset, partial(context.progress, "encode")
            )
        search = SearchSpec(task.search_depth, context.device)
        for items in blocks(task.items, BLOCK):
            with context.meter.phase("search"):
                queries = encoder.encode(task.select(items).queries(), "query")
                answers = Rankings(items, *top_k(queries, vectors, search))
            yield answers

    def _spec(self, device: str) -> EncoderSpec:
        options = asdict(self.settings)
        normalise = NORMALISE[options.pop("similarity")]
        return EncoderSpec(**options, normalise=normalise, device=device)
