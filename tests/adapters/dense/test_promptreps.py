"""PromptReps: how dense and sparse runs are joined."""

from __future__ import annotations

import numpy as np
import pytest

from adapters.dense.promptreps import PromptReps, Settings
from harness.adapter import Need
from harness.answers import Rankings
from harness.errors import TouchstoneError
from harness.execute import Session, read_answers
from harness.models.language import LanguageModelSpec
from harness.registry import parse_method
from harness.spec import RunSpec
from tests.models.tiny import write_language_model
from tests.needs import needs
from tests.test_execute import quiet

pytestmark = needs("torch")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_language_model(tmp_path_factory.mktemp("lm") / "llama", window=512, family="llama"))


def ranked(session: Session, method: str) -> Rankings:
    planned = session.plan(RunSpec(parse_method(method), session.catalog.task("toy")))
    found = read_answers(session.answers(planned, quiet).path)
    assert isinstance(found, Rankings)
    return found


@pytest.mark.parametrize(("alpha", "mode"), [("1.0", "dense"), ("0.0", "sparse")])
def test_all_of_one_share_is_that_run(session: Session, folder: str, alpha: str, mode: str) -> None:
    hybrid = ranked(session, f"promptreps(model={folder},alpha={alpha})")
    alone = ranked(session, f"promptreps(model={folder},mode={mode})")
    for both, one in zip(hybrid.docs, alone.docs, strict=True):
        found = one[one >= 0]
        points = min(len(found), 5)
        if mode == "dense":
            assert both[:points].tolist() == found[:points].tolist()
        else:
            assert set(found[:1].tolist()) <= set(both.tolist())


def test_a_vector_a_token_ranks_too(session: Session, folder: str) -> None:
    found = ranked(session, f"promptreps(model={folder},mode=dense,variant=multi-token-reps)")
    assert (found.docs[:, 0] >= 0).all() and np.isfinite(found.scores[:, 0]).all()


def test_it_asks_for_the_models_memory_on_an_accelerator(session: Session, folder: str) -> None:
    planned = session.plan(RunSpec(parse_method(f"promptreps(model={folder})"), session.catalog.task("toy")))
    need = planned.adapter.need(planned.task)
    model = Need.of_language_model(LanguageModelSpec(folder))
    assert need.model == model.model and need.device_bytes == model.device_bytes > 2_000_000_000
    assert need.bytes > model.bytes and not session.assets.has(need.assets[0])
    session.answers(planned, quiet)
    assert session.assets.has(need.assets[0])


def test_a_share_beyond_one_is_refused() -> None:
    with pytest.raises(TouchstoneError, match="out of range"):
        PromptReps(Settings(alpha=1.5)).check()


def test_the_page_says_what_it_ran_with() -> None:
    notes = PromptReps(Settings(model="stories260K")).notes(None)  # type: ignore[arg-type]
    assert "stories260K" in notes[0] and "(adapted)" in notes[1]
