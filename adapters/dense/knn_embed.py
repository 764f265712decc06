"""kNN-Embed: a searcher as a mixture over clusters of documents, smoothed by the searchers nearest to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from harness.adapter import Context, Paper, code_digest
from harness.answers import PAD, Answers, Floats, Ints, Rankings
from harness.dense import DenseAdapter, DenseSettings, DenseVectors
from harness.errors import TouchstoneError
from harness.folds import positives
from harness.measures import Qrels, parse_measure, score_rankings
from harness.mixtures import Mixture, allocation, allotted, alone, mixture, smoothed, spherical_k_means
from harness.scores import Scores
from harness.search import SearchSpec, top_k
from harness.spec import Json, Kind, digest
from harness.tasks.base import Task, blocks
from harness.tasks.rank import RankTask

BLOCK = 64
CUTOFFS = ("R@10", "R@20", "R@50")


@dataclass(frozen=True)
class Settings(DenseSettings):
    """The mixture. The paper's numbers are not known; these are the project's."""

    similarity: Annotated[Literal["auto", "cosine", "dot"], "of two vectors; the method's is cosine"] = (
        "cosine"
    )
    mode: Annotated[
        Literal["smoothed", "mixture", "unimodal"], "smoothed mixture, mixture as counted, or one mean vector"
    ] = "smoothed"
    history: Annotated[
        Literal["first-stage", "judged"],
        "what a searcher has seen: a dense search's first documents, or half of the relevant ones (then not "
        "ranked)",
    ] = "first-stage"
    seen: Annotated[int, "documents of a first-stage history"] = 20
    clusters: Annotated[int, "C, of the corpus"] = 50
    top: Annotated[int, "m, clusters that a searcher keeps"] = 5
    neighbours: Annotated[int, "k nearest searchers, itself among them"] = 5
    candidates: Annotated[int, "K, documents retrieved"] = 100
    order: Annotated[
        Literal["similarity", "cluster"], "by cosine with the centroid that found it, or by cluster first"
    ] = "similarity"


class KnnEmbed(DenseAdapter):
    """One search a cluster, each for its share of the candidates, from the searcher's own centroid in it."""

    name = "knn-embed"
    family = "dense"
    kinds = frozenset({Kind.RANK})
    about = "Smoothed embedding mixture over document clusters, a search for each (adapted to text search)."
    paper = Paper(
        "kNN-Embed: Locally Smoothed Embedding Mixtures For Multi-interest Candidate Retrieval",
        2022,
        "https://arxiv.org/abs/2205.06205",
    )
    Settings = Settings

    def check(self) -> None:
        """Counts that mean something."""
        super().check()
        for field in ("seen", "clusters", "top", "neighbours", "candidates"):
            if getattr(self.settings, field) < 1:
                what = f"{field} is {getattr(self.settings, field)}"
                raise TouchstoneError(what, where=self.name, fix="1 or more")

    def notes(self, task: Task) -> tuple[str, ...]:
        """What stands for users and items."""
        items = "the first documents of a dense search stand for its items"
        if self.settings.history == "judged":
            items = "half of its relevant documents are its items, and not ranked: compare its own modes only"
        return (
            *super().notes(task),
            f"(adapted) a query stands for a user, other queries of the task for its neighbours; {items}",
            "the paper's directions do not show: smoothing over queries loses recall (benchmarks/README.md)",
            "clusters_retrieved: distinct clusters among the candidates, summed over queries",
        )

    def run(self, task: Task, context: Context) -> Iterator[Answers]:
        """Blocks of BLOCK queries."""
        assert isinstance(task, RankTask)
        s, vectors = self.settings, self.vectors(task, context)
        queries = vectors.all_queries(task)
        with context.meter.phase("index"):
            centres, cluster_of = self._clustered(task, vectors)
        with context.meter.phase("search"):
            history = self._history(task, vectors, queries)
            near, _ = top_k(queries, queries, SearchSpec(min(s.neighbours, len(queries)), context.device))
            own = [
                mixture(vectors.documents[docs], cluster_of[docs], s.top)
                if len(docs)
                else alone(query, centres)
                for docs, query in zip(history, queries, strict=True)
            ]
        for items in blocks(task.items, BLOCK):
            with context.meter.phase("search"):
                users = [self._user(own, near[item], int(item), history, vectors) for item in items]
                seen = [history[item] if s.history == "judged" else history[item][:0] for item in items]
                answers = self._retrieved(items, users, seen, vectors)
            for docs in answers.docs:
                context.meter.count("clusters_retrieved", len(np.unique(cluster_of[docs[docs != PAD]])))
            yield answers

    def _user(
        self, own: list[Mixture], near: Ints, item: int, history: list[Ints], vectors: DenseVectors
    ) -> Mixture:
        s = self.settings
        if s.mode == "smoothed":
            others = [other for other in near.tolist() if other != item][: s.neighbours - 1]
            return smoothed([own[item], *(own[other] for other in others)], s.top)
        if s.mode == "mixture" or not len(history[item]):
            return own[item]
        mean = vectors.documents[history[item]].mean(axis=0, keepdims=True)
        return Mixture(np.zeros(1, np.int32), np.ones(1), mean)

    def _retrieved(
        self, items: Ints, users: list[Mixture], seen: list[Ints], vectors: DenseVectors
    ) -> Rankings:
        s = self.settings
        lengths = [len(user.shares) for user in users]
        centroids = np.concatenate([user.centroids for user in users])
        centroids = centroids / np.maximum(np.linalg.norm(centroids, axis=1, keepdims=True), 1e-12)
        wanted = min(s.candidates + max((len(docs) for docs in seen), default=0), len(vectors.documents))
        docs, cosines = vectors.search(centroids.astype(np.float32), wanted)
        found = np.full((len(items), s.candidates), PAD, np.int32)
        scores = np.full(found.shape, -np.inf, np.float32)
        starts = np.cumsum([0, *lengths])
        for row, user in enumerate(users):
            part = slice(starts[row], starts[row + 1])
            chosen = allotted(docs[part], cosines[part], allocation(user.shares, s.candidates), seen[row])
            places = np.array([(doc, -2.0 * rank * (s.order == "cluster") + c) for doc, rank, c in chosen])
            best = np.argsort(-places[:, 1], kind="stable") if len(chosen) else np.empty(0, np.int64)
            found[row, : len(best)], scores[row, : len(best)] = places[best].T if len(best) else (PAD, 0)
        return Rankings(items, found, scores)

    def _history(self, task: RankTask, vectors: DenseVectors, queries: Floats) -> list[Ints]:
        every = np.arange(len(queries), dtype=np.int32)
        if self.settings.history == "judged":
            return [halved(task, docs)[0] for docs in positives(task, every)]
        ranked = vectors.rankings(task, every, queries).docs[:, : self.settings.seen]
        return [docs[docs != PAD] for docs in ranked]

    def _clustered(self, task: RankTask, vectors: DenseVectors) -> tuple[Floats, Ints]:
        count = min(self.settings.clusters, len(vectors.documents))
        key: dict[str, Json] = {
            "encoder": vectors.encoder.identity,
            "corpus": task.corpus.digest,
            "clusters": count,
            "code": code_digest(type(self)),
        }

        def make(folder: Path) -> None:
            centres, cluster_of = spherical_k_means(vectors.documents, count)
            np.savez(folder / "clusters.npz", centres=centres, cluster_of=cluster_of)

        with np.load(vectors.context.asset("clusters", key, make).path / "clusters.npz") as held:
            return held["centres"], held["cluster_of"]

    def score(self, task: Task, answers: Answers) -> Scores:
        """Also recall at 10, 20 and 50: of the relevant documents, or (judged) of those held out."""
        assert isinstance(task, RankTask)
        if self.settings.history != "judged":
            names = (*task.spec.measures, *(name for name in CUTOFFS if name not in task.spec.measures))
            return replace(task, spec=replace(task.spec, measures=names)).score(answers)
        base, every = task.score(answers), np.arange(len(task.query_ids), dtype=np.int32)
        held = [halved(task, docs)[1] for docs in positives(task, every)]
        rows = np.repeat(every, [len(docs) for docs in held])
        edges = Qrels.build(len(every), rows, np.concatenate(held), np.ones_like(rows))
        values = score_rankings([parse_measure(name) for name in CUTOFFS], edges, task.check(answers))
        names = (*base.measures, *(f"held-out {name}" for name in CUTOFFS))
        return replace(base, measures=names, values=np.hstack([base.values, values[task.items]]))


def halved(task: RankTask, docs: Ints) -> tuple[Ints, Ints]:
    """(history, held out) of a query's relevant documents: halves by the digests of their ids."""
    order = sorted(docs.tolist(), key=lambda doc: digest(task.corpus.ids(np.array([doc], np.int32))[0]))
    return np.array(order[: len(order) // 2], np.int32), np.array(order[len(order) // 2 :], np.int32)
