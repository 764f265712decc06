"""The ceiling: the judgements themselves as answers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from harness.adapter import Adapter, Context
from harness.answers import PAD, Answers, Choices, Rankings
from harness.errors import TouchstoneError
from harness.spec import Kind
from harness.tasks.base import Task, blocks
from harness.tasks.choose import ChooseTask
from harness.tasks.rank import RankTask

BLOCK = 256


class Oracle(Adapter):
    """Reads the judgements, so it is a bound and no method: what a perfect answer scores on each measure."""

    name = "oracle"
    family = "bounds"
    kinds = frozenset({Kind.RANK, Kind.CHOOSE})
    about = "Perfect answers read from the judgements: the ceiling of each measure on each task."
    bound = True

    def run(self, task: Task, context: Context) -> Iterator[Answers]:
        """Blocks of BLOCK items."""
        for items in blocks(task.items, BLOCK):
            if isinstance(task, RankTask):
                yield _best_ranking(task.select(items))
            elif isinstance(task, ChooseTask):
                yield _right_choices(task.select(items))
            else:
                raise TouchstoneError(f"oracle cannot answer a task of kind {task.spec.kind}")


def _best_ranking(task: RankTask) -> Rankings:
    docs = np.full((len(task.items), task.spec.depth), PAD, np.int32)
    scores = np.full(docs.shape, -np.inf, np.float32)
    for row, item in enumerate(task.items):
        judged, grades = task.relevant(int(item))
        known = (grades > 0) & (judged < len(task.corpus))
        best = np.argsort(-grades[known], kind="stable")[: task.spec.depth]
        docs[row, : len(best)] = judged[known][best]
        scores[row, : len(best)] = grades[known][best]
    return Rankings(task.items, docs, scores)


def _right_choices(task: ChooseTask) -> Choices:
    wide = max(len(task.question(int(item)).choices) for item in task.items)
    logprobs = np.full((len(task.items), wide), -np.inf, np.float32)
    for row, item in enumerate(task.items):
        logprobs[row, task.question(int(item)).answer] = 0.0
    return Choices(task.items, logprobs)
