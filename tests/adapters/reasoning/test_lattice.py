"""LATTICE end to end on the toy corpus, with a language model that knows."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.reasoning.lattice import Lattice, Settings
from harness.errors import TouchstoneError
from harness.execute import Session
from harness.models.language import LanguageModelSpec
from harness.registry import parse_method
from harness.spec import RunSpec
from tests.models.tiny import write_language_model
from tests.needs import needs
from tests.test_execute import quiet

pytestmark = needs("minilm")


@pytest.fixture
def language(tmp_path: Path) -> str:
    """A tiny random language model."""
    return str(write_language_model(tmp_path / "language", window=256))


@dataclass
class Knowing:
    """Scores a candidate by the words it shares with the query; answers in JSON."""

    prompts: list[str] = field(default_factory=list)

    def generate(self, prompt: Any, max_new_tokens: int) -> str:
        text = prompt.messages[-1].content
        self.prompts.append(text)
        query = set(re.search(r"^Query: (.*)$", text, re.MULTILINE)[1].lower().split())  # type: ignore[index]
        rows = re.findall(r"^\[(\d+)\] (.*)$", text, re.MULTILINE)
        scores = [
            [int(n), 100 * len(query & set(re.findall(r"\w+", t.lower()))) / len(query)] for n, t in rows
        ]
        return "Let me think. " + json.dumps({"reasoning": "", "ranking": [], "relevance_scores": scores})


def ranked(session: Session, method: str, judge: Knowing | None = None) -> tuple[Any, Any]:
    planned = session.plan(RunSpec(parse_method(method), session.catalog.task("toy")))
    context = session.context(planned, quiet)
    if judge is not None:
        spec: LanguageModelSpec = planned.adapter.settings.language_spec("cpu")
        context.kept[spec] = judge
    answers = [planned.task.check(part) for part in planned.adapter.run(planned.task, context)]
    return planned.task, answers[0], context.meter  # type: ignore[return-value]


def test_a_knowing_model_finds_every_topic(session: Session, language: str) -> None:
    judge = Knowing()
    method = f"lattice(language_model={language},branching=4,rerank=5)"
    task, answers, meter = ranked(session, method, judge)  # type: ignore[misc]
    for item, docs in zip(answers.items, answers.docs, strict=True):
        assert set(docs[:5].tolist()) == set(task.relevant(int(item))[0].tolist())
    assert len(judge.prompts) == meter.counts["slates judged"]
    assert "judgements that could not be read" not in meter.counts


def test_answers_that_are_no_json_are_counted(session: Session, language: str) -> None:
    class Rambling(Knowing):
        def generate(self, prompt: Any, max_new_tokens: int) -> str:
            return "Once upon a time"

    _, answers, meter = ranked(session, f"lattice(language_model={language},branching=4)", Rambling())  # type: ignore[misc]
    assert meter.counts["judgements that could not be read"] == meter.counts["slates judged"]
    assert np.isfinite(answers.scores[answers.docs >= 0]).all()


@pytest.mark.parametrize("judge", ["encoder", "likelihood"])
def test_judges_that_need_no_chat(session: Session, language: str, judge: str) -> None:
    method = f"lattice(judge={judge},language_model={language},branching=4,iterations=10)"
    task, answers, _ = ranked(session, method)  # type: ignore[misc]
    hits = [
        len(set(docs[:5].tolist()) & set(task.relevant(int(item))[0].tolist()))
        for item, docs in zip(answers.items, answers.docs, strict=True)
    ]
    assert sum(hits) > (20 if judge == "encoder" else 0)


def test_settings_that_cannot_work() -> None:
    with pytest.raises(TouchstoneError, match="out of range"):
        Lattice(Settings(branching=1)).check()


def test_the_page_says_who_judged(session: Session) -> None:
    task = session.task(session.catalog.task("toy"))
    notes = " ".join(Lattice(Settings(judge="encoder")).notes(task))
    assert "no language model" in notes and "(adapted)" in notes
