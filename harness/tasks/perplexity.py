"""Perplexity: how well a language model predicts texts, whole and in order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from harness.answers import Answers, Doubles, Ints, TokenLosses
from harness.errors import TouchstoneError
from harness.scores import Scores
from harness.spec import TaskSpec

LOGLIK = "-BPB"
UNITS = {LOGLIK: "byte", "BytePPL": "byte", "WordPPL": "word", "TokenPPL": "token"}
EXPONENTIAL = frozenset({"BytePPL", "WordPPL", "TokenPPL"})


@dataclass(frozen=True, eq=False)
class PerplexityTask:
    """names and texts of the whole task, position by position.

    Measures are ratios of sums over all texts, not means of the texts' own ratios. -BPB is minus bits per
    byte, so that more is better; BytePPL, WordPPL and TokenPPL are perplexities per UTF-8 byte, per word
    between white space and per token. Perplexities per token compare models of one tokenizer only.
    """

    spec: TaskSpec
    names: tuple[str, ...]
    texts: tuple[str, ...]
    data_digest: str
    items: Ints

    def __post_init__(self) -> None:
        for measure in self.spec.measures:
            if measure not in UNITS:
                raise TouchstoneError(
                    f"'{measure}' does not fit perplexity",
                    where=self.spec.name,
                    fix=f"use {', '.join(UNITS)}",
                )

    @property
    def item_ids(self) -> tuple[str, ...]:
        """The texts' names."""
        return self.names

    def item_name(self, item: int) -> str:
        """``text 'name'``."""
        return f"text '{self.names[item]}'"

    def select(self, items: Ints) -> Self:
        """The same task with fewer items."""
        return replace(self, items=items)

    def text(self, item: int) -> str:
        """One text."""
        return self.texts[item]

    def check(self, answers: Answers) -> TokenLosses:
        """Well-formed losses, one or more for each text."""
        if not isinstance(answers, TokenLosses):
            raise TouchstoneError(
                f"expected token losses, got {type(answers).__name__.lower()}", where=self.spec.name
            )
        return answers.checked(self.item_name)

    def score(self, answers: Answers) -> Scores:
        """A text's value is its share of the ratio: losses (nats; bits for -BPB) by the mean count of units,
        so that the mean over texts is the ratio of sums. A missing text is an error: no loss stands for it.
        """
        losses = self.check(answers)
        missing = self.items[~np.isin(self.items, losses.items)]
        if len(missing):
            raise TouchstoneError("a text has no losses", where=self.item_name(int(missing[0])))
        chosen = losses.select(self.items)
        sums, tokens = chosen.sums, np.diff(chosen.starts).astype(np.float64)
        texts = [self.texts[item] for item in self.items]
        counts = {
            "byte": np.array([len(text.encode()) for text in texts], np.float64),
            "word": np.array([len(text.split()) for text in texts], np.float64),
            "token": tokens,
        }
        columns: list[Doubles] = []
        for measure in self.spec.measures:
            share = sums / counts[UNITS[measure]].mean()
            columns.append(share if measure in EXPONENTIAL else -share / np.log(2.0))
        whole = {f"{unit}s": int(count.sum()) for unit, count in counts.items()}
        return Scores(
            self.items,
            self.spec.measures,
            np.stack(columns, axis=1),
            counts={"missing": 0, **whole},
            exponential=EXPONENTIAL,
        )
