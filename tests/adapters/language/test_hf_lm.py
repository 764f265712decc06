from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.answers import Choices
from harness.execute import Session, read_answers
from harness.models.language import LanguageModelSpec, Request, load_language_model
from harness.registry import parse_method
from harness.spec import RunSpec
from harness.tasks.choose import ChooseTask
from tests.models.tiny import write_language_model
from tests.needs import DATA, needs
from tests.test_execute import quiet

pytestmark = needs("torch")


def test_choices_are_scored_by_the_letter_after_the_prompt(session: Session, tmp_path: Path) -> None:
    folder = write_language_model(tmp_path / "lm", window=1024)
    planned = session.plan(RunSpec(parse_method(f"hf-lm(model={folder})"), session.catalog.task("quiz")))
    answers, task = read_answers(session.answers(planned, quiet).path), planned.task
    assert isinstance(answers, Choices)
    assert isinstance(task, ChooseTask)
    assert answers.logprobs.shape == (9, 4)
    model = load_language_model(LanguageModelSpec(str(folder)))
    for item in (0, 8):
        (expected,) = model.continuation_logprobs([Request(task.prompt(item), (" A", " B", " C", " D"))])
        np.testing.assert_allclose(answers.logprobs[item], expected, atol=1e-5)
    assert model.truncated == 0


def test_cut_prompts_are_counted_in_the_record(session: Session, tmp_path: Path) -> None:
    folder = write_language_model(tmp_path / "lm", window=32)
    run = RunSpec(parse_method(f"hf-lm(model={folder})"), session.catalog.task("quiz"))
    record = session.execute(session.plan(run), quiet)
    assert record.counts["prompts cut to the model's window"] == 9


@needs("data")
def test_a_real_model_answers_real_questions(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOUCHSTONE_DATA", str(session.assets.root.parent / "mirror"))
    checkpoint = DATA / "models" / "stories260K" / "stories260K.bin"
    run = RunSpec(parse_method(f"hf-lm(model={checkpoint})"), session.catalog.task("quiz"))
    planned = session.plan(run)
    answers = read_answers(session.answers(planned, quiet).path)
    assert isinstance(answers, Choices)
    assert (answers.logprobs < 0).all()
    assert len(np.unique(answers.logprobs)) == answers.logprobs.size
