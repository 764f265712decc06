"""Running: blocks on disk, resume after kill -9, failures kept as records, nothing run twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from harness.errors import TouchstoneError
from harness.execute import Session
from harness.plan import Request, cells
from harness.record import Record
from harness.registry import parse_method
from harness.spec import RunSpec


def quiet(_what: str, _done: int, _total: int) -> None:
    """No progress."""


def run(session: Session, method: str, task: str = "toy", limit: int = 0) -> Record:
    spec = RunSpec(parse_method(method), session.catalog.task(task), limit=limit)
    return session.execute(session.plan(spec), quiet)


@pytest.mark.parametrize("task", ["toy", "quiz"])
def test_a_run_is_scored_priced_and_stored(session: Session, task: str) -> None:
    record = run(session, "oracle", task)
    stored = session.store.get(record.id)
    assert stored == record
    assert stored.main is not None and stored.main.value == 1.0
    assert stored.cost.seconds > 0 and stored.cost.peak_memory_bytes > 1e6
    assert stored.provenance["command"] == f"touchstone run --task {task} --method oracle"
    assert {"machine", "versions", "data", "made_with", "files"} <= set(stored.provenance)
    assert session.store.verify(record, session.task(record.run.task)) == []


def test_bm25_finds_the_right_topic(session: Session) -> None:
    assert run(session, "bm25").scores["R@5"].value == 1.0


def test_stored_runs_are_not_to_do(session: Session) -> None:
    request = Request([session.catalog.task("toy")], [parse_method("oracle"), parse_method("majority")])
    assert [cell.state for cell in cells(request, session)] == ["to do"]  # majority does not rank
    run(session, "oracle")
    assert [cell.state for cell in cells(request, session)] == ["stored"]


def test_answers_survive_lost_results(session: Session, tmp_path: Path) -> None:
    log = tmp_path / "log"
    method = f"tests.toys:Slow(log={log})"
    record = run(session, method)
    again = Session(session.catalog, type(session.store)(tmp_path / "elsewhere"), session.assets)
    assert run(again, method).scores == record.scores
    assert len(log.read_text().split()) == 6


def test_fresh_computes_again(session: Session, tmp_path: Path) -> None:
    log = tmp_path / "log"
    spec = RunSpec(parse_method(f"tests.toys:Slow(log={log})"), session.catalog.task("toy"))
    for fresh in (False, True):
        session.execute(session.plan(spec), quiet, fresh)
    assert len(log.read_text().split()) == 12


def test_limit_is_another_run(session: Session) -> None:
    whole, part = run(session, "random"), run(session, "random", limit=2)
    assert whole.id != part.id
    assert part.main is not None and part.main.n == 2


def test_a_failure_is_a_record_and_keeps_finished_blocks(session: Session) -> None:
    with pytest.raises(TouchstoneError, match="ValueError: the model fell over") as caught:
        run(session, "tests.toys:Broken")
    assert caught.value.exit_code == 4
    (record,) = session.store.find()
    assert record.status == "failed"
    assert record.failure is not None and "the model fell over" in record.failure.details
    assert len(list(session.assets.root.glob("answers/*.partial/shard-*.npz"))) == 1


@pytest.mark.parametrize(("task", "where"), [("toy", "query 'q2'"), ("quiz", "question 'sums/2'")])
def test_nan_names_the_item_and_loses_nothing(session: Session, task: str, where: str) -> None:
    with pytest.raises(TouchstoneError) as caught:
        run(session, "tests.toys:NotANumber", task)
    assert "NaN" in caught.value.line and where in caught.value.line
    assert len(list(session.assets.root.glob("answers/*.partial/shard-*.npz"))) == 1


def test_fusion_runs_its_parts_once_and_books_their_cost(session: Session) -> None:
    parts = [run(session, "bm25"), run(session, "random")]
    fused = run(session, "fusion(methods=bm25+random)")
    assert fused.cost.reused_seconds == pytest.approx(sum(part.cost.cold_seconds for part in parts), rel=0.01)
    assert set(fused.provenance["made_with"]["parts"].values()) == {part.id for part in parts}  # type: ignore[index,union-attr,call-overload]


def test_kill_minus_nine_costs_only_the_unfinished_block(toy_places: Path) -> None:
    log = toy_places / "log"
    command = [
        sys.executable,
        "-m",
        "harness.cli",
        "run",
        "--task",
        "toy",
        "--results",
        str(toy_places / "results"),
    ]
    command += ["--method", f"tests.toys:Slow(seconds=0.3,log={log})"]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while (not log.exists() or len(log.read_text().split()) < 3) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    before = log.read_text().split()
    assert 3 <= len(before) < 6
    assert not list(toy_places.glob("results/**/record.json"))

    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answered = log.read_text().split()
    repeated = [item for item in set(answered) if answered.count(item) > 1]
    assert set(answered) == set("012345")
    assert len(repeated) <= 1  # the block that was under way

    from harness.assets import Assets
    from harness.catalog import Catalog
    from harness.store import Store

    session = Session(Catalog(), Store(toy_places / "results"), Assets(toy_places / "cache"))
    (record,) = session.store.find()
    assert record.cost.segments == 2
    assert record.counts["missing"] == 0
    assert record.main is not None and record.main.n == 6
    assert record.cost.seconds >= 6 * 0.3

    nothing = subprocess.run(command, capture_output=True, text=True, check=False)
    assert nothing.returncode == 0
    assert "Nothing to do" in nothing.stdout
    assert log.read_text().split() == answered


def test_random_answers_do_not_depend_on_blocks(session: Session) -> None:
    task = session.task(session.catalog.task("toy"))
    from adapters.bounds.random import Random
    from harness.adapter import Context

    context = Context(session.assets, lambda _m: pytest.fail("no part"))
    (whole,) = Random().run(task, context)
    (part,) = Random().run(task.select(task.items[3:5]), context)
    assert np.array_equal(whole.docs[3:5], part.docs)  # type: ignore[union-attr]


def test_a_corrupt_shard_is_dropped_and_its_items_answered_again(session: Session, tmp_path: Path) -> None:
    log = tmp_path / "log"
    planned = session.plan(RunSpec(parse_method(f"tests.toys:Slow(log={log})"), session.catalog.task("toy")))

    def stop(_what: str, done: int, _total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        session.execute(planned, stop)
    first, second, third, fourth = sorted(session.assets.root.glob("answers/*.partial/shard-*.npz"))
    body = bytearray(first.read_bytes())
    body[body.find(b"\x93NUMPY") + 130] ^= 1  # one bit of the array
    first.write_bytes(body)
    third.write_bytes(third.read_bytes()[:200])
    fourth.write_bytes(b"")
    record = session.execute(planned, quiet)
    answered = log.read_text().split()
    assert sorted(answered) == sorted("0123" + "023" + "45")
    assert record.counts["corrupt_shards_dropped"] == 3
    assert record.counts["missing"] == 0
    assert second.name == "shard-000001.npz"


def test_a_failure_does_not_replace_a_finished_record(session: Session) -> None:
    from harness.record import Failure

    record = run(session, "oracle")
    session.store_failure(session.plan(record.run), Failure("late", ""))
    assert session.store.get(record.id) == record


def test_a_run_that_finds_nothing_can_be_verified(session: Session) -> None:
    record = run(session, "tests.toys:Nothing")
    assert record.main is not None and record.main.value == 0.0
    assert session.store.verify(record, session.task(record.run.task)) == []
