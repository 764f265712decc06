"""Tasks that ask for a written answer and the pages that it rests on, scored as KILT scores them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np

from harness.answers import Answers, Ints, Texts
from harness.data.corpus import Corpus
from harness.data.kilt import KiltItem
from harness.errors import TouchstoneError
from harness.kilt_scores import item_scorer
from harness.scores import Scores
from harness.spec import TaskSpec


@dataclass(frozen=True, eq=False)
class GenerateTask:
    """entries: all items of the task. corpus: the documents to read, None where they are not here.

    A method that ranks documents for the same items runs on ``spec.as_ranking()``.
    """

    spec: TaskSpec
    entries: tuple[KiltItem, ...]
    corpus: Corpus | None
    data_digest: str
    items: Ints

    def __post_init__(self) -> None:
        item_scorer(self.spec.measures)

    @cached_property
    def item_ids(self) -> tuple[str, ...]:
        """The ids of the whole task's items."""
        return tuple(entry.id for entry in self.entries)

    def item_name(self, item: int) -> str:
        """``item 'id'``."""
        return f"item '{self.entries[item].id}'"

    def select(self, items: Ints) -> Self:
        """The same task with fewer items."""
        return replace(self, items=items)

    def inputs(self) -> list[str]:
        """The questions, claims or dialogues of this view's items, in order."""
        return [self.entries[item].input for item in self.items]

    def documents(self) -> Corpus:
        """The corpus; a TouchstoneError where it is not here."""
        if self.corpus is None:
            raise TouchstoneError(
                "the documents to read are not here",
                where=self.spec.name,
                fix="complete the dataset, or score answers made elsewhere with `touchstone score`",
            )
        return self.corpus

    def check(self, answers: Answers) -> Texts:
        """Well-formed texts, stripped; of a page named twice the first stands."""
        if not isinstance(answers, Texts):
            raise TouchstoneError(
                f"expected texts, got {type(answers).__name__.lower()}", where=self.spec.name
            )
        checked = answers.checked(self.item_name)
        texts = tuple(text.strip() for text in checked.texts)
        return Texts(checked.items, texts, tuple(tuple(dict.fromkeys(pages)) for pages in checked.pages))

    def score(self, answers: Answers) -> Scores:
        """Every measure of the spec for this view's items; missing and empty answers are counted.

        A missing answer has 0 everywhere, an empty one the page measures of its provenance.
        """
        texts = self.check(answers)
        score = item_scorer(self.spec.measures)
        values = np.zeros((len(self.entries), len(self.spec.measures)))
        for item, text, pages in zip(texts.items.tolist(), texts.texts, texts.pages, strict=True):
            entry = self.entries[item]
            values[item] = score(text, pages, entry.answers, entry.evidence)
        counts = {
            "missing": int(len(self.items) - np.isin(self.items, texts.items).sum()),
            "empty": sum(not text for text in texts.texts),
        }
        return Scores(self.items, tuple(self.spec.measures), values[self.items], counts=counts)
