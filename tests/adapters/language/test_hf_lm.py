from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.adapter import RUNTIME_BYTES
from harness.answers import Choices
from harness.errors import TouchstoneError
from harness.execute import Session, read_answers
from harness.models.language import LanguageModelSpec, Request, load_language_model
from harness.registry import make_adapter, parse_method
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


@pytest.mark.parametrize("settings", ["answer=text", "normalise=prior", "answer=text,normalise=characters"])
def test_other_ways_to_answer(session: Session, tmp_path: Path, settings: str) -> None:
    folder = write_language_model(tmp_path / "lm", window=1024)
    run = RunSpec(parse_method(f"hf-lm(model={folder},{settings})"), session.catalog.task("quiz"))
    planned = session.plan(run)
    record = session.execute(planned, quiet)
    answers, task = read_answers(session.answers(planned, quiet).path), planned.task
    assert isinstance(answers, Choices) and isinstance(task, ChooseTask)
    model = load_language_model(LanguageModelSpec(str(folder)))
    texts = (" one", " two", " three", " four") if "text" in settings else (" A", " B", " C", " D")
    (plain,) = model.continuation_logprobs([Request(task.prompt(4), texts)])
    if "prior" in settings:
        plain = plain - model.continuation_logprobs([Request(task.prior_prompt(4), texts)])[0]
    if "characters" in settings:
        plain = plain / np.array([3, 3, 5, 4])
    shift = answers.logprobs[4] - plain
    np.testing.assert_allclose(shift, shift[0], atol=1e-4)
    assert any(settings.split("=")[-1] in note for note in record.notes)


def test_examples_are_left_out_where_they_do_not_fit(session: Session, tmp_path: Path) -> None:
    """The window holds the prompt with one example, not with two."""
    wide = load_language_model(LanguageModelSpec(str(write_language_model(tmp_path / "wide", 1024))))
    task = session.task(session.catalog.task("quiz"))
    assert isinstance(task, ChooseTask)
    window = max(len(wide.encode(task.prompt(item, 1))) for item in range(9))
    folder = write_language_model(tmp_path / "lm", window=window)
    run = RunSpec(parse_method(f"hf-lm(model={folder})"), task.spec)
    planned = session.plan(run)
    record = session.execute(planned, quiet)
    assert record.counts["questions with fewer examples, to fit the model's window"] == 9
    assert "prompts cut to the model's window" not in record.counts
    answers = read_answers(session.answers(planned, quiet).path)
    assert isinstance(answers, Choices)
    model = load_language_model(LanguageModelSpec(str(folder)))
    (expected,) = model.continuation_logprobs([Request(task.prompt(3, 1), (" A", " B", " C", " D"))])
    np.testing.assert_allclose(answers.logprobs[3], expected, atol=1e-4)


def test_a_server_answers_like_the_model_it_serves(session: Session, tmp_path: Path) -> None:
    from tests.models.model_server import serving

    local = load_language_model(LanguageModelSpec(str(write_language_model(tmp_path / "lm", 1024))))
    with serving(local, window=1024) as server:
        run = RunSpec(parse_method(f"hf-lm(model={server.name})"), session.catalog.task("quiz"))
        planned = session.plan(run)
        answers, task = read_answers(session.answers(planned, quiet).path), planned.task
    assert isinstance(answers, Choices) and isinstance(task, ChooseTask)
    requests = [Request(task.prompt(item), task.labels(item)) for item in range(9)]
    np.testing.assert_allclose(answers.logprobs, np.stack(local.continuation_logprobs(requests)), atol=1e-4)


def test_need_is_the_weights_of_a_model_here(session: Session, tmp_path: Path) -> None:
    folder = write_language_model(tmp_path / "lm")
    task = session.task(session.catalog.task("quiz"))
    need = make_adapter(parse_method(f"hf-lm(model={folder})")).need(task)
    assert need.bytes - RUNTIME_BYTES == sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    assert need.device_bytes == need.bytes and need.model
    assert make_adapter(parse_method("hf-lm(model=http://127.0.0.1:9/v1#x)")).need(task).bytes == 0


@pytest.mark.parametrize("settings", ["stride=-1", "model=no/such/folder"])
def test_what_cannot_run_says_so(session: Session, settings: str) -> None:
    with pytest.raises(TouchstoneError, match=r"stride is -1|no such model folder"):
        session.plan(RunSpec(parse_method(f"hf-lm({settings})"), session.catalog.task("quiz")))
