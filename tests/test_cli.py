"""The commands end to end on toy data, in this process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli import COMMANDS, group
from harness.record import read_record


@pytest.fixture
def results(toy_places: Path) -> Path:
    return toy_places / "results"


def invoke(*args: str) -> str:
    """Output of a command that must end well."""
    done = CliRunner().invoke(group, list(args), standalone_mode=False)
    if done.exception:
        raise done.exception
    assert done.return_value in (None, 0), done.output
    return done.output


def run_id(results: Path, method: str) -> str:
    records = [read_record(path) for path in results.glob("toy/*/*/record.json")]
    return next(record.id for record in records if record.run.method.name == method)


def test_every_command_has_help() -> None:
    overview = invoke("--help")
    for name, line in COMMANDS.items():
        assert name in overview
        assert " ".join(line.split()[:3]) in overview
        assert "Usage:" in invoke(name, "--help")


def test_a_suite_runs_once(results: Path) -> None:
    first = invoke("run", "--suite", "toys", "--results", str(results))
    assert "Toy" in first or "toy" in first
    for method in ("random", "bm25", "majority", "oracle"):
        assert method in first
    assert "1.0000 [1.000, 1.000]" in first
    assert "note: guessing is right 0.2500 of the time" in first
    second = invoke("run", "--suite", "toys", "--results", str(results))
    assert "Nothing to do: all 6 runs are stored" in second
    assert "1.0000 [1.000, 1.000]" in second


def test_plan_says_where_cells_stand(results: Path) -> None:
    invoke("run", "--task", "toy", "--method", "oracle", "--results", str(results))
    out = invoke(
        "plan",
        "--suite",
        "toys",
        "--method",
        "oracle",
        "--method",
        "cross-encoder",
        "--results",
        str(results),
    )
    assert "1 stored, 1 to do, 1 not here" in out
    assert "hub" in out


def test_list_shows_what_there_is(toy_places: Path) -> None:
    methods, tasks, suites = invoke("list", "methods"), invoke("list", "tasks"), invoke("list", "suites")
    assert "bm25-lucene" in methods and "lexical" in methods and "runs here" in methods
    assert "mmlu" in tasks and "14,042" in tasks and "mmlu/anatomy" not in tasks
    assert "mmlu/anatomy" in invoke("list", "tasks", "--all")
    assert "quickstart" in suites and "toys" in suites


def test_show_prints_a_run(results: Path) -> None:
    invoke("run", "--task", "toy", "--method", "bm25", "--results", str(results))
    name = run_id(results, "bm25")
    out = invoke("show", name[:8], "--results", str(results))
    for part in ("nDCG@10", "items per second", "touchstone run --task toy --method bm25", "tie dependent"):
        assert part in out
    assert json.loads(invoke("show", name, "--json", "--results", str(results)))["id"] == name


def test_rescoring_gives_the_stored_scores(results: Path) -> None:
    for task, method in (("toy", "bm25"), ("quiz", "random")):
        invoke("run", "--task", task, "--method", method, "--results", str(results))
        record = read_record(next(results.glob(f"{task}/{method}/*/record.json")))
        out = invoke("score", record.id, "--results", str(results))
        for summary in record.scores.values():
            assert out.count(f"{summary.value:.4f}") >= 2  # computed, and stored beside it


def test_compare_pairs_items(results: Path) -> None:
    invoke("run", "--suite", "toys", "--results", str(results))
    a, b = run_id(results, "random"), run_id(results, "bm25")
    out = invoke("compare", a, b, "--results", str(results))
    assert "B better on 6, worse on 0, equal on 0" in out
    assert "B - A" in out and "p = " in out
    quiz = [str(path.parent.name) for path in sorted(results.glob("quiz/*/*/record.json"))][:2]
    assert "McNemar" in invoke("compare", *quiz, "--results", str(results))
    quiz = [next(results.glob(f"quiz/{name}/*/record.json")).parent.name for name in ("majority", "oracle")]
    macro = invoke("compare", *quiz, "--measure", "MacroAcc", "--results", str(results))
    assert "A  majority      0.3250" in macro  # 2 of 5 and 1 of 4: the mean of subject means, not 3 of 9


def test_compare_refuses_runs_of_different_tasks(results: Path) -> None:
    invoke("run", "--suite", "toys", "--results", str(results))
    runs = [next(results.glob(f"{task}/oracle/*/record.json")).parent.name for task in ("toy", "quiz")]
    with pytest.raises(Exception, match="the runs are of different tasks"):
        invoke("compare", *runs, "--results", str(results))


def test_doctor_reports_and_fails_only_for_what_is_broken(
    toy_places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = invoke("doctor")
    for part in ("extra neural", "extra lucene", "Java 21+", "GPU", "mirror", "hub", "cache", "definitions"):
        assert part in out
    monkeypatch.setenv("TOUCHSTONE_DATA", str(toy_places / "nowhere"))
    done = CliRunner().invoke(group, ["doctor"], standalone_mode=False)
    assert done.return_value == 4
    assert "correct TOUCHSTONE_DATA" in done.output


def test_a_dataset_of_ones_own(toy_places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOUCHSTONE_SUITES")
    monkeypatch.delenv("TOUCHSTONE_DATA")
    suite = toy_places / "mirror" / "my.yaml"
    suite.write_text(
        "name: my\n"
        "title: My own data\n"
        "about: A folder in BEIR layout beside this file.\n"
        "datasets:\n"
        "  - {name: mine, sources: [{format: beir, path: toy}]}\n"
        "define:\n"
        "  - {name: mine, kind: rank, dataset: mine, measures: [nDCG@10, R@5]}\n"
        "tasks: [mine]\n"
        "methods: [bm25, oracle]\n"
    )
    results = toy_places / "results"
    assert "1.0000 [1.000, 1.000]" in invoke("run", "--suite", str(suite), "--results", str(results))
    (suite.parent / "given.trec").write_text("".join(f"q{i} Q0 d{i}-1 1 2.0 x\n" for i in range(6)))
    again = "  - {name: again, kind: rank, dataset: mine, measures: [R@5], candidates: given.trec}\n"
    suite.write_text(suite.read_text().replace("tasks: [mine]", f"{again}tasks: [again]"))
    assert "0.2000 [0.200, 0.200]" in invoke("run", "--suite", str(suite), "--results", str(results))
    suite.write_text(suite.read_text().replace("name: mine", "name: pydoc"))
    with pytest.raises(Exception, match="the dataset 'pydoc' is defined already"):
        invoke("run", "--suite", str(suite), "--results", str(results))
