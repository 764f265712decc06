"""ANCE-PRF: a query encoder that reads the query with the first passages found, over an unchanged index."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from harness.adapter import Context, Paper
from harness.answers import PAD, Answers, Ints, Rankings
from harness.dense import DenseAdapter, DenseSettings, DenseVectors
from harness.errors import TouchstoneError
from harness.folds import Fold, assigned, cross_fit, folds_note, positives
from harness.measures import parse_measure, score_rankings
from harness.models.encoder import EncoderSpec, encoder_identity
from harness.models.tower import Tower, save_encoder, separator
from harness.spec import Json, Kind
from harness.tasks.base import Task, blocks
from harness.tasks.rank import RankTask
from harness.training import Longs, TrainSpec, trained, training_key

BLOCK = 32


@dataclass(frozen=True)
class Settings(DenseSettings):
    """The base encoder, and the encoder of queries with feedback: a checkpoint, or trained here."""

    checkpoint: Annotated[str, "a trained feedback encoder (folder or hub id); empty: trained here"] = ""
    k: Annotated[int, "feedback passages; a checkpoint is for one k"] = 3
    input_length: Annotated[int, "tokens that query and passages are cut at, from the end"] = 512
    lower_case: Annotated[bool, "of the feedback text, as the models were trained"] = True
    negatives: Annotated[int, "a query, from the base run"] = 20
    pool: Annotated[int, "ranks of the base run that negatives are drawn from"] = 1000
    temperature: Annotated[float, "1 in the paper; vectors of length 1 need less"] = 0.05
    layers: Annotated[int, "last layers that are trained; 0 for all of the model, as in the paper"] = 2
    queries: Annotated[int, "training queries of a fold, at most"] = 64
    epochs: Annotated[int, "at most; the best by nDCG@10 of held-out queries is kept"] = 2
    batch: Annotated[int, "queries a step"] = 4
    rate: Annotated[float, "learning rate"] = 1e-5
    folds: Annotated[int, "parts of the task's queries; each is answered by what the others taught"] = 2


class AncePrf(DenseAdapter):
    """The base encoder searches; query and passages are read as one; the same index is searched again."""

    name = "ance-prf-repro"
    family = "feedback"
    kinds = frozenset({Kind.RANK})
    about = "A query encoder trained to read query and feedback passages; document vectors stay (adapted)."
    paper = Paper(
        "Improving Query Representations for Dense Retrieval with Pseudo Relevance Feedback: "
        "A Reproducibility Study",
        2022,
        "https://arxiv.org/abs/2112.06400",
    )
    Settings = Settings

    def check(self) -> None:
        """Numbers that mean something."""
        super().check()
        if self.settings.k < 0 or self.settings.temperature <= 0:
            what = f"k is {self.settings.k} and temperature {self.settings.temperature}"
            raise TouchstoneError(what, where=self.name, fix="k >= 0, temperature > 0")

    def made_with(self) -> dict[str, Json]:
        """The base encoder, and the checkpoint when one is given."""
        given = {"checkpoint": encoder_identity(self._given("cpu"))} if self.settings.checkpoint else {}
        return {**super().made_with(), **given}

    def notes(self, task: Task) -> tuple[str, ...]:
        """The model, and what differs from the paper."""
        s = self.settings
        if s.checkpoint:
            return (*super().notes(task), f"feedback encoder: {s.checkpoint}, k={s.k}")
        assert isinstance(task, RankTask)
        count = min(s.queries, len(cross_fit(task.query_ids, s.folds)[0].train))
        return (
            *super().notes(task),
            folds_note(s.folds),
            f"(adapted) about {count} training queries a fold, where the paper has MS MARCO's: no such "
            "gain is to be expected; the softmax has a temperature, as vectors have length 1",
        )

    def run(self, task: Task, context: Context) -> Iterator[Answers]:
        """Blocks of BLOCK queries, fold by fold."""
        assert isinstance(task, RankTask)
        s, vectors = self.settings, self.vectors(task, context)
        every = np.arange(len(task.query_ids), dtype=np.int32)
        base = vectors.rankings(task, every, vectors.all_queries(task))
        for spec, items in self._encoders(task, vectors, base):
            encoder = context.encoder(spec)
            texts = joined(task, base, s, separator(spec))
            for some in blocks(items, BLOCK):
                with context.meter.phase("search"):
                    queries = encoder.encode([texts[item] for item in some.tolist()], "query")
                    yield Rankings(some, *vectors.search(queries, task.search_depth))

    def _encoders(
        self, task: RankTask, vectors: DenseVectors, base: Rankings
    ) -> Iterator[tuple[EncoderSpec, Ints]]:
        """(feedback encoder, items it answers)."""
        if self.settings.checkpoint:
            yield self._given(vectors.context.device), task.items
            return
        for number, fold, items in assigned(task, self.settings.folds):
            yield self._trained(task, vectors, base, number, fold), items

    def _base(self, device: str) -> EncoderSpec:
        base: EncoderSpec = self.settings.encoder_spec(device)
        return replace(base, max_length=self.settings.input_length)

    def _given(self, device: str) -> EncoderSpec:
        return replace(self._base(device), model=self.settings.checkpoint, revision="")

    def _trained(
        self, task: RankTask, vectors: DenseVectors, base: Rankings, number: int, fold: Fold
    ) -> EncoderSpec:
        """The encoder that a fold taught, as a folder in the cache like any other checkpoint."""
        s, context, spec = self.settings, vectors.context, self._base(vectors.context.device)
        learner = FeedbackEncoder(task, vectors, base, fold, s)
        learner.identity = self.learned(task, vectors, number, "checkpoint")
        plan = TrainSpec(
            s.epochs, s.batch, s.rate, warmup=0.1, schedule="linear", clip=1.0, patience=s.epochs
        )
        with context.meter.phase("train"):
            key: dict[str, Json] = training_key(learner, plan, context.device)

            def make(folder: Path) -> None:
                trained(context, learner, plan, f"ance-prf, fold {number + 1}")
                save_encoder(spec, learner.tower, folder / "model")

            folder = context.asset("encoder", key, make).path / "model"
        return replace(spec, model=str(folder), revision="")


def joined(task: RankTask, base: Rankings, settings: Settings, mark: str) -> list[str]:
    """For every query of the task, the query and the texts of its first k documents, *mark* between them.

    The tokenizer puts its own marks at both ends; what is too long is cut from the end, so never the query.
    """
    found = []
    for query, docs in zip(task.query_texts, base.docs[:, : settings.k], strict=True):
        texts = task.corpus.texts_of(docs[docs != PAD])
        texts = [text.replace(mark, " ") for text in texts]
        found.append(mark.join([query, *(text.lower() if settings.lower_case else text for text in texts)]))
    return found


def contrast(positive: Any, negative: Any) -> Any:
    """-log(e^p / (e^p + sum of e^n)), the mean over positives [p], with the negatives [n] of one query."""
    import torch

    return (torch.logaddexp(positive, negative.logsumexp(0)) - positive).mean()


class FeedbackEncoder:
    """Trains the query tower; document vectors are constants; no other query's documents are negatives."""

    identity: dict[str, Json]

    def __init__(
        self, task: RankTask, vectors: DenseVectors, base: Rankings, fold: Fold, settings: Settings
    ) -> None:
        self.task, self.vectors, self.settings, self.dev = task, vectors, settings, fold.dev
        wanted = positives(task, fold.train)
        taught = [(item, docs) for item, docs in zip(fold.train.tolist(), wanted, strict=True) if len(docs)]
        self.taught = taught[: settings.queries]
        self.negative = [self._drawn(base.docs[item], item, docs) for item, docs in self.taught]
        self.spec = replace(
            settings.encoder_spec(vectors.context.device), max_length=settings.input_length, precision="fp32"
        )
        self.tower = Tower(self.spec)
        texts = joined(task, base, settings, separator(self.spec))
        self.tokens = self.tower.tokenise(texts)

    def _drawn(self, ranked: Ints, item: int, own: Ints) -> Ints:
        """Negatives of a query from the base run's first ranks."""
        first = ranked[: self.settings.pool]
        first = first[(first != PAD) & ~np.isin(first, own)]
        order = np.random.default_rng(item).permutation(len(first))
        drawn: Ints = first[order[: self.settings.negatives]]
        return drawn

    def __len__(self) -> int:
        return len(self.taught)

    def start(self) -> Any:
        """The base encoder, its dense layers included; with *layers*, all but the last so many are frozen."""
        import torch

        self.tower = Tower(self.spec)
        module = self.tower.module
        if self.settings.layers:
            lists = [part for part in module[0].modules() if isinstance(part, torch.nn.ModuleList)]
            kept = max(lists, key=len)[-self.settings.layers :]
            module[0].requires_grad_(False)
            kept.requires_grad_(True)
        return module

    def loss(self, module: Any, rows: Longs) -> Any:
        """The mean contrast of some queries."""
        import torch

        items = np.array([self.taught[row][0] for row in rows.tolist()])
        queries = self.tower.vectors(self.tokens, items) / self.settings.temperature
        losses = []
        for query, row in zip(queries, rows.tolist(), strict=True):
            good, bad = (
                torch.from_numpy(np.asarray(self.vectors.documents[docs])).to(query.device) @ query
                for docs in (self.taught[row][1], self.negative[row])
            )
            losses.append(contrast(good, bad))
        return torch.stack(losses).mean()

    def quality(self, module: Any) -> float:
        """nDCG@10 of the held-out queries, the index searched anew."""
        parts = [
            self.tower.vectors(self.tokens, some.astype(np.int64)).cpu().numpy()
            for some in blocks(self.dev, 8)
        ]
        ranked = self.vectors.rankings(self.task, self.dev, np.concatenate(parts))
        return float(score_rankings([parse_measure("nDCG@10")], self.task.qrels, ranked)[self.dev, 0].mean())
