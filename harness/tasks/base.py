"""What a task offers to an adapter and to the engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, Self

from harness.answers import Answers, Ints
from harness.modes import mode
from harness.scores import Scores
from harness.spec import TaskSpec


class Task(Protocol):
    """A task, or the part of one that is still to do. Items are positions in the whole task."""

    @property
    def spec(self) -> TaskSpec:
        """What the task is."""

    @property
    def items(self) -> Ints:
        """The items of this view."""

    @property
    def data_digest(self) -> str:
        """Digest of everything read: texts, judgements, order."""

    @property
    def item_ids(self) -> tuple[str, ...]:
        """Text ids of the whole task's items, by position."""

    def item_name(self, item: int) -> str:
        """How a message names the item."""

    def select(self, items: Ints) -> Self:
        """A view of some of the items."""

    def check(self, answers: Answers) -> Answers:
        """The answers in canonical form, or an error that names the item."""

    def score(self, answers: Answers) -> Scores:
        """One row for each item of this view."""


def blocks(items: Ints, size: int) -> Iterator[Ints]:
    """*items* in runs of at most *size*; of one in the mode of single items."""
    size = 1 if mode().single_items else size
    for start in range(0, len(items), size):
        yield items[start : start + size]
