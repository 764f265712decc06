"""The floor: a random ranking or choice, the same for the same seed whatever was done before."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from harness.adapter import Adapter, Context
from harness.answers import Answers, Choices, Rankings
from harness.errors import TouchstoneError
from harness.spec import Kind
from harness.tasks.base import Task, blocks
from harness.tasks.choose import ChooseTask
from harness.tasks.rank import RankTask

BLOCK = 256


class Random(Adapter):
    """Answers drawn at random, one stream of numbers an item."""

    name = "random"
    family = "bounds"
    kinds = frozenset({Kind.RANK, Kind.CHOOSE})
    about = "Random answers: the floor that every method must beat."
    bound = True

    def run(self, task: Task, context: Context) -> Iterator[Answers]:
        """Blocks of BLOCK items."""
        for items in blocks(task.items, BLOCK):
            generators = [np.random.default_rng([context.seed, int(item)]) for item in items]
            if isinstance(task, RankTask):
                depth = task.search_depth
                docs = np.stack(
                    [g.choice(len(task.corpus), depth, replace=False, shuffle=False) for g in generators]
                )
                points = np.stack([g.random(depth, np.float32) for g in generators])
                yield Rankings(items, docs.astype(np.int32), points)
            elif isinstance(task, ChooseTask):
                rows = [
                    g.random(len(task.question(int(i)).choices))
                    for g, i in zip(generators, items, strict=True)
                ]
                yield Choices(items, stacked_logprobs(rows))
            else:
                raise TouchstoneError(f"random cannot answer a task of kind {task.spec.kind}")


def stacked_logprobs(rows: list[np.ndarray]) -> np.ndarray:
    """Rows of positive weights as log-probabilities float32[n, c], padded with -inf."""
    wide = max(len(row) for row in rows)
    out = np.full((len(rows), wide), -np.inf, np.float32)
    for number, row in enumerate(rows):
        out[number, : len(row)] = np.log(row / row.sum())
    return out
