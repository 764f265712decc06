"""Retrieval-augmented generation on the toy pages, without a model and with a real tiny one."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.adapter import Context
from harness.answers import Texts
from harness.errors import TouchstoneError
from harness.execute import Session, read_answers
from harness.models.language import LanguageModelSpec
from harness.models.scoring import Work
from harness.registry import make_adapter, parse_method
from harness.spec import RunSpec
from tests.needs import DATA, needs
from tests.test_execute import quiet


def _answers(session: Session, method: str) -> Texts:
    planned = session.plan(RunSpec(parse_method(method), session.catalog.task("quest")))
    record = session.execute(planned, quiet)
    assert session.store.verify(record, planned.task) == []
    answers = read_answers(session.answers(planned, quiet).path)
    assert isinstance(answers, Texts)
    stored = session.store.answers(record, planned.task)
    assert isinstance(stored, Texts) and (stored.texts, stored.pages) == (answers.texts, answers.pages)
    return answers


def test_the_best_page_gives_the_answer_without_a_model(session: Session) -> None:
    answers = _answers(session, "rag(pages=2)")
    assert answers.texts[0] == "River Bank Water River bank water is a topic."
    assert [pages[0] for pages in answers.pages] == ["0", "1", "2", "3", "4", "5"]
    assert {len(pages) for pages in answers.pages} == {2}
    record = session.store.find("quest")[0]
    # Page 4 follows page 5 for the last question by the tie rule, and both are its evidence.
    assert answers.pages[5] == ("5", "4")
    assert record.scores["KILT-Rprec"].value == 1.0
    assert record.scores["EM"].value == 0


def test_the_retriever_is_shared_with_the_retrieval_task(session: Session) -> None:
    method = parse_method("bm25")
    ranked = session.plan(RunSpec(method, session.catalog.task("quest-retrieval")))
    session.execute(ranked, quiet)
    planned = session.plan(RunSpec(parse_method("rag"), session.catalog.task("quest")))
    assert planned.made_with["parts"] == {"bm25": ranked.id}
    record = session.execute(planned, quiet)
    assert record.cost.reused_seconds > 0


def test_other_settings_are_other_runs(session: Session) -> None:
    task = session.catalog.task("quest")
    methods = ["rag", "rag(retriever=random)", "rag(passages=1)", 'rag(prompt="{passages} {question}")']
    assert len({session.plan(RunSpec(parse_method(method), task)).id for method in methods}) == len(methods)


@needs("torch", "data")
def test_a_language_model_reads_the_passages(
    session: Session, toy_places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = DATA / "models" / "stories260K" / "stories260K.bin"
    prompt = "{passages} {question} Once upon a time"
    answers = _answers(
        session, f'rag(reader={checkpoint},passages=1,words=4,max_new_tokens=12,prompt="{prompt}")'
    )
    model = Context(session.assets, lambda _method: pytest.fail("not asked")).language_model(
        LanguageModelSpec(str(checkpoint))
    )
    given = "Stock Market Bank Stock What is stock market bank about? Once upon a time"
    assert answers.texts[1] == model.generate(given, 12).strip().partition("\n")[0].strip()
    assert answers.texts[1]


def test_braces_in_a_question_are_not_places(session: Session) -> None:
    class Echo:
        truncated = shortened = 0
        work = Work()

        def generate(self, prompt: str, max_new_tokens: int) -> str:
            return f" {prompt}\nand more"

    rag = make_adapter(parse_method('rag(prompt="{question}: {passages}")'))
    context = Context(session.assets, lambda _method: pytest.fail("not asked"))
    written = rag._written(Echo(), context, "is {passages} set?", ["a", "b"])  # type: ignore[attr-defined]
    assert written == "is {passages} set?: a"


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("rag(passages=0)", "passages is 0"),
        ("rag(max_new_tokens=-1)", "max_new_tokens is -1"),
        ('rag(prompt="{question}")', "the prompt lacks {passages}"),
        ("rag(retriever=majority)", "does not do 'rank' tasks"),
    ],
)
def test_what_cannot_run_is_refused(session: Session, method: str, message: str) -> None:
    with pytest.raises(TouchstoneError) as caught:
        session.plan(RunSpec(parse_method(method), session.catalog.task("quest")))
    assert message in caught.value.line


def test_without_documents_nothing_is_read(session: Session, toy_places: Path) -> None:
    (toy_places / "mirror" / "quest" / "pages.json").unlink()
    with pytest.raises(TouchstoneError, match="the knowledge source is not here"):
        session.plan(RunSpec(parse_method("rag"), session.catalog.task("quest")))
