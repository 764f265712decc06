"""Cosine Adapter: cosines mapped, query by query, to a relevance that one threshold can filter by."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np

from harness.adapter import Context, Paper
from harness.answers import PAD, Answers, Floats, Ints, Rankings
from harness.dense import DenseAdapter, DenseSettings, DenseVectors
from harness.filtering import (
    Doubles,
    Flags,
    average_precision,
    precision_at_recall,
    strictly_falling,
    threshold,
)
from harness.folds import Fold, assigned, folds_note, positives, relevance, relevant_grade
from harness.measures import parse_measure, score_rankings
from harness.scores import Scores
from harness.spec import Json, Kind
from harness.tasks.base import Task
from harness.tasks.rank import RankTask
from harness.training import Longs, TrainSpec, trained

Family = Literal["linear", "square-root", "quadratic", "power", "platt"]

HIDDEN = 128
START = (math.log(math.expm1(10.0)), -5.0, math.log(math.expm1(0.9)))  # a 10, b -5, p 1


@dataclass(frozen=True)
class Settings(DenseSettings):
    """The map, its training, and what is left out by it."""

    similarity: Annotated[Literal["auto", "cosine", "dot"], "of two vectors; the method's is cosine"] = (
        "cosine"
    )
    mapping: Annotated[
        Literal["linear", "square-root", "quadratic", "power", "platt", "raw", "z-score", "min-max", "rank"],
        "query-dependent, by family; for comparison one logistic map (platt), the cosine, that normalised "
        "over the candidates, or the rank",
    ] = "power"
    depth: Annotated[int, "candidates of a query"] = 1000
    recall: Annotated[float, "of relevant candidates, kept by the threshold on held-out queries"] = 0.95
    filtered: Annotated[bool, "leave the documents below the threshold out of the ranking"] = False
    hard: Annotated[int, "negatives from the top of a training query's candidates"] = 50
    random: Annotated[int, "negatives from the rest, weighted to stand for all of it"] = 50
    epochs: Annotated[int, "at most; training stops when PR-AUC of held-out queries no longer rises"] = 30
    batch: Annotated[int, "queries a step"] = 16
    rate: Annotated[float, "learning rate"] = 1e-3
    folds: Annotated[int, "parts of the task's queries; each is answered by what the others taught"] = 5


class CosineAdapter(DenseAdapter):
    """A small network reads the query's vector and gives the parameters of an increasing map of cosines.

    The order of a query's documents is the cosine's; scores are the map's value less the threshold (log-odds
    for the trained families), so that a document is kept when its score is not negative.
    """

    name = "cosine-adapter"
    family = "dense"
    kinds = frozenset({Kind.RANK})
    about = "Query-dependent calibration of cosines and one threshold that filters candidates (adapted)."
    paper = Paper(
        "Relevance Filtering for Embedding-based Retrieval", 2024, "https://arxiv.org/abs/2408.04887"
    )
    Settings = Settings

    def notes(self, task: Task) -> tuple[str, ...]:
        """The model, and what is not the paper's."""
        s = self.settings
        return (
            *super().notes(task),
            f"{folds_note(s.folds)}, threshold included",
            "(adapted) parameters, network and loss: the paper's are not known",
            f"unjudged candidates count as not relevant; the threshold keeps {s.recall:.0%} of the relevant "
            "candidates of held-out queries; PR-AUC and P@R95 are pooled over the queries one map answers",
        )

    def run(self, task: Task, context: Context) -> Iterator[Answers]:
        """One block a fold."""
        assert isinstance(task, RankTask)
        s, vectors = self.settings, self.vectors(task, context)
        for number, fold, items in assigned(task, s.folds):
            with context.meter.phase("train"):
                learner = Calibration(task, vectors, fold, s, self.learned(task, vectors, number, "filtered"))
                module = None
                if s.mapping in ("linear", "square-root", "quadratic", "power", "platt"):
                    spec = TrainSpec(s.epochs, s.batch, s.rate, patience=5)
                    module, _ = trained(context, learner, spec, f"cosine-adapter, fold {number + 1}")
                held_out, relevant = learner.dev
                least = threshold(learner.values(module, held_out), relevant, s.recall)
            with context.meter.phase("search"):
                ranked, _ = learner.candidates(items)
                scores = strictly_falling((learner.values(module, ranked) - least).astype(np.float32))
                kept = (ranked.docs != PAD) & ((scores >= 0) | (not s.filtered))
                docs = np.where(kept, ranked.docs, PAD)
                yield Rankings(items, docs, np.where(kept, scores, -np.inf).astype(np.float32))

    def score(self, task: Task, answers: Answers) -> Scores:
        """Also of the filtered set: SetP, SetR, SetF; Kept, the share of candidates; Null, no candidate kept;
        and, when nothing was left out, PR-AUC and P@R95 as parts that average to the pooled value.
        """
        assert isinstance(task, RankTask)
        base, ranked = task.score(answers), task.check(answers)
        rel = relevant_grade(task)
        kept = (ranked.docs != PAD) & (ranked.scores >= 0)
        sets = Rankings(ranked.items, np.where(kept, ranked.docs, PAD).astype(np.int32), ranked.scores)
        names = [f"Set{letter}" + (f"(rel={rel})" if rel > 1 else "") for letter in "PRF"]
        measured = score_rankings([parse_measure(name) for name in names], task.qrels, sets)[task.items]
        columns = dict(zip(names, measured.T, strict=True))
        rows = np.searchsorted(ranked.items, task.items)
        found = (ranked.docs != PAD).sum(axis=1)[rows]
        columns["Kept"] = kept.sum(axis=1)[rows] / np.maximum(found, 1)
        columns["Null"] = (kept.sum(axis=1)[rows] == 0).astype(np.float64)
        if not self.settings.filtered:
            columns |= self._pooled(task, ranked)
        values = np.column_stack([base.values, *columns.values()])
        return replace(base, measures=(*base.measures, *columns), values=values)

    def _pooled(self, task: RankTask, ranked: Rankings) -> dict[str, Doubles]:
        found = {"PR-AUC": np.zeros(len(task.items)), "P@R95": np.zeros(len(task.items))}
        for _, _, items in assigned(task, self.settings.folds):
            part = ranked.select(items)
            relevant, rows = relevance(task, part), np.searchsorted(task.items, items)
            found["PR-AUC"][rows] = average_precision(part, relevant)
            found["P@R95"][rows] = precision_at_recall(part, relevant, 0.95)
        return found


