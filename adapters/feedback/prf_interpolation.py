"""Where to mix a lexical run into dense retrieval with vector feedback: before it, after it, both, or not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt

from harness.adapter import Context, Paper
from harness.answers import PAD, Answers, Floats, Ints, Rankings
from harness.dense import DenseAdapter, DenseSettings, DenseVectors
from harness.errors import TouchstoneError
from harness.fuse import Floats64, minmax, summed
from harness.spec import Kind
from harness.tasks.base import Task, blocks
from harness.tasks.rank import RankTask

BLOCK = 512


@dataclass(frozen=True)
class Settings(DenseSettings):
    """An encoder, its lexical partner, and the feedback. Defaults are the paper's; nothing is tuned."""

    where: Annotated[
        Literal["none", "pre", "post", "both", "alone"],
        "fuse the runs without feedback; before, after or on both sides of it; or feedback alone",
    ] = "both"
    sparse: Annotated[str, "the method whose run is mixed in: BM25, or learned sparse"] = "bm25"
    weight: Annotated[float, "lambda: the sparse run's share of the fused score"] = 0.5
    norm: Annotated[
        Literal["minmax-both", "minmax-sparse-only"], "which runs' scores are mapped to 0..1 a query"
    ] = "minmax-both"
    feedback: Annotated[
        Literal["rocchio", "average"], "alpha q + beta mean(d), or the mean of q and all d"
    ] = "rocchio"
    alpha: Annotated[float, "Rocchio's weight of the query"] = 0.4
    beta: Annotated[float, "Rocchio's weight of the feedback"] = 0.6
    k: Annotated[int, "feedback passages; 0 for none"] = 3
    depth: Annotated[int, "how many documents of each run take part in the fusion"] = 1000


class PrfInterpolation(DenseAdapter):
    """Feedback comes from the dense or the fused run; its passages' stored vectors move the query's."""

    name = "prf-interpolation"
    family = "feedback"
    kinds = frozenset({Kind.RANK})
    about = (
        "Vector feedback (Rocchio or average) with a sparse run interpolated before it, after it, or both."
    )
    paper = Paper(
        "To Interpolate or not to Interpolate: PRF, Dense and Sparse Retrievers",
        2022,
        "https://doi.org/10.1145/3477495.3531884",
    )
    Settings = Settings

    def check(self) -> None:
        """Numbers that mean something."""
        super().check()
        s = self.settings
        if not 0.0 <= s.weight <= 1.0:
            raise TouchstoneError(
                f"weight is {s.weight}", where=self.name, fix="from 0 (dense) to 1 (sparse)"
            )
        if s.k < 0 or s.depth < 1:
            raise TouchstoneError(
                f"k is {s.k} and depth {s.depth}", where=self.name, fix="k >= 0, depth >= 1"
            )

    def part_methods(self) -> tuple[str, ...]:
        """The sparse partner, where it takes part."""
        return () if self.settings.where == "alone" else (self.settings.sparse,)

    def notes(self, task: Task) -> tuple[str, ...]:
        """The model, and what the paper leaves open."""
        return (
            *super().notes(task),
            "(adapted) min-max over each run as in the authors' earlier code, the paper does not say which; "
            "a run of equal scores maps to 1",
        )

    def run(self, task: Task, context: Context) -> Iterator[Answers]:
        """Blocks of BLOCK queries; feedback never takes a document that the task hides."""
        assert isinstance(task, RankTask)
        vectors = self.vectors(task, context)
        parts = [context.first_stage(method) for method in self.part_methods()]
        for items in blocks(task.items, BLOCK):
            with context.meter.phase("search"):
                chosen = [part.select(items) for part in parts]
                queries = vectors.queries(task.select(items))
                yield self._answer(task, vectors, queries, items, chosen)

    def _answer(
        self, task: RankTask, vectors: DenseVectors, queries: Floats, items: Ints, sparse: list[Rankings]
    ) -> Rankings:
        s = self.settings
        first = vectors.rankings(task, items, queries)
        if s.where == "none":
            return self._fused(sparse[0], first, task.spec.depth)
        source = self._fused(sparse[0], first, task.spec.depth) if s.where in ("pre", "both") else first
        moved = self._moved(queries, source.docs[:, : s.k], vectors.documents)
        second = vectors.rankings(task, items, moved)
        return self._fused(sparse[0], second, task.spec.depth) if s.where in ("post", "both") else second

    def _fused(self, sparse: Rankings, dense: Rankings, depth: int) -> Rankings:
        s = self.settings
        sparse, dense = sparse.resized(s.depth), dense.resized(s.depth)
        points = [s.weight * minmax(sparse), (1.0 - s.weight) * self._dense_points(dense)]
        docs = np.concatenate([sparse.docs, dense.docs], axis=1)
        return Rankings(dense.items, *summed(docs, np.concatenate(points, axis=1), depth))

    def _dense_points(self, dense: Rankings) -> Floats64:
        if self.settings.norm == "minmax-both":
            return minmax(dense)
        return np.where(dense.docs == PAD, 0.0, dense.scores.astype(np.float64))

    def _moved(self, queries: Floats, docs: Ints, documents: npt.NDArray[np.float32]) -> Floats:
        s = self.settings
        if s.feedback == "average":
            n = (docs != PAD).sum(axis=1, keepdims=True)
            return rocchio(queries, docs, documents, (1.0 / (1.0 + n), n / (1.0 + n)))
        return rocchio(queries, docs, documents, (np.array(s.alpha), np.array(s.beta)))


def rocchio(
    queries: Floats, docs: Ints, documents: npt.NDArray[np.float32], weights: tuple[Floats64, Floats64]
) -> Floats:
    """alpha q + beta times the mean of the stored vectors of docs int32[q, k]; not normalised again.

    A query without feedback documents keeps its own vector. weights: alpha and beta, scalars or [q, 1].
    """
    held = docs != PAD
    n = held.sum(axis=1, keepdims=True)
    means = (documents[np.where(held, docs, 0)] * held[:, :, None]).sum(axis=1) / np.maximum(n, 1)
    moved = weights[0] * queries + weights[1] * means
    return np.where(n > 0, moved, queries).astype(np.float32)
