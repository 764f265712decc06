"""Learned-sparse retrieval's one way to weights: the settings that sparse methods share, and the run.

A sparse method derives its ``Settings`` from ``SparseSettings`` and its class from ``SparseAdapter``; its
queries are encoded as its documents are, or looked up in what ``static_weights`` gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from harness.adapter import Adapter, Context, Need
from harness.answers import Answers, Floats, Rankings
from harness.errors import TouchstoneError
from harness.models.batching import torch_device_type
from harness.models.source import find_model, read_object, require_neural
from harness.models.term_encoder import TermEncoder, TermSpec, TermTokenizer, has_head, term_identity
from harness.sparse import SparseRows, corpus_index, search_sparse
from harness.sparse_training import CODE_VERSION as TRAINING_CODE
from harness.sparse_training import SparseLearner, SparseTraining, idf_table, learner_identity
from harness.spec import Json, digest
from harness.tasks.base import Task, blocks
from harness.tasks.rank import RankTask
from harness.training import trained

CODE_VERSION = 1  # raise when a change here can move a score
BLOCK = 256
RUNTIME_BYTES = 2_500_000_000  # torch and a batch of logits
POSTING_BYTES = 200 * 8  # of a document
READ = 4096


@dataclass(frozen=True)
class SparseSettings(SparseTraining):
    """0 means: as the model's own files say, or no limit."""

    model: Annotated[str, "a hub id, a folder, or the packaged all-MiniLM-L6-v2"] = ""
    revision: Annotated[str, "commit, tag or branch of a hub id"] = ""
    precision: Annotated[Literal["fp32", "bf16"], "of the model"] = "fp32"
    max_length: Annotated[int, "tokens a text is cut at"] = 0
    top_terms: Annotated[int, "heaviest terms kept of a document"] = 0
    levels: Annotated[int, "whole weights from 0 to this number of levels; 0: weights as they are"] = 0
    largest: Annotated[float, "the weight at the last level"] = 5.0


class SparseAdapter(Adapter):
    """Documents as weights of terms in an inverted index, exact search."""

    extras = ("neural",)
    Settings = SparseSettings
    head: ClassVar[Literal["mlm", "impact"]] = "mlm"
    special_terms: ClassVar[bool] = True

    def check(self) -> None:
        """torch and transformers are installed; numbers that mean something."""
        require_neural(self.name)
        s = self.settings
        for name in ("pairs", "max_length", "top_terms", "levels", "layers", "flops", "rise"):
            if getattr(s, name) < 0:
                raise TouchstoneError(f"{name} is {getattr(s, name)}", where=self.name, fix="0 or more")
        for name in ("epochs", "batch", "negatives", "train_length", "largest", "rate", "sharpness"):
            if getattr(s, name) <= 0:
                raise TouchstoneError(f"{name} is {getattr(s, name)}", where=self.name, fix="above 0")

    def spec(self, device: str = "cpu") -> TermSpec:
        """The encoder these settings name."""
        s = self.settings
        return TermSpec(
            s.model,
            self.head,
            s.revision,
            s.precision,
            s.max_length,
            logs=getattr(s, "logs", 1),
            special_terms=self.special_terms,
            device=device,
        )

    def made_with(self) -> dict[str, Json]:
        """The encoder's identity."""
        made: dict[str, Json] = {"sparse_encoder": term_identity(self.spec()), "sparse_models": CODE_VERSION}
        return {**made, "training": TRAINING_CODE} if self.settings.train == "corpus" else made

    def need(self, task: Task) -> Need:
        """The weights, torch, and about 200 postings a document."""
        weights = find_model(self.settings.model, self.settings.revision, self.name).weight_bytes
        used = RUNTIME_BYTES + weights * (4 if self.settings.train == "corpus" else 1)
        documents = len(task.corpus) if isinstance(task, RankTask) else 0
        model = f"sparse encoder {digest(term_identity(self.spec()))}"
        return Need(used + documents * POSTING_BYTES, used, model=model)

    def notes(self, task: Task) -> tuple[str, ...]:
        """The model, and how it was trained here, if it was."""
        s = self.settings
        files = find_model(s.model, s.revision, self.name)
        told = [f"weights of {files.name} ({files.revision})"]
        whole = has_head(self.spec())
        if s.train == "corpus":
            told.append(
                "(adapted) trained here on the task's documents alone: title, first sentence or first words "
                "as the query, the rest as the passage; no query and no judgement was seen"
            )
            if s.loss == "kd":
                told.append(f"(adapted) taught by {TEACHERS[s.teachers]}, not by the authors' models")
        if not whole:
            told.append(f"(adapted) {files.name} has no head of this kind: {MISSING[self.head, s.train]}")
        return tuple(told)

    def static_weights(self, task: RankTask, context: Context) -> Floats | None:
        """float32[terms] of queries that take no inference; None where queries are encoded."""
        return None

    def run(self, task: Task, context: Context) -> Iterator[Answers]:
        """Blocks of BLOCK queries."""
        assert isinstance(task, RankTask)
        with context.meter.phase("index"):
            table = self.static_weights(task, context)
            encoder = partial(self._encoder, task, context, table)
            index, _ = corpus_index(
                partial(self._documents, encoder),
                task.corpus,
                self._key(task, context, table),
                context.asset,
                partial(context.progress, "encode"),
            )
        with context.meter.phase("load"):
            weigh = self._weigh(encoder, table)
        for items in blocks(task.items, BLOCK):
            with context.meter.phase("search"):
                rows = weigh(task.select(items).queries())
                found = search_sparse(index, rows, task.search_depth, task.corpus.precedence)
            yield Rankings(items, *found)

    def _weigh(
        self, encoder: Callable[[], TermEncoder], table: Floats | None
    ) -> Callable[[Sequence[str]], SparseRows]:
        """From query texts to weights; the model is loaded only where there is no *table*."""
        if table is not None:
            return partial(static_rows, TermTokenizer(self.spec()), table)
        model = encoder()
        return lambda texts: self._levelled(model.encode(texts, "query"))

    def _documents(self, encoder: Callable[[], TermEncoder], texts: Sequence[str]) -> SparseRows:
        return self._levelled(encoder().encode(texts, "document", self.settings.top_terms))

    def _levelled(self, rows: SparseRows) -> SparseRows:
        s = self.settings
        return rows.quantised(s.levels / s.largest) if s.levels else rows

    def _encoder(self, task: RankTask, context: Context, table: Floats | None) -> TermEncoder:
        """The encoder, trained first where that is asked for; loaded once a process."""
        spec = self.spec(context.device)
        if self.settings.train == "none":
            return context.keep(spec, TermEncoder)

        def taught(_key: Any) -> TermEncoder:
            learner = SparseLearner(spec, task.corpus, self._training(), table, context)
            trained(context, learner, self._training().train_spec(), self.name)
            assert learner.encoder is not None
            return learner.encoder

        return context.keep((spec, digest(self._key(task, context, table))), taught)

    def _training(self) -> SparseTraining:
        return SparseTraining(**{f.name: getattr(self.settings, f.name) for f in fields(SparseTraining)})

    def _key(self, task: RankTask, context: Context, table: Floats | None) -> dict[str, Json]:
        """All that can change a document's weight."""
        s = self.settings
        key: dict[str, Json] = {
            "encoder": term_identity(self.spec()),
            "device": torch_device_type(context.device),
            "top_terms": s.top_terms,
            "levels": [s.levels, s.largest] if s.levels else None,
        }
        if s.train == "corpus":
            options = self._training()
            key["trained"] = learner_identity(self.spec(), task.corpus, options, table)
        return key