def mapped(cosines: Any, theta: Any, family: Family) -> Any:
    """z = a f(c) + b, a > 0: f is c, its root, its square or its p-th power, clipped to 1e-6..1 (not linear).

    cosines: tensor [n, k]; theta [n, 3] holds a, b and p before softplus.
    """
    from torch.nn.functional import softplus

    a, b = softplus(theta[:, :1]), theta[:, 1:2]
    clipped = cosines.clamp(1e-6, 1.0)
    if family in ("linear", "platt"):
        return a * cosines + b
    power = {"square-root": 0.5, "quadratic": 2.0}.get(family)
    return a * clipped ** (softplus(theta[:, 2:]) + 0.1 if power is None else power) + b


class Calibration:
    """Trains a map on the queries of a fold: cross-entropy, negatives weighted to their natural rate."""

    def __init__(
        self, task: RankTask, vectors: DenseVectors, fold: Fold, settings: Settings, identity: dict[str, Json]
    ) -> None:
        self.task, self.vectors, self.fold, self.settings = task, vectors, fold, settings
        self.identity, self.device = identity, vectors.context.device
        self.queries = vectors.all_queries(task)
        self.dev = self.candidates(fold.dev)
        self.cosines, self.labels, self.weights = self._examples()

    def candidates(self, items: Ints) -> tuple[Rankings, Flags]:
        """The first documents of each item by cosine, and which are relevant."""
        ranked = self.vectors.rankings(self.task, items, self.queries[items]).resized(self.settings.depth)
        return ranked, relevance(self.task, ranked)

    def values(self, module: Any, ranked: Rankings) -> Doubles:
        """float64[n, k]: what the threshold is on; -inf for padding."""
        import torch

        held, cosines = ranked.docs != PAD, ranked.scores.astype(np.float64)
        if module is not None:
            with torch.no_grad():
                found = self._mapped(module, ranked.items, np.where(held, ranked.scores, 0.0))
            return np.where(held, found.double().cpu().numpy(), -np.inf)
        if self.settings.mapping == "rank":
            return np.where(held, -np.arange(1.0, ranked.depth + 1), -np.inf)
        if self.settings.mapping != "raw":
            masked = np.ma.masked_array(cosines, ~held)
            centre, scale = masked.mean(axis=1, keepdims=True), masked.std(axis=1, keepdims=True)
            if self.settings.mapping == "min-max":
                centre, scale = masked.min(axis=1, keepdims=True), np.ma.ptp(masked, axis=1)[:, None]
            cosines = ((masked - centre) / np.ma.maximum(scale, 1e-12)).filled(-np.inf)
        return np.where(held, cosines, -np.inf)

    def _examples(self) -> tuple[Floats, Floats, Floats]:
        """cosines, labels and weights, float32[training queries, candidates]; weight 0 is padding."""
        s, items = self.settings, self.fold.train
        ranked, relevant = self.candidates(items)
        rows = []
        for row, (item, own) in enumerate(zip(items.tolist(), positives(self.task, items), strict=True)):
            good = np.asarray(self.vectors.documents[own]) @ self.queries[item]
            bad = ranked.scores[row][(ranked.docs[row] != PAD) & ~relevant[row]]
            hard, rest = bad[: s.hard], bad[s.hard :]
            drawn = np.random.default_rng(item).permutation(len(rest))[: s.random]
            share = len(rest) / max(1, len(drawn))
            rows.append(
                (
                    np.concatenate([good, hard, rest[drawn]]),
                    np.repeat([1.0, 0.0, 0.0], [len(good), len(hard), len(drawn)]),
                    np.repeat([1.0, 1.0, share], [len(good), len(hard), len(drawn)]),
                )
            )
        width = max((len(row[0]) for row in rows), default=0)
        padded = [[np.pad(part, (0, width - len(part))) for part in row] for row in rows]
        whole = np.array(padded, np.float32).reshape(len(rows), 3, width)
        return whole[:, 0], whole[:, 1], whole[:, 2]

    def __len__(self) -> int:
        return len(self.fold.train)

    def start(self) -> Any:
        """LayerNorm, linear, ReLU, linear; the last layer starts with one logistic map for every query."""
        import torch

        d = self.queries.shape[1]
        last = torch.nn.Linear(HIDDEN, len(START))
        torch.nn.init.zeros_(last.weight)
        last.bias.data = torch.tensor(START)
        last.weight.requires_grad_(self.settings.mapping != "platt")
        network = torch.nn.Sequential(
            torch.nn.LayerNorm(d), torch.nn.Linear(d, HIDDEN), torch.nn.ReLU(), last
        )
        return network.to(self.device)

    def _mapped(self, module: Any, items: Ints, cosines: Floats) -> Any:
        import torch

        theta = module(torch.from_numpy(self.queries[items]).to(self.device))
        return mapped(torch.from_numpy(cosines).to(self.device), theta, self.settings.mapping)  # type: ignore[arg-type]

    def loss(self, module: Any, rows: Longs) -> Any:
        """The weighted mean of the cross-entropy."""
        import torch

        z = self._mapped(module, self.fold.train[rows], self.cosines[rows])
        labels, weights = (
            torch.from_numpy(part[rows]).to(self.device) for part in (self.labels, self.weights)
        )
        losses = torch.nn.functional.binary_cross_entropy_with_logits(z, labels, weights, reduction="sum")
        return losses / weights.sum()

    def quality(self, module: Any) -> float:
        """Pooled PR-AUC of the held-out queries."""
        ranked, relevant = self.dev
        values = self.values(module, ranked).astype(np.float32)
        return float(average_precision(replace(ranked, scores=values), relevant).mean())
