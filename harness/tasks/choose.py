"""Multiple-choice tasks: a question, its choices, one right answer."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np

from harness.answers import Answers, Choices, Ints
from harness.data.mmlu import Question
from harness.errors import TouchstoneError
from harness.scores import Scores
from harness.spec import TaskSpec

LETTERS = "ABCDEFGHIJ"
MEASURES = ("Acc", "MacroAcc")
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
                    fix=f"use {' or '.join(MEASURES)}",
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

    def prompt(self, item: int) -> str:
        """The standard MMLU prompt (Hendrycks et al. 2021, their evaluation code): subject line, examples,
        question.

        It ends in ``Answer:``; a choice is answered by a space and its letter.
        """
        question = self.questions[item]
        subject = question.group.replace("_", " ")
        head = f"The following are multiple choice questions (with answers) about {subject}.\n\n"
        shots = [
            f"{_asked(example)} {LETTERS[example.answer]}\n\n"
            for example in self.examples.get(question.group, ())[: self.spec.shots]
        ]
        return head + "".join(shots) + _asked(question)

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
        """Accuracy of the most likely choice; of equally likely ones the first. A missing answer is wrong."""
        choices = self.check(answers)
        right = np.zeros(len(self.questions))
        best = choices.logprobs.argmax(axis=1)
        gold = np.array([self.questions[item].answer for item in choices.items])
        right[choices.items] = best == gold
        names = {name: number for number, name in enumerate(dict.fromkeys(q.group for q in self.questions))}
        groups = np.array([names[self.questions[item].group] for item in self.items], np.int32)
        values = np.repeat(right[self.items][:, None], len(self.spec.measures), axis=1)
        counts = {"missing": int(len(self.items) - np.isin(self.items, choices.items).sum())}
        return Scores(self.items, self.spec.measures, values, groups, GROUPED, counts)


def _asked(question: Question) -> str:
    lines = [
        question.text,
        *(f"{LETTERS[i]}. {choice}" for i, choice in enumerate(question.choices)),
        "Answer:",
    ]
    return "\n".join(lines)
