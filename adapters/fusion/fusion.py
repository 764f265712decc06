"""Fusion of rankings: reciprocal ranks, or interpolation of min-max normalised scores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from harness.adapter import Adapter, Context, Paper
from harness.answers import Answers, Rankings
from harness.errors import TouchstoneError
from harness.fuse import Floats64, minmax, reciprocal_ranks, summed
from harness.spec import Json, Kind
from harness.tasks.base import Task, blocks
from harness.tasks.rank import RankTask

BLOCK = 512


@dataclass(frozen=True)
class Settings:
    """What to fuse, and how."""

    methods: Annotated[tuple[str, ...], "the methods to fuse, joined by +"] = ("bm25", "dense")
    mode: Annotated[Literal["rrf", "minmax"], "reciprocal rank, or sum of min-max normalised scores"] = "rrf"
    k: Annotated[int, "the constant of reciprocal rank fusion"] = 60
    weights: Annotated[tuple[float, ...], "one weight a method; equal when empty"] = ()
    depth: Annotated[int, "how many documents of each ranking take part"] = 1000


class Fusion(Adapter):
    """Sums what each ranking gives a document; a document missing from a ranking gets 0 from it."""

    name = "fusion"
    family = "fusion"
    kinds = frozenset({Kind.RANK})
    about = "Reciprocal rank fusion, or interpolation of per-query min-max normalised scores."
    paper = Paper(
        "Reciprocal rank fusion outperforms Condorcet and individual rank learning methods",
        2009,
        "https://doi.org/10.1145/1571941.1572114",
    )
    Settings = Settings

    def check(self) -> None:
        """At least two methods, and a weight for each when weights are given."""
        s = self.settings
        if len(s.methods) < 2:
            raise TouchstoneError("fusion needs two methods or more", fix="methods=bm25+dense")
        if s.weights and len(s.weights) != len(s.methods):
            raise TouchstoneError(f"{len(s.weights)} weights for {len(s.methods)} methods", where="fusion")

    def part_methods(self) -> tuple[str, ...]:
        """The fused methods."""
        return tuple(self.settings.methods)

    def made_with(self) -> dict[str, Json]:
        """Nothing beyond the fused runs, which the engine adds."""
        return {}

    def run(self, task: Task, context: Context) -> Iterator[Answers]:
        """Blocks of BLOCK queries."""
        assert isinstance(task, RankTask)
        parts = [context.first_stage(method).resized(self.settings.depth) for method in self.settings.methods]
        weights = self.settings.weights or (1.0 / len(parts),) * len(parts)
        for items in blocks(task.items, BLOCK):
            with context.meter.phase("fuse"):
                chosen = [part.select(items) for part in parts]
                points = [weight * self._points(part) for weight, part in zip(weights, chosen, strict=True)]
                docs = np.concatenate([part.docs for part in chosen], axis=1)
                yield Rankings(items, *summed(docs, np.concatenate(points, axis=1), task.spec.depth))

    def _points(self, part: Rankings) -> Floats64:
        return reciprocal_ranks(part, self.settings.k) if self.settings.mode == "rrf" else minmax(part)
