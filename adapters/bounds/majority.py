"""The answer given most often in the examples, to every question."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from harness.adapter import Adapter, Context
from harness.answers import Answers, Choices
from harness.spec import Kind
from harness.tasks.base import Task, blocks
from harness.tasks.choose import ChooseTask

BLOCK = 1024


class Majority(Adapter):
    """The most frequent letter among the examples of the question's subject (never the test questions);
    ties to the first.
    """

    name = "majority"
    family = "bounds"
    kinds = frozenset({Kind.CHOOSE})
    about = "The most frequent answer among the subject's examples, given to every question of the subject."
    bound = True

    def run(self, task: Task, context: Context) -> Iterator[Answers]:
        """Blocks of BLOCK questions."""
        assert isinstance(task, ChooseTask)
        counts = {group: Counter(q.answer for q in shots) for group, shots in task.examples.items()}
        for items in blocks(task.items, BLOCK):
            wide = max(len(task.question(int(item)).choices) for item in items)
            weights = np.zeros((len(items), wide))
            for row, item in enumerate(items):
                for letter, count in counts.get(task.question(int(item)).group, Counter()).items():
                    weights[row, letter] = count
            yield Choices(
                items, np.log((weights + 1) / (weights + 1).sum(axis=1, keepdims=True)).astype(np.float32)
            )