TEACHERS = {
    "ensemble": "all-MiniLM-L6-v2 and BM25 over word-pieces",
    "dense": "all-MiniLM-L6-v2",
    "sparse": "BM25 over word-pieces",
}
MISSING = {
    ("mlm", "none"): "states times word embeddings, untrained",
    ("mlm", "corpus"): "one was fitted to give back the tokens read, then trained",
    ("impact", "none"): "every token weighs 1",
    ("impact", "corpus"): "every token weighed 1 before training",
}


def static_rows(tokenizer: TermTokenizer, table: Floats, texts: Sequence[str]) -> SparseRows:
    """Each distinct term of a text at its weight in *table*, those of weight 0 left out."""
    kept = [sorted(set(row)) for row in tokenizer.tokens(texts)]
    return SparseRows.of([{term: float(table[term]) for term in row if table[term] > 0} for row in kept])


def shipped_table(spec: TermSpec, tokenizer: TermTokenizer) -> Floats | None:
    """float32[terms] of the idf.json that a checkpoint brings: ReLU(idf), 1 for terms it does not list, 0 for
    special terms. None where there is no such file.
    """
    held = read_object(find_model(spec.model, spec.revision, "the query weights").folder / "idf.json")
    if not held:
        return None
    table = np.ones(len(tokenizer), np.float32)
    for term, value in held.items():
        number = tokenizer.number(term)
        if number is not None and isinstance(value, int | float):
            table[number] = max(0.0, float(value))
    table[sorted(tokenizer.special)] = 0.0
    return table


def corpus_table(task: RankTask, tokenizer: TermTokenizer) -> Floats:
    """The same counted in the task's documents, for encoders that bring none."""
    rows: list[list[int]] = []
    for start in range(0, len(task.corpus), READ):
        stop = min(start + READ, len(task.corpus))
        rows += [sorted(set(row)) for row in tokenizer.tokens(task.corpus.texts(start, stop))]
    table = idf_table(rows, len(tokenizer))
    table[sorted(tokenizer.special)] = 0.0
    return table
