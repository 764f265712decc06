"""Dense retrieval's one way to vectors: the encoder settings that dense methods share, and what they give.

A dense method derives its ``Settings`` from ``DenseSettings`` and its class from ``DenseAdapter``, which
brings ``check``, ``made_with``, ``need`` and ``notes``; in ``run`` it calls ``self.vectors(task, context)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from typing import Annotated, ClassVar, Literal

import numpy as np

from harness.adapter import Adapter, Context, Need, code_digest
from harness.answers import Floats, Ints, Rankings
from harness.assets import asset_name
from harness.folds import relevant_grade
from harness.models.encoder import DeferredEncoder, Encoder, EncoderSpec, encoder_identity
from harness.models.source import PACKAGED_MODEL, find_model, require_neural
from harness.modes import mode
from harness.search import SearchSpec, top_k
from harness.spec import Json, digest
from harness.tasks.base import Task
from harness.tasks.rank import RankTask
from harness.vectors import Vectors, corpus_vectors, query_vectors, vectors_key

NORMALISE: dict[str, Literal["auto", "yes", "no"]] = {"auto": "auto", "cosine": "yes", "dot": "no"}


@dataclass(frozen=True)
class DenseSettings:
    """auto and 0 mean: as the model's own files say."""

    model: Annotated[str, "the packaged all-MiniLM-L6-v2, a folder, or a hub id"] = PACKAGED_MODEL
    revision: Annotated[str, "commit, tag or branch of a hub id"] = ""
    pooling: Annotated[Literal["auto", "mean", "cls", "last"], "from token vectors to a text's"] = "auto"
    max_length: Annotated[int, "tokens a text is cut at"] = 0
    similarity: Annotated[Literal["auto", "cosine", "dot"], "of two vectors"] = "auto"
    precision: Annotated[Literal["fp32", "bf16"], "of the encoder"] = "fp32"
    query_prompt: Annotated[str, "put before every query"] = "auto"
    document_prompt: Annotated[str, "put before every document"] = "auto"

    def encoder_spec(self, device: str = "cpu") -> EncoderSpec:
        """The encoder these settings name."""
        options = {field.name: getattr(self, field.name) for field in fields(DenseSettings)}
        normalise = NORMALISE[options.pop("similarity")]
        return EncoderSpec(**options, normalise=normalise, device=device)


@dataclass(frozen=True, eq=False)
class DenseVectors:
    """An encoder with the vectors of one corpus: documents float32[n, d], on disk, and precedence int32[n]
    of the documents among ties.
    """

    encoder: Encoder
    documents: Vectors
    precedence: Ints
    context: Context

    def encode(self, queries: Sequence[str]) -> Floats:
        """float32[len(queries), d], computed now."""
        return self.encoder.encode(queries, "query")

    def all_queries(self, task: RankTask) -> Vectors:
        """float32[q, d] of every judged query of the whole task, whatever part of it is to do; cached."""
        return query_vectors(self.encoder, task.query_texts, self.context.answering_asset)[0]

    def queries(self, task: RankTask) -> Floats:
        """float32[n, d] of the items of this view: from the cache, or computed now where single queries are
        timed or computed row by row.
        """
        if mode().single_items:
            return self.encode(task.queries())
        found: Floats = np.asarray(self.all_queries(task)[task.items])
        return found

    def search(self, queries: Floats, k: int) -> tuple[Ints, Floats]:
        """The k best documents of each query vector by dot product: int32[q, k], float32[q, k]."""
        return top_k(queries, self.documents, SearchSpec(k, self.context.device), self.precedence)

    def rankings(self, task: RankTask, items: Ints, queries: Floats) -> Rankings:
        """*items* ranked by their query vectors, without what the task hides, cut at its depth."""
        return task.check(Rankings(items, *self.search(queries, task.search_depth)))


class DenseAdapter(Adapter):
    """What methods over one encoder's vectors have in common."""

    extras: ClassVar[tuple[str, ...]] = ("neural",)
    Settings = DenseSettings

    def check(self) -> None:
        """torch and transformers are installed."""
        require_neural(self.name)

    def made_with(self) -> dict[str, Json]:
        """The encoder's identity."""
        return {"encoder": encoder_identity(self.settings.encoder_spec())}

    def need(self, task: Task) -> Need:
        """The weights, torch, and the corpus vectors of a 768-dimensional model."""
        weights = find_model(self.settings.model, self.settings.revision, self.name).weight_bytes
        identity = encoder_identity(self.settings.encoder_spec())
        need = Need.of_weights(weights, f"encoder {digest(identity)}")
        if not isinstance(task, RankTask):
            return need
        vectors = asset_name("vectors", vectors_key(identity, task.corpus))
        return replace(need, bytes=need.bytes + len(task.corpus) * 768 * 4, assets=(vectors,))

    def notes(self, task: Task) -> tuple[str, ...]:
        """The model it ran with."""
        files = find_model(self.settings.model, self.settings.revision, self.name)
        return (f"vectors of {files.name} ({files.revision})",)

    def vectors(self, task: RankTask, context: Context) -> DenseVectors:
        """The encoder, loaded once a process and only when it must encode, and the corpus vectors, from the
        cache or encoded now.
        """

        def load(spec: EncoderSpec) -> Encoder:
            with context.meter.phase("load"):
                return context.encoder(spec)

        encoder = DeferredEncoder(self.settings.encoder_spec(context.device), load)
        with context.meter.phase("index"):
            documents, _ = corpus_vectors(
                encoder, task.corpus, context.asset, partial(context.progress, "encode")
            )
        return DenseVectors(encoder, documents, task.corpus.precedence, context)

    def learned(self, task: RankTask, vectors: DenseVectors, fold: int, *idle: str) -> dict[str, Json]:
        """What the weights learned in a fold of the task's queries depend on, for ``Learner.identity``.

        idle: settings that change no weight.
        """
        settings = {key: value for key, value in asdict(self.settings).items() if key not in idle}
        return {
            "method": code_digest(type(self)),
            "settings": settings,
            "encoder": vectors.encoder.identity,
            "data": task.data_digest,
            "grade": relevant_grade(task),
            "fold": fold,
        }
