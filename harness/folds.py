"""What a method may learn from: queries that are scored are never trained on.

A task has no training queries of its own here, so ``cross_fit`` splits its queries into folds, and each query
is answered by the module of the fold that did not see it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.answers import Ints, Rankings
from harness.errors import TouchstoneError
from harness.measures import parse_measure
from harness.spec import digest
from harness.tasks.rank import RankTask


@dataclass(frozen=True, eq=False)
class Fold:
    """Item numbers int32: train to learn from, dev to stop and set thresholds by, test to answer."""

    train: Ints
    dev: Ints
    test: Ints


def cross_fit(names: Sequence[str], folds: int = 5, dev: float = 0.25, seed: int = 0) -> list[Fold]:
    """The items 0..n-1 in *folds* parts by the digests of their *names*; each part is one fold's test.

    Of the others, a share *dev* is held out for early stopping and thresholds (one item at least). The
    split rests on names and seed alone. Fewer than three items are a TouchstoneError.
    """
    n = len(names)
    if n < 3 or folds < 2 or not 0.0 < dev < 1.0:
        raise TouchstoneError(
            f"cannot split {n} queries into {folds} folds",
            why="each fold needs a query to train on, one to stop by and one to answer",
        )
    order = np.array(sorted(range(n), key=lambda item: digest([names[item], seed])), np.int32)
    count = min(folds if n > 3 else 3, n)
    parts = [order[number::count] for number in range(count)]
    found = []
    for number, part in enumerate(parts):
        others = np.concatenate([other for place, other in enumerate(parts) if place != number])
        held = min(len(others) - 1, max(1, round(dev * len(others))))
        found.append(Fold(np.sort(others[held:]), np.sort(others[:held]), np.sort(part)))
    return found


def assigned(task: RankTask, folds: int) -> Iterator[tuple[int, Fold, Ints]]:
    """(number, fold, items of this view that the fold answers), without folds that have none here."""
    for number, fold in enumerate(cross_fit(task.query_ids, folds)):
        items = task.items[np.isin(task.items, fold.test)]
        if len(items):
            yield number, fold, items


def folds_note(folds: int) -> str:
    """What a run's page says of cross-fitting."""
    return f"(adapted) learned from the task's own queries, {folds}-fold: what answers a query never saw it"


def relevant_grade(task: RankTask) -> int:
    """The smallest grade that counts as relevant: the largest ``rel`` among the task's binary measures."""
    return max((parse_measure(name).rel for name in task.spec.measures if "KILT" not in name), default=1)


def positives(task: RankTask, items: Ints) -> list[Ints]:
    """For each item, its relevant documents that the corpus holds (see ``relevant_grade``)."""
    least, found = relevant_grade(task), []
    for item in items.tolist():
        docs, grades = task.relevant(item)
        found.append(docs[(grades >= least) & (docs < len(task.corpus))])
    return found


def relevance(task: RankTask, ranked: Rankings) -> npt.NDArray[np.bool_]:
    """bool[n, k]: which ranked documents are relevant (see ``relevant_grade``)."""
    wanted = positives(task, ranked.items)
    found = [np.isin(docs, own) for docs, own in zip(ranked.docs, wanted, strict=True)]
    return np.array(found, bool).reshape(ranked.docs.shape)
