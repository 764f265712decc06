"""Results of others: read as reported, kept apart, refused when broken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.catalog import Catalog
from harness.cli import group
from harness.errors import TouchstoneError
from harness.exchange.anserini import read_anserini
from harness.exchange.mteb import read_mteb
from harness.exchange.names import MTEB_TASKS, anserini_measure, mteb_key, mteb_measure
from harness.exchange.reported import Reported, add_reported, read_reported
from harness.exchange.trec import export_run, read_metadata
from harness.execute import Session
from harness.leaderboard import read_results
from harness.spec import Kind
from harness.store import Store
from tests.needs import DATA, needs
from tests.test_execute import run


def touchstone(*words: str | Path) -> str:
    done = CliRunner().invoke(group, list(map(str, words)), standalone_mode=False)
    if done.exception:
        raise done.exception
    return done.output


def row(value: float = 0.5, **changed: str) -> Reported:
    return Reported(**{"task": "toy", "method": "m", "measure": "AP", "value": value, "source": "trec",
                       "file": "f", "sha256": "0", **changed})  # fmt: skip


def test_reported_numbers_are_kept_once_and_in_order(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert read_reported(store) == []
    add_reported(store, [row(0.5), row(0.4, task="quiz")])
    add_reported(store, [row(0.6), row(0.5, sha256="1")])
    assert [(one.task, one.value) for one in read_reported(store)] == [
        ("quiz", 0.4),
        ("toy", 0.6),
        ("toy", 0.5),
    ]
    assert store.find() == []


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_reported_number_is_finite(value: float) -> None:
    with pytest.raises(TouchstoneError, match="AP is"):
        row(value)


def test_names_go_both_ways() -> None:
    for measure in ("nDCG@10", "R@100", "P@5", "RR@10", "AP@100"):
        assert mteb_measure(mteb_key(measure)) == measure
    assert mteb_key("AP") == "map_at_1000" and mteb_key("KILT-EM") == "" and mteb_measure("nauc_x") == ""
    assert [anserini_measure(name) for name in ("R@1K", "MAP", "MRR@10")] == ["R@1000", "AP", "RR@10"]
    catalog = Catalog()
    assert all(catalog.task(name).kind is Kind.RANK for name in MTEB_TASKS)


@needs("data")
def test_published_mteb_files_are_read() -> None:
    rows = read_mteb(DATA / "reference" / "mteb_results" / "json" / "BAAI__bge-small-en-v1.5")
    (scifact,) = (one for one in rows if (one.task, one.measure) == ("beir/scifact", "nDCG@10"))
    assert scifact.method == "BAAI/bge-small-en-v1.5"
    assert 0.70 < scifact.value < 0.74 and scifact.origin == "reported"
    assert {one.task for one in rows} >= {"beir/nfcorpus", "beir/cqadupstack-english", "beir/trec-covid"}


@needs("data")
def test_published_anserini_scores_are_read() -> None:
    rows = read_anserini(DATA / "reference" / "pyserini_expected_scores.csv")
    found = {(one.task, one.method, one.measure): one.value for one in rows}
    assert found["beir/scifact", "anserini/bm25-flat", "nDCG@10"] == 0.6789
    assert found["msmarco/dev", "anserini/bm25-default", "RR@10"] == pytest.approx(0.1840, abs=0.01)
    assert any(task.startswith("bright/") for task, _, _ in found)


def test_pyserini_yaml_is_read(tmp_path: Path) -> None:
    path = tmp_path / "beir.yaml"
    path.write_text(
        "conditions:\n- name: bm25-flat\n  datasets:\n"
        "  - dataset: scifact\n    scores:\n    - nDCG@10: 0.6789\n"
    )
    (one,) = read_anserini(path)
    found = (one.task, one.method, one.measure, one.value)
    assert found == (
        "beir/scifact",
        "anserini/bm25-flat",
        "nDCG@10",
        0.6789,
    )


HEADER = "# ir_metadata.start\n# tag: ours\n# platform:\n#   hardware: {cpu: x}\n# ir_metadata.end\n"
LINES = "".join(f"q{q} Q0 d{q}-{d} {d + 1} {9 - d} tagged\n" for q in range(5) for d in range(3))


def test_a_run_is_scored_here_and_kept_apart(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "run.txt"
    path.write_text(HEADER + LINES)
    results = session.store.root
    mine = run(session, "oracle")
    out = touchstone("import", "trec", path, "--task", "toy", "--results", results)
    assert "3 reported numbers: 1 methods, 1 tasks" in out
    rows = read_reported(session.store)
    (reported,) = session.store.reported.find()
    assert {one.method for one in rows} == {"ours"} and {one.run for one in rows} == {reported.id}
    assert reported.origin == "reported" and reported.provenance["ir_metadata"]["platform"] == {
        "hardware": {"cpu": "x"}
    }
    assert reported.counts["missing"] == 1  # the sixth query
    assert [record.id for record in session.store.find()] == [mine.id]
    assert {m.name for m in read_results(session.store, session.catalog).methods.values()} == {"oracle"}
    # Scored again as one of ours, the answers give the same.
    again = touchstone("score", session.store.reported.folder(reported) / "run.trec.zst", "--task", "toy")
    assert f"{reported.scores['AP'].value:.4f}" in again
    named = touchstone("import", "trec", path, "--task", "toy", "--method", "theirs", "--results", results)
    assert "3 reported" in named and len(session.store.reported.find()) == 2


def test_an_exported_run_comes_back_the_same(session: Session, tmp_path: Path) -> None:
    mine = run(session, "bm25")
    out = tmp_path / "run.trec"
    touchstone("export", "trec", out, "--run", mine.id, "--results", session.store.root)
    metadata = read_metadata(out)
    assert metadata["tag"] == "bm25" and metadata["implementation"]["executable"]["cmd"] == mine.run.command
    assert metadata["data"]["test collection"]["name"] == "toy"
    touchstone("import", "trec", out, "--task", "toy", "--results", session.store.root)
    (reported,) = session.store.reported.find()
    assert {k: v.value for k, v in reported.scores.items()} == {k: v.value for k, v in mine.scores.items()}
    export_run(session.store.folder(mine), mine, session.catalog, out, header=False)
    assert read_metadata(out) == {} and out.read_text().startswith("q0 Q0 ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# ir_metadata.start\n# a: b\nq0 Q0 d0-0 1 1 t\n", "the ir_metadata header is not closed"),
        ("# ir_metadata.start\n# [\n# ir_metadata.end\n", "the ir_metadata header is no YAML"),
        ("# ir_metadata.start\n# a\n# ir_metadata.end\n", "the ir_metadata header is no mapping"),
        ("# ir_metadata.start\n# a: !!python/object:os.system x\n# ir_metadata.end\n", "no YAML"),
        ("other Q0 d0-0 1 1 t\n", "the run holds no query of the task"),
        ("q0 Q0 d0-0 1 nan t\n", "nan"),
    ],
)
def test_broken_runs_are_refused(session: Session, tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "run.txt"
    path.write_text(text if "Q0" in text else text + LINES)
    with pytest.raises(TouchstoneError) as caught:
        touchstone("import", "trec", path, "--task", "toy", "--results", session.store.root)
    assert message in caught.value.line
    assert read_reported(session.store) == []


@pytest.mark.parametrize(
    ("form", "text", "message"),
    [
        ("mteb", "[]", "not a JSON object"),
        ("mteb", "{", "cannot read the results"),
        ("mteb", '{"task_name": "SciFact", "scores": {"test": [{"ndcg_at_10": NaN}]}}', "it holds NaN"),
        ("mteb", '{"scores": {}}', "not an MTEB result"),
        ("mteb", '{"task_name": "SciFact", "scores": {"test": {}}}', "are not a list"),
        ("mteb", "[" * 100_000, "cannot read the results"),
        ("lm-eval", '{"results": 1}', "not an lm-eval result"),
        ("anserini", "a,b\n1,2\n", "not a table of expected scores"),
        (
            "anserini",
            "collection,condition,dataset,metric,score\nbeir,b,s,AP,x\n",
            "results:2: 'x' is not a score",
        ),
        ("anserini", "collection,condition,dataset,metric,score\nbeir,b,s,AP,nan\n", "AP is nan"),
    ],
)
def test_broken_files_are_refused(
    session: Session, tmp_path: Path, form: str, text: str, message: str
) -> None:
    path = tmp_path / "results"
    path.write_text(text)
    with pytest.raises(TouchstoneError) as caught:
        touchstone("import", form, path, "--results", session.store.root)
    assert message in caught.value.line


def test_a_beir_folder_becomes_a_suite(session: Session, toy_places: Path, tmp_path: Path) -> None:
    folder, suite = toy_places / "mirror" / "toy", tmp_path / "mine.yaml"
    assert "mine" in touchstone("import", "beir", folder, "--name", "mine", "--out", suite)
    out = touchstone("run", "--suite", suite, "--method", "oracle", "--results", tmp_path / "r")
    assert "1.0000 [1.000, 1.000]" in out
    (folder / "qrels" / "dev.tsv").write_text((folder / "qrels" / "test.tsv").read_text())
    touchstone("import", "beir", folder, "--name", "two", "--out", tmp_path / "two.yaml")
    assert [task.name for task in Catalog().suite(str(tmp_path / "two.yaml")).tasks] == [
        "two/dev",
        "two/test",
    ]


@pytest.mark.parametrize(
    ("gone", "message"),
    [("corpus.jsonl", "not a folder in BEIR layout"), ("qrels/test.tsv", "no judgements")],
)
def test_what_is_no_beir_folder(toy_places: Path, tmp_path: Path, gone: str, message: str) -> None:
    (toy_places / "mirror" / "toy" / gone).unlink()
    with pytest.raises(TouchstoneError, match=message):
        touchstone(
            "import", "beir", toy_places / "mirror" / "toy", "--name", "x", "--out", tmp_path / "x.yaml"
        )


def test_lm_eval_samples_are_matched_by_question(session: Session, tmp_path: Path) -> None:
    from harness.exchange.lm_eval import read_samples
    from harness.tasks.choose import ChooseTask

    task = session.task(session.catalog.task("quiz/sums"))
    assert isinstance(task, ChooseTask)
    line = {
        "doc_id": 1,
        "doc": {"question": "sums, question 1"},
        "filtered_resps": [["-1", "False"], ["-0.5", "True"]],
    }
    path = tmp_path / "samples.jsonl"
    path.write_text(json.dumps(line))
    answers = read_samples(path, task)
    assert answers.items.tolist() == [1] and answers.logprobs.tolist() == [[-1.0, -0.5]]
    for changed, message in (
        ({"doc_id": 2}, "the sample's question is not the task's"),
        ({"doc_id": 9}, "the sample's question is not the task's"),
        ({"filtered_resps": [["x"]]}, "not a sample of multiple choice"),
    ):
        path.write_text(json.dumps(line | changed))
        with pytest.raises(TouchstoneError, match=message):
            read_samples(path, task)
    path.write_text(f"{json.dumps(line)}\n{json.dumps(line)}")
    with pytest.raises(TouchstoneError, match="comes twice"):
        read_samples(path, task)
