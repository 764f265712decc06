from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from adapters.language.embedding_choice import closest
from harness.answers import Choices, Floats
from harness.data.mmlu import Question
from harness.execute import Session, read_answers
from harness.models.batching import Progress
from harness.models.profile import Role
from harness.registry import parse_method
from harness.spec import Json, RunSpec
from harness.tasks.choose import ChooseTask
from tests.needs import needs
from tests.test_execute import quiet


class Angles:
    """Texts are angles in degrees."""

    dimension = 2
    device = "cpu"

    @property
    def identity(self) -> dict[str, Json]:
        return {"model": "angles"}

    def encode(self, texts: Sequence[str], role: Role, progress: Progress | None = None) -> Floats:
        turns = np.radians([float(text) for text in texts])
        return np.stack([np.cos(turns), np.sin(turns)], axis=1).astype(np.float32)


def with_questions(session: Session, questions: list[Question]) -> ChooseTask:
    """The quiz with other questions."""
    task = session.task(session.catalog.task("quiz"))
    assert isinstance(task, ChooseTask)
    return replace(task, questions=tuple(questions), items=np.arange(len(questions), dtype=np.int32))


def test_log_softmax_of_cosines_with_different_numbers_of_choices(session: Session) -> None:
    questions = [Question("0", ("90", "0", "180"), 1, "sums"), Question("30", ("90", "30"), 1, "sums")]
    rows: list[list[float]] = [[0, 1, -1], [0.5, 1]]
    found = closest(Angles(), with_questions(session, questions))
    for row, cosines in zip(found.logprobs, rows, strict=True):
        expected = np.array(cosines) - np.log(np.exp(cosines).sum())
        np.testing.assert_allclose(row[: len(cosines)], expected, atol=1e-6)
    assert np.isneginf(found.logprobs[1, 2])
    assert found.logprobs.argmax(axis=1).tolist() == [1, 1]


@needs("minilm")
@pytest.mark.parametrize("block", [1, 256])
def test_minilm_knows_what_is_close(session: Session, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr("adapters.language.embedding_choice.BLOCK", block)
    choices = ("a dog", "a parliament", "a triangle", "a violin")
    questions = [
        Question("Which animal barks?", choices, 0, "words"),
        Question("Which instrument has strings?", choices, 3, "words"),
    ]
    spec = session.catalog.task("quiz")
    session.tasks[spec] = with_questions(session, questions)
    planned = session.plan(RunSpec(parse_method("embedding-choice"), spec))
    answers = read_answers(session.answers(planned, quiet).path)
    assert isinstance(answers, Choices)
    assert answers.logprobs.argmax(axis=1).tolist() == [0, 3]
    np.testing.assert_allclose(np.exp(answers.logprobs).sum(axis=1), 1, atol=1e-5)
