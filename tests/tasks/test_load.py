"""Loading tasks: toy folders, Python's docstrings, and the real SciFact and MMLU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.assets import Assets
from harness.catalog import Catalog
from harness.errors import TouchstoneError
from harness.execute import Session
from harness.store import Store
from harness.tasks.choose import ChooseTask
from harness.tasks.load import load_judgements
from harness.tasks.rank import RankTask
from tests.needs import needs


@pytest.fixture
def real(tmp_path: Path) -> Session:
    return Session(Catalog(), Store(tmp_path / "results"), Assets(tmp_path / "cache"))


def _rank(session: Session, name: str) -> RankTask:
    task = session.task(session.catalog.task(name))
    assert isinstance(task, RankTask)
    return task


def _choose(session: Session, name: str) -> ChooseTask:
    task = session.task(session.catalog.task(name))
    assert isinstance(task, ChooseTask)
    return task


def test_a_beir_folder(session: Session) -> None:
    task = _rank(session, "toy")
    assert (len(task.corpus), len(task.items), len(task.qrels.docs)) == (30, 6, 30)
    assert task.corpus.texts(5, 6) == ["Stock Market Bank stock market bank note 0 stock"]
    docs, grades = task.relevant(1)
    assert task.corpus.ids(docs) == [f"d1-{i}" for i in range(5)]
    assert grades.tolist() == [1, 2, 1, 2, 1]
    assert task.select(task.items[2:4]).queries() == ["python snake jungle", "python code function"]


def test_queries_without_judgements_are_left_out(session: Session, toy_places: Path) -> None:
    with (toy_places / "mirror" / "toy" / "queries.jsonl").open("a") as handle:
        handle.write('{"_id": "unjudged", "text": "something else"}\n')
    assert "unjudged" not in _rank(session, "toy").query_ids


def test_data_digest_follows_content_not_place(
    session: Session, toy_places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _rank(session, "toy").data_digest
    moved = toy_places / "moved"
    (toy_places / "mirror").rename(moved)
    monkeypatch.setenv("TOUCHSTONE_DATA", str(moved))
    session.tasks.clear()
    assert _rank(session, "toy").data_digest == first
    corpus = moved / "toy" / "corpus.jsonl"
    corpus.write_text(corpus.read_text().replace("jungle note 3", "jungle note 4", 1))
    session.tasks.clear()
    assert _rank(session, "toy").data_digest != first


def test_unknown_documents_of_a_pool_are_counted_as_never_retrieved(
    session: Session, toy_places: Path
) -> None:
    entry = toy_places / "suites" / "datasets" / "toy.yaml"
    entry.write_text(
        entry.read_text().replace("  title: Toy\n", "  title: Toy\n  unknown_documents: count\n")
    )
    with (toy_places / "mirror" / "toy" / "qrels" / "test.tsv").open("a") as handle:
        handle.write("q0\tnot-in-the-pool\t1\nq1\tnot-in-the-pool\t1\nq1\tnor-this\t1\n")
    session.catalog = Catalog()
    task = _rank(session, "toy")
    docs, _ = task.relevant(1)
    assert sorted(docs[docs >= 30].tolist()) == [30, 31] or len(docs[docs >= 30]) == 2
    recall = task.score(_oracle(task)).column("R@5")
    assert recall.tolist() == pytest.approx([5 / 6, 5 / 7, 1, 1, 1, 1])


def test_wrong_counts_are_refused(session: Session, toy_places: Path) -> None:
    entry = toy_places / "suites" / "datasets" / "toy.yaml"
    entry.write_text(entry.read_text().replace("  title: Toy\n", "  title: Toy\n  counts: {documents: 31}\n"))
    session.catalog = Catalog()
    with pytest.raises(TouchstoneError, match="30 documents instead of 31; the copy here is not complete"):
        _rank(session, "toy")


def test_questions_prompts_and_groups(session: Session) -> None:
    task = _choose(session, "quiz")
    assert len(task.items) == 9
    assert task.item_ids[5:7] == ("words/0", "words/1")
    assert task.prompt(6) == (
        "The following are multiple choice questions (with answers) about words.\n\n"
        "words, question 0\nA. one\nB. two\nC. three\nD. four\nAnswer: A\n\n"
        "words, question 1\nA. one\nB. two\nC. three\nD. four\nAnswer: B\n\n"
        "words, question 1\nA. one\nB. two\nC. three\nD. four\nAnswer:"
    )
    assert task.labels(6) == (" A", " B", " C", " D")
    assert task.chance() == 0.25
    assert len(_choose(session, "quiz/words").items) == 4


def test_more_shots_than_examples(session: Session, toy_places: Path) -> None:
    entry = toy_places / "suites" / "tasks" / "toy.yaml"
    entry.write_text(entry.read_text().replace("shots: 2", "shots: 3"))
    session.catalog = Catalog()
    with pytest.raises(TouchstoneError, match="only 2 examples for 3 shots"):
        _choose(session, "quiz")


def test_a_measure_of_another_kind_is_refused(session: Session, toy_places: Path) -> None:
    entry = toy_places / "suites" / "tasks" / "toy.yaml"
    entry.write_text(entry.read_text().replace("[Acc, MacroAcc]", "[nDCG@10]"))
    session.catalog = Catalog()
    with pytest.raises(TouchstoneError, match="'nDCG@10' does not fit multiple choice"):
        _choose(session, "quiz")


def test_macro_accuracy_averages_subjects(session: Session) -> None:
    from adapters.bounds.majority import Majority
    from harness.adapter import Context

    task = _choose(session, "quiz")
    (answers,) = Majority().run(task, Context(session.assets, lambda _m: pytest.fail("no part")))
    summary = task.score(answers).summary()
    # Examples answer A and B once each, the tie goes to A: right on 2 of 5 sums (A B C D A) and 1 of 4 words.
    assert summary["Acc"].value == pytest.approx(3 / 9)
    assert summary["MacroAcc"].value == pytest.approx((2 / 5 + 1 / 4) / 2)


def test_pydoc_is_real_and_large(real: Session) -> None:
    task = _rank(real, "pydoc")
    assert len(task.corpus) > 4000
    assert len(task.items) == 500
    judged = np.diff(task.qrels.starts)
    assert (judged == 1).all()
    for item in task.items[::50]:
        document = task.corpus.texts_of(task.relevant(int(item))[0])[0]
        assert task.query_ids[item] in document
        assert task.query_texts[item] not in document


@needs("data")
def test_scifact(real: Session) -> None:
    task = _rank(real, "beir/scifact")
    assert (len(task.corpus), len(task.items), len(task.qrels.docs)) == (5183, 300, 339)


@needs("data")
def test_mmlu_whole(real: Session) -> None:
    task = _choose(real, "mmlu")
    assert len(task.items) == 14042
    assert len({task.question(int(item)).group for item in task.items}) == 57
    assert task.prompt(0).count("Answer:") == 6


@needs("data")
def test_trec_dl_is_scored_without_a_corpus_and_run_only_with_it(real: Session) -> None:
    judged = load_judgements(real.catalog.dataset("msmarco/trec-dl-2019"))
    assert (len(judged.query_ids), len(judged.qrels.docs)) == (43, 9260)
    with pytest.raises(TouchstoneError, match="the corpus is not here"):
        _rank(real, "msmarco/trec-dl-2019")


def _oracle(task: RankTask) -> object:
    from adapters.bounds.oracle import _best_ranking

    return _best_ranking(task)
