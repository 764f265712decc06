"""Multiple-choice tasks: a question, its choices, one right answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np

from harness.answers import Answers, Choices, Doubles, Ints
from harness.data.mmlu import Question
from harness.errors import TouchstoneError
from harness.modes import mode
from harness.scores import Scores
from harness.spec import TaskSpec
from harness.tasks.base import blocks

LETTERS = "ABCDEFGHIJ"
MEASURES = ("Acc", "MacroAcc", "ECE", "Brier")
BINS = 15
GROUPED = frozenset({"MacroAcc"})  # averaged over the means of groups


@dataclass(frozen=True, eq=False)
class ChooseTask:
    """questions of the whole task; examples: the few-shot questions of each group."""

    spec: TaskSpec
    questions: tuple[Question, ...]
    examples: dict[str, tuple[Question, ...]]
    data_digest: str
    items: Ints

    def __post_init__(self) -> None:
        for measure in self.spec.measures:
            if measure not in MEASURES:
                raise TouchstoneError(
                    f"'{measure}' does not fit multiple choice",
                    where=self.spec.name,
                    fix=f"use {', '.join(MEASURES)}",
                )

    @cached_property
    def item_ids(self) -> tuple[str, ...]:
        """``subject/number`` of every question of the whole task, numbers from 0."""
        seen: Counter[str] = Counter()
        names = []
        for question in self.questions:
            names.append(f"{question.group}/{seen[question.group]}")
            seen[question.group] += 1
        return tuple(names)

    def item_name(self, item: int) -> str:
        """``question 'subject/number'``."""
        return f"question '{self.item_ids[item]}'"

    def select(self, items: Ints) -> Self:
        """The same task with fewer items."""
        return replace(self, items=items)

    def question(self, item: int) -> Question:
        """One question."""
        return self.questions[item]

    def prompt(self, item: int, shots: int | None = None) -> str:
        """The standard MMLU prompt (Hendrycks et al. 2021, their evaluation code): subject line, examples,
        question.

        It ends in ``Answer:``; a choice is answered by a space and its letter. *shots* asks for fewer
        examples than the task's.
        """
        return self._head(item, self.spec.shots if shots is None else shots) + _asked(self.questions[item])

    def prior_prompt(self, item: int) -> str:
        """The prompt without its question: subject line, examples, ``Answer:``. What a model would answer
        unasked (the domain premise of Holtzman et al. 2021, section 3).
        """
        return f"{self._head(item, self.spec.shots)}Answer:"

    def shorter_prompts(self, item: int) -> tuple[str, ...]:
        """The prompt with fewer and fewer examples, the last first to go."""
        return tuple(self.prompt(item, shots) for shots in reversed(range(self.spec.shots)))

    def texts(self, item: int) -> tuple[str, ...]:
        """The choices themselves as continuations of *prompt*."""
        return tuple(f" {choice}" for choice in self.questions[item].choices)

    def group_blocks(self, least: int, most: int) -> Iterator[Ints]:
        """This view's items in runs of one or several whole groups, from *least* on, larger groups cut at
        *most*: what shares a prompt's beginning stays together.
        """
        if mode().single_items:
            yield from blocks(self.items, 1)
            return
        names = [self.questions[item].group for item in self.items]
        changes = [place for place in range(1, len(names)) if names[place] != names[place - 1]]
        start = 0
        for end in (*changes, len(names)):
            while end - start > most:
                yield self.items[start : start + most]
                start += most
            if end - start >= least or (end == len(names) and end > start):
                yield self.items[start:end]
                start = end

    def _head(self, item: int, shots: int) -> str:
        group = self.questions[item].group
        head = (
            f"The following are multiple choice questions (with answers) about {group.replace('_', ' ')}.\n\n"
        )
        examples = self.examples.get(group, ())[:shots]
        return head + "".join(f"{_asked(one)} {LETTERS[one.answer]}\n\n" for one in examples)

    def labels(self, item: int) -> tuple[str, ...]:
        """The continuations that answer *prompt*: `` A``, `` B``, ..."""
        return tuple(f" {LETTERS[i]}" for i in range(len(self.questions[item].choices)))

    def chance(self) -> float:
        """Expected accuracy of guessing."""
        return float(np.mean([1 / len(self.questions[item].choices) for item in self.items]))

    def check(self, answers: Answers) -> Choices:
        """Well-formed log-probabilities, one for each choice."""
        if not isinstance(answers, Choices):
            raise TouchstoneError(
                f"expected choices, got {type(answers).__name__.lower()}", where=self.spec.name
            )
        checked = answers.checked(self.item_name)
        wide = max(len(self.questions[item].choices) for item in checked.items) if len(checked) else 0
        if checked.logprobs.shape[1] < wide:
            raise TouchstoneError(
                f"{checked.logprobs.shape[1]} log-probabilities for {wide} choices", where=self.spec.name
            )
        return checked

    def score(self, answers: Answers) -> Scores:
        """Every measure of the spec for this view's items; of equally likely choices the first is taken.

        Acc: the likeliest choice is right; MacroAcc: the mean over groups of that. Brier: squared distance of
        the choices' probabilities (a softmax over the choices) from the right answer. ECE: expected
        calibration error in BINS bins of the highest probability (Guo et al. 2017); an item's value is its
        share, right minus confident with the sign of its bin, so that the mean is the error. A missing answer
        is wrong, and as sure of it as one can be.
        """
        choices = self.check(answers)
        rows = np.searchsorted(choices.items, self.items).clip(max=max(0, len(choices.items) - 1))
        here = np.isin(self.items, choices.items)
        gold = np.array([self.questions[item].answer for item in self.items])
        right, sure, brier = np.zeros(len(gold)), np.ones(len(gold)), np.full(len(gold), 2.0)
        logprobs = choices.logprobs[rows[here]].astype(np.float64)
        share = np.exp(logprobs - np.logaddexp.reduce(logprobs, axis=1, keepdims=True))
        right[here], sure[here] = logprobs.argmax(axis=1) == gold[here], share.max(axis=1, initial=0)
        truth = np.arange(share.shape[1]) == gold[here][:, None]
        brier[here] = ((share - truth) ** 2).sum(axis=1)
        columns = {"Acc": right, "MacroAcc": right, "Brier": brier, "ECE": _calibration(right, sure)}
        names = {name: number for number, name in enumerate(dict.fromkeys(q.group for q in self.questions))}
        groups = np.array([names[self.questions[item].group] for item in self.items], np.int32)
        values = np.stack([columns[measure] for measure in self.spec.measures], axis=1)
        counts = {"missing": int(len(self.items) - np.isin(self.items, choices.items).sum())}
        return Scores(self.items, self.spec.measures, values, groups, GROUPED, counts)


def _calibration(right: Doubles, sure: Doubles) -> Doubles:
    """float64[n] whose mean is the expected calibration error."""
    which = np.minimum((sure * BINS).astype(np.int64), BINS - 1)
    gap = right - sure
    signs = np.sign(np.bincount(which, gap, BINS))
    shares: Doubles = gap * signs[which]
    return shares


def _asked(question: Question) -> str:
    lines = [
        question.text,
        *(f"{LETTERS[i]}. {choice}" for i, choice in enumerate(question.choices)),
        "Answer:",
    ]
    return "\n".join(lines)
