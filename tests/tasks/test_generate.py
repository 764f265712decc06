"""Written answers: loading, scoring, storing; and the retrieval tasks over the same data."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from harness.answers import Rankings, Texts
from harness.assets import Assets
from harness.catalog import Catalog
from harness.cli import group
from harness.data.kilt import read_answers_file
from harness.errors import TouchstoneError
from harness.execute import Session
from harness.kilt_scores import normalised
from harness.meter import Spent
from harness.shards import Segment, load_shard, write_shard
from harness.spec import Kind, TaskSpec
from harness.tasks.generate import GenerateTask
from harness.tasks.load import load_task, load_written
from harness.tasks.rank import RankTask
from tests.needs import DATA, needs


def _task(session: Session, name: str = "quest") -> GenerateTask:
    task = session.task(session.catalog.task(name))
    assert isinstance(task, GenerateTask)
    return task


def _ranked(session: Session, spec: TaskSpec) -> RankTask:
    task = session.task(spec)
    assert isinstance(task, RankTask)
    return task


def _gold(task: GenerateTask) -> Texts:
    rows = [task.entries[item] for item in task.items]
    return Texts(task.items, tuple(row.answers[0] for row in rows), tuple(row.evidence[0] for row in rows))


def test_a_task_with_its_corpus(session: Session) -> None:
    task = _task(session)
    assert (len(task.items), len(task.documents()), task.item_ids[2]) == (6, 6, "k2")
    assert task.select(task.items[2:3]).inputs() == ["What is python snake jungle about?"]
    assert task.entries[5].answers == ("lunar", "the lunar")


def test_gold_answers_have_one_and_wrong_ones_less(session: Session) -> None:
    task = _task(session)
    gold = _gold(task)
    scores = task.score(gold)
    assert scores.values[:, [0, 1, 2, 4]].tolist() == [[1.0] * 4] * 6
    assert scores.column("ROUGE-L") == pytest.approx(np.ones(6), abs=1e-8)
    assert scores.counts == {"missing": 0, "empty": 0}

    # k0: no evidence. k1: half of a two-word answer. k2: empty. k3: missing. k5: half of its evidence.
    texts = ("river", "stock exchange", "", "solar", "the Lunar")
    pages = ((), ("1",), ("2",), ("4",), ("5", "0"))
    items = np.array([0, 1, 2, 4, 5], np.int32)
    scores = task.score(Texts(items, texts, pages))
    assert scores.counts == {"missing": 1, "empty": 1}
    assert scores.column("KILT-EM").tolist() == [0, 0, 0, 0, 1, 0]
    assert scores.column("EM").tolist() == [1, 0, 0, 0, 1, 1]
    assert scores.column("F1") == pytest.approx([1, 2 / 3, 0, 0, 1, 1])
    assert scores.column("KILT-Rprec").tolist() == [0, 1, 1, 0, 1, 0.5]
    assert scores.values.dtype == np.float64


def test_a_view_scores_only_its_items(session: Session) -> None:
    task = _task(session)
    part = task.select(task.items[4:])
    scores = part.score(_gold(part))
    assert (scores.items.tolist(), scores.values.shape) == ([4, 5], (2, 5))


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (Rankings.empty(3), "expected texts, got rankings"),
        (Texts(np.array([0], np.int32), ("a", "b"), ((),)), "mismatched lengths"),
        (Texts(np.array([1], np.int32), (3,), ((),)), "not text.*|.*item 'k1'"),  # type: ignore[arg-type]
        (Texts(np.array([1], np.int32), ("\ud83d",), ((),)), "half a character"),
    ],
)
def test_malformed_answers_are_refused(session: Session, answers: Texts, message: str) -> None:
    with pytest.raises(TouchstoneError, match=message):
        _task(session).check(answers)


def test_an_unknown_measure_is_refused_before_anything_runs(session: Session) -> None:
    spec = replace(session.catalog.task("quest"), measures=("nDCG@10",))
    with pytest.raises(TouchstoneError, match="'nDCG@10' does not fit written answers"):
        session.task(spec)


def test_without_a_gold_answer_there_is_nothing_to_score(session: Session, toy_places: Path) -> None:
    path = toy_places / "mirror" / "quest" / "quest.jsonl"
    lines = path.read_text().splitlines()
    last = {**json.loads(lines[-1]), "output": [{"provenance": []}]}
    path.write_text("\n".join([*lines[:-1], json.dumps(last)]) + "\n")
    with pytest.raises(TouchstoneError, match="item 'k5' has no gold answer"):
        _task(session)


def test_the_knowledge_source_may_be_missing(session: Session, toy_places: Path) -> None:
    whole = _task(session)
    (toy_places / "mirror" / "quest" / "pages.json").unlink()
    session.tasks.clear()
    task = _task(session)
    assert task.score(_gold(task)).summary()["KILT-EM"].value == 1
    assert task.data_digest != whole.data_digest
    with pytest.raises(TouchstoneError, match="the documents to read are not here"):
        task.documents()


def test_the_digest_sees_questions_answers_and_evidence(session: Session, toy_places: Path) -> None:
    path = toy_places / "mirror" / "quest" / "quest.jsonl"
    text, digests = path.read_text(), set()
    changes = [
        ("", ""),
        ("snake", "adder"),
        ('"the river"', '"a river"'),
        ('"wikipedia_id": "2"', '"wikipedia_id": "3"'),
    ]
    for old, new in changes:
        path.write_text(text.replace(old, new, 1) if old else text)
        session.tasks.clear()
        digests.add(_task(session).data_digest)
    assert len(digests) == len(changes)


def test_texts_survive_shards_and_joins(tmp_path: Path) -> None:
    first = Texts(np.array([4, 2], np.int32), ("é\n\0", ""), (("1", "2"), ()))
    second = Texts(np.array([3], np.int32), ("x",), (("7",),))
    write_shard(tmp_path / "shard-0.npz", first, Segment(1.0, Spent({}, {}, 0.0, 0), 2, "one"))
    read, segment = load_shard(tmp_path / "shard-0.npz")
    assert isinstance(read, Texts) and segment.seconds == 1.0
    whole = Texts.concatenate([read, second])
    assert (whole.items.tolist(), whole.texts, whole.pages) == (
        [2, 3, 4],
        ("", "x", "é\n\0"),
        ((), ("7",), ("1", "2")),
    )
    assert len(Texts.concatenate([])) == 0


def test_retrieval_is_scored_by_evidence_sets(session: Session) -> None:
    task = _ranked(session, session.catalog.task("quest-retrieval"))
    docs = np.array([[0, 1, 2], [0, 1, 2], [3, 4, 5], [3, 4, 5], [5, 4, 3], [5, 0, 4]], np.int32)
    scores = task.score(Rankings(task.items, docs, np.tile(np.array([3, 2, 1], np.float32), (6, 1))))
    assert scores.column("KILT-Rprec").tolist() == [1, 0, 0, 1, 0, 0.5]
    assert scores.column("KILT-R@5").tolist() == [1, 1, 0, 1, 1, 1]
    assert scores.column("R@5").tolist() == [1, 1, 0, 1, 1, 1]


def test_the_ranking_view_of_a_task_has_its_items(session: Session) -> None:
    spec = session.catalog.task("quest")
    view = _ranked(session, spec.as_ranking())
    assert (view.spec.kind, view.item_ids, view.spec.depth) == (Kind.RANK, _task(session).item_ids, 5)
    assert view.data_digest == _ranked(session, session.catalog.task("quest-retrieval")).data_digest


def test_passages_are_scored_by_their_pages(session: Session, toy_places: Path) -> None:
    entry = toy_places / "suites" / "datasets" / "toy.yaml"
    text = entry.read_text().replace("pages.json}", "pages.json, passage_words: 6}")
    text = text.replace("  counts: {documents: 6, queries: 6}", "  unknown_documents: count")
    entry.write_text(text)
    session.catalog = Catalog()
    task = _ranked(session, session.catalog.task("quest-retrieval"))
    assert len(task.corpus) == 18
    # Three passages of page 5, then one of page 4: the ranking of pages is 5, 4.
    docs = task.corpus.find(["5:1-1", "5:3-3", "5:1-1.2", "4:3-3"])[None, :]
    scores = task.select(task.items[5:]).score(
        Rankings(task.items[5:], docs, np.array([[4, 3, 2, 1]], np.float32))
    )
    assert (scores.column("KILT-Rprec").tolist(), scores.column("KILT-R@5").tolist()) == ([1], [1])


def test_evidence_is_asked_for(session: Session) -> None:
    spec = replace(session.catalog.task("toy"), measures=("KILT-Rprec",))
    with pytest.raises(TouchstoneError, match="'KILT-Rprec' asks for evidence sets"):
        _ranked(session, spec).score(Rankings.empty(1))
    with pytest.raises(TouchstoneError, match="'toy' has no written answers"):
        session.task(replace(spec, kind=Kind.GENERATE))


def test_answers_and_runs_made_elsewhere_are_scored_without_the_corpus(toy_places: Path) -> None:
    (toy_places / "mirror" / "quest" / "pages.json").unlink()
    answers, run, items = (toy_places / name for name in ("answers.jsonl", "run.trec", "items.csv"))
    gold = (toy_places / "mirror" / "quest" / "quest.jsonl").read_text().splitlines()
    rows = [{**json.loads(line), "output": json.loads(line)["output"][:1]} for line in gold[:3]]
    answers.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = CliRunner().invoke(group, ["score", str(answers), "--task", "quest", "--per-item", str(items)])
    assert done.exit_code == 0, done.output
    assert "3 judged items have no answer" in done.output
    assert items.read_text().splitlines()[1:4:2] == [
        "k0,1.0,1.0,1.0,0.999999995,1.0",
        "k2,1.0,1.0,1.0,0.999999995,1.0",
    ]
    run.write_text("k5 Q0 5 1 9 x\nk5 Q0 0 2 8 x\nk5 Q0 4 3 7 x\nk1 Q0 1 1 1 x\n")
    done = CliRunner().invoke(
        group, ["score", str(run), "--task", "quest-retrieval", "--per-item", str(items)]
    )
    assert done.exit_code == 0, done.output
    rows_ = dict(line.split(",", 1) for line in items.read_text().splitlines()[1:])
    assert (rows_["k5"], rows_["k1"], rows_["k0"]) == ("0.5,1.0,1.0", "1.0,1.0,1.0", "0.0,0.0,0.0")


@needs("data")
@pytest.mark.parametrize(("name", "pages"), [("hotpotqa", 2), ("wow", 1)])
def test_the_real_tasks(name: str, pages: int, tmp_path: Path) -> None:
    catalog = Catalog()
    spec = catalog.task(f"kilt/{name}")
    task = load_task(spec, catalog.dataset(spec.dataset), Assets(tmp_path))
    assert isinstance(task, GenerateTask)
    rows = [json.loads(line) for line in (DATA / "kilt" / f"{name}-dev-kilt.jsonl").read_text().splitlines()]
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    gold = task.score(read_answers_file(path, task.item_ids))
    # One answer of HotpotQA is the band "!!!": without a word left, KILT's F1 is 0 even for the gold answer.
    words = np.array([bool(normalised(entry.answers[0])) for entry in task.entries])
    for measure in spec.measures:
        expected = words.astype(float) if "F1" in measure else np.ones(len(rows))
        assert gold.column(measure) == pytest.approx(expected, abs=1e-7), measure

    # Every second item loses its answer, every fourth its last page, every hundredth is left out.
    for number, row in enumerate(rows):
        output = row["output"][0]
        if number % 2:
            output["answer"] = "zzz"
        if number % 4 == 0:
            output["provenance"] = [{"wikipedia_id": output["provenance"][0]["wikipedia_id"]}]
    path.write_text("".join(json.dumps(row) + "\n" for number, row in enumerate(rows) if number % 100))
    scores = task.score(read_answers_file(path, task.item_ids))
    numbers = np.arange(len(rows))
    present, right = numbers % 100 != 0, numbers % 2 == 0
    whole = (numbers % 4 != 0) | (pages == 1)
    assert scores.counts["missing"] == len(rows) - present.sum()
    assert scores.column("KILT-Rprec").tolist() == (present * np.where(whole, 1, 0.5)).tolist()
    assert scores.column("KILT-R@5").tolist() == (present & whole).astype(float).tolist()
    assert scores.column("F1").tolist() == (present & right & words).astype(float).tolist()
    assert scores.column("KILT-F1").tolist() == (present & right & whole & words).astype(float).tolist()
    without = load_written(spec, catalog.dataset(spec.dataset))
    assert without.data_digest == task.data_digest
