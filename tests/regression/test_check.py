"""``touchstone check`` end to end on toy data: every exit code, every kind of side, acceptance."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from harness.cli import group
from harness.errors import TouchstoneError
from harness.execute import Session
from harness.regression.check import Stored, judge, newest, pair_stored
from harness.regression.judge import Verdict
from harness.regression.policy import Policy, Rule
from harness.store import Store
from tests.boards import record, store_record
from tests.test_execute import run
from tests.test_leaderboard import HIGH, LOW


def check(*words: str | Path) -> tuple[int, str]:
    """Exit code and output."""
    done = CliRunner().invoke(group, ["check", *map(str, words)], standalone_mode=False)
    if done.exception:
        raise done.exception
    return done.return_value, done.output


@pytest.fixture
def baseline(session: Session) -> Path:
    """A results folder with two methods on the toy task."""
    for method in ("bm25", "oracle"):
        run(session, method)
    return session.store.root


def test_the_same_code_is_fine(baseline: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    code, text = check(baseline, "--json", out)
    assert code == 0 and "fine" in text
    body = json.loads(out.read_text())
    assert [one["verdict"] for one in body["findings"]] == ["fine", "fine"]
    assert all(one["before"] == one["after"] for one in body["findings"])


def test_a_worse_method_is_worse(session: Session, tmp_path: Path) -> None:
    oracle = run(session, "oracle")
    results = ("--results", str(session.store.root))
    code, text = check(oracle.id[:8], "random", *results)
    assert code == 1 and "random against oracle" in text
    worse = run(session, "random")
    assert check(oracle.id, worse.id, *results)[0] == 1
    assert check(worse.id, oracle.id, *results)[0] == 0
    policy = tmp_path / "policy.yaml"
    policy.write_text("tasks: {toy: {effect: 1.5}}")
    assert check(oracle.id, worse.id, "--policy", policy, *results)[0] == 0


def test_two_folders(baseline: Path, session: Session, tmp_path: Path) -> None:
    other = Session(session.catalog, Store(tmp_path / "other"), session.assets)
    run(other, "bm25")
    code, text = check(baseline, other.store.root)
    assert code == 3 and "the candidate has no such run" in text
    run(other, "oracle")
    assert check(baseline, other.store.root)[0] == 0


def test_doubt_is_an_exit_code_of_its_own(tmp_path: Path) -> None:
    one, two = Store(tmp_path / "one"), Store(tmp_path / "two")
    store_record(one, record("bm25", HIGH[:4]), HIGH[:4])
    mixed = HIGH[:4] + np.array([0.2, -0.2, 0.1, -0.15])
    store_record(two, record("bm25", mixed), mixed)
    code, text = check(one.root, two.root)
    assert code == 5 and "items would do" in text
    store_record(one, record("dense", HIGH[:1]), HIGH[:1])
    store_record(two, record("dense", LOW[:1]), LOW[:1])
    assert "a single item shows nothing" in check(one.root, two.root)[1]


def test_a_run_that_breaks(session: Session) -> None:
    good = run(session, "tests.toys:Slow")
    results = ("--results", str(session.store.root))
    code, text = check(good.id, "tests.toys:Broken", *results)
    assert code == 4 and "the model fell over" in text


def test_other_data_is_not_measured(baseline: Path, toy_places: Path) -> None:
    with (toy_places / "mirror" / "toy" / "corpus.jsonl").open("a") as corpus:
        corpus.write('{"_id": "new", "title": "", "text": "river"}\n')
    code, text = check(baseline)
    assert code == 3 and "not what the baseline read" in text


def test_a_damaged_baseline_is_not_measured(baseline: Path, tmp_path: Path) -> None:
    next(baseline.glob("toy/bm25/*/items.parquet")).write_bytes(b"PAR1")
    code, text = check(baseline)
    assert code == 3 and "cannot read the per-item scores" in text


def test_acceptance_replaces_the_baseline(session: Session, tmp_path: Path) -> None:
    run(session, "bm25")
    old = [one.record.id for one in newest(session.store)]
    code, _ = check(session.store.root, "bm25(k1=3.0)", "--update")
    assert code == 0
    new = newest(session.store)
    assert [one.record.run.method.name for one in new] == ["bm25(k1=3.0)"]
    assert (
        new[0].record.id not in old
        and session.store.verify(new[0].record, session.task(new[0].record.run.task)) == []
    )
    with pytest.raises(TouchstoneError, match="--update needs a results folder"):
        check(new[0].record.id, "bm25", "--update", "--results", session.store.root)


def test_a_suite_is_judged_by_its_mean(session: Session, tmp_path: Path) -> None:
    for method in ("random", "oracle"):
        run(session, method, "toy")
        run(session, method, "quiz")
    worse = tmp_path / "worse"
    shutil.copytree(session.store.root / "toy" / "random", worse / "toy" / "random")
    shutil.copytree(session.store.root / "quiz" / "random", worse / "quiz" / "random")
    policy = tmp_path / "policy.yaml"
    policy.write_text("suites: {toys: {effect: 0.001}}")
    code, text = check(session.store.root, worse, "--policy", policy)
    assert code == 3 and "suite toys" in text and "no comparison on toy, quiz" in text
    code, text = check(worse, "--policy", policy)
    assert code == 0 and text.count("suite toys") == 1
    cells = pair_stored(newest(session.store), newest(session.store))
    rules = Policy(suites={"toys": Rule(effect=0.001)})
    found = judge(cells, rules, {"toys": session.catalog.suite("toys")})
    suites = {one.method: one for one in found if one.task == "suite toys"}
    assert suites["oracle"].before == pytest.approx(1.0)
    assert {one.verdict for one in found} == {Verdict.FINE}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere",), "the baseline is neither a folder nor a run"),
        (("{results}/toy",), "not a results folder"),
        (("{results}", "bm52"), "unknown method 'bm52'; did you mean 'bm25'?"),
        (("{results}", "random"), "the baseline holds several methods of one task"),
        (("{results}", "--suite", "smoke"), "the baseline holds no finished run of the suite 'smoke'"),
        (("{results}", "--policy", "none.yaml"), "cannot read the file"),
    ],
)
def test_usage_errors(baseline: Path, words: tuple[str, ...], message: str) -> None:
    with pytest.raises(TouchstoneError) as caught:
        check(*(word.format(results=baseline) for word in words))
    assert message in caught.value.line


def test_a_policy_for_an_unknown_task_is_an_error(baseline: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("tasks: {tyo: {effect: 0.1}}")
    with pytest.raises(TouchstoneError, match="unknown task 'tyo'"):
        check(baseline, "--policy", policy)


def test_failed_runs_are_no_baseline(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store_record(store, record("bm25", None), None)
    assert newest(store) == []
    with pytest.raises(TouchstoneError) as caught:
        check(tmp_path)
    assert caught.value.exit_code == 3


def test_the_newest_run_counts(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store_record(store, record("bm25", LOW), LOW)
    new = store_record(store, record("bm25", HIGH, finished="2026-03-01T00:00:00+00:00"), HIGH)
    assert [one.record.id for one in newest(store)] == [new.id]
    assert isinstance(newest(store)[0], Stored)
