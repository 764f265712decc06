"""PromptReps: how dense and sparse runs are joined."""

from __future__ import annotations

import numpy as np
import pytest

from adapters.dense.promptreps import PromptReps, Settings
from harness.answers import Rankings
from harness.errors import TouchstoneError
from harness.execute import Session, read_answers
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


def test_a_share_beyond_one_is_refused() -> None:
    with pytest.raises(TouchstoneError, match="out of range"):
        PromptReps(Settings(alpha=1.5)).check()


def test_the_page_says_what_it_ran_with() -> None:
    notes = PromptReps(Settings(model="stories260K")).notes(None)  # type: ignore[arg-type]
    assert "stories260K" in notes[0] and "(adapted)" in notes[1]
