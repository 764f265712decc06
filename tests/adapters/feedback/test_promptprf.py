"""PromptPRF: no feedback is PromptReps, features know no query, and each is made once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.feedback.promptprf import PromptPrf, Settings
from harness.answers import Rankings
from harness.errors import TouchstoneError
from harness.execute import Session, read_answers
from harness.models.language import LanguageModelSpec, load_language_model
from harness.registry import parse_method
from harness.spec import RunSpec
from tests.models.model_server import serving
from tests.models.tiny import write_language_model
from tests.needs import needs
from tests.test_execute import quiet

pytestmark = needs("torch")
SHORT = "feature_tokens=8,passage_words=8"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_language_model(tmp_path_factory.mktemp("lm") / "llama", window=512, family="llama"))


def planned_of(session: Session, method: str) -> Any:
    return session.plan(RunSpec(parse_method(method), session.catalog.task("toy")))


def ranked(session: Session, method: str) -> Rankings:
    found = read_answers(session.answers(planned_of(session, method), quiet).path)
    assert isinstance(found, Rankings)
    return found


def test_without_feedback_it_is_promptreps(session: Session, folder: str) -> None:
    alone = ranked(session, f"promptreps(model={folder},mode=dense)")
    none = ranked(session, f"promptprf(model={folder},depth=0)")
    assert np.array_equal(alone.docs, none.docs) and np.array_equal(alone.scores, none.scores)


def test_empty_features_leave_the_prompt_alone(
    session: Session, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = ranked(session, f"promptreps(model={folder},mode=dense)")
    monkeypatch.setattr(PromptPrf, "_asked", lambda self, texts, model: [""] * len(texts))
    found = ranked(session, f"promptprf(model={folder},depth=2,{SHORT})")
    assert np.array_equal(alone.docs, found.docs)


def test_a_feature_is_made_once_a_document_and_sees_no_query(
    session: Session, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    asked = PromptPrf._asked

    def listen(self: PromptPrf, texts: list[str], model: Any) -> list[str]:
        seen.extend(texts)
        return asked(self, texts, model)

    monkeypatch.setattr(PromptPrf, "_asked", listen)
    method = f"promptprf(model={folder},depth=3,{SHORT})"
    first = ranked(session, method)
    assert len(seen) == len(set(seen)) <= 30
    documents = set(session.task(session.catalog.task("toy")).corpus.texts(0, 30))  # type: ignore[union-attr]
    assert set(seen) <= documents
    assert session.plan(RunSpec(parse_method(method), session.catalog.task("toy"))).id
    before = len(seen)
    assert np.array_equal(ranked(session, method).docs, first.docs)
    assert len(seen) == before


@pytest.mark.parametrize("feedback", ["judged", "random"])
def test_bounds_use_other_documents(session: Session, folder: str, feedback: str) -> None:
    found = ranked(session, f"promptprf(model={folder},depth=2,feedback={feedback},{SHORT})")
    assert (found.docs[:, 0] >= 0).all()


def test_blocks_are_in_rank_order_and_cut(folder: str, session: Session) -> None:
    planned = planned_of(session, f"promptprf(model={folder},feature_tokens=3,block_tokens=40)")
    model = session.context(planned, quiet).language_model(planned.adapter.settings.extractor_spec())
    block = planned.adapter._block(["dog house tree", "", "cat"], model)
    assert block.startswith("Related keywords from top documents: 1)")
    assert "3) cat"[:4] in block or len(model.encode(block)) >= 40
    assert "2)" not in block


def test_features_of_a_model_behind_a_server(session: Session, folder: str, tmp_path: Path) -> None:
    with serving(load_language_model(LanguageModelSpec(folder))) as server:
        there = planned_of(session, f"promptprf(model={folder},extractor={server.name},{SHORT})")
        found = read_answers(session.answers(there, quiet).path)
        assert any("chat" in call for call in server.calls)
    assert isinstance(found, Rankings) and (found.docs[:, 0] >= 0).all()
    one = planned_of(session, f"promptprf(model={folder})").adapter.need(there.task)
    assert there.adapter.need(there.task) == one  # a server takes no memory here
    other = write_language_model(tmp_path / "other", window=256)
    two = planned_of(session, f"promptprf(model={folder},extractor={other})").adapter.need(there.task)
    assert two.device_bytes > one.device_bytes and one.model in two.model.split(" and ")


def test_settings_that_mean_nothing() -> None:
    with pytest.raises(TouchstoneError, match="out of range"):
        PromptPrf(Settings(depth=-1)).check()
