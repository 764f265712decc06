"""The timed mode: one query at a time, beside the run and never instead of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from harness.adapter import Adapter, Context
from harness.answers import Answers
from harness.cli import group
from harness.errors import TouchstoneError
from harness.execute import Session
from harness.modes import Mode, in_mode, mode
from harness.record import Record
from harness.registry import parse_method
from harness.spec import Kind, RunSpec
from harness.tasks.base import Task, blocks
from harness.timed import TimedSpec, time_single
from tests.test_execute import quiet, run
from tests.toys import same_answers


class AllAtOnce(Adapter):
    """Answers everything in one block, whatever the mode."""

    name = "all-at-once"
    family = "toys"
    kinds = frozenset({Kind.RANK})
    about = "One block."

    def run(self, task: Task, context: Context) -> Iterator[Answers]:
        yield same_answers(task, task.items)


def timed(session: Session, method: str, spec: TimedSpec, task: str = "toy", limit: int = 0) -> Record:
    record = run(session, method, task, limit)
    planned = session.plan(RunSpec(parse_method(method), session.catalog.task(task), limit=limit))
    return time_single(session, record, planned, spec, quiet)


def test_blocks_follow_the_mode() -> None:
    items = np.arange(5, dtype=np.int32)
    with in_mode(Mode(single_items=True)):
        assert [len(block) for block in blocks(items, 3)] == [1] * 5
    assert [len(block) for block in blocks(items, 3)] == [3, 2]
    with pytest.raises(ValueError, match="left"), in_mode(Mode(True, True)):
        raise ValueError("left")
    assert mode() == Mode()


def test_a_query_takes_as_long_as_it_takes(session: Session) -> None:
    record = timed(session, "tests.toys:Slow(seconds=0.02)", TimedSpec(3, 2))
    latency = record.latency
    assert latency is not None
    assert (latency.count, latency.warm_up, latency.mode, latency.excludes) == (3, 2, "single", ())
    assert 0.02 <= latency.p50 <= latency.p95 <= latency.p99
    assert latency.hardware["device"] == "cpu" and latency.hardware["cores"]
    assert session.store.get(record.id) == record


@pytest.mark.parametrize(("method", "task"), [("bm25", "toy"), ("random", "quiz"), ("rag", "quest")])
def test_answers_and_costs_stay_those_of_the_run(session: Session, method: str, task: str) -> None:
    before = run(session, method, task)
    planned = session.plan(RunSpec(before.run.method, before.run.task))
    after = time_single(session, before, planned, TimedSpec(), quiet)
    assert after.latency is not None and after.latency.count + after.latency.warm_up == len(
        session.task(before.run.task).items
    )
    assert replace(after, latency=None) == before
    assert session.store.verify(after, session.task(before.run.task)) == []


def test_rankings_of_a_first_stage_are_not_in_the_latency(session: Session) -> None:
    latency = timed(session, "fusion(methods=bm25+random)", TimedSpec()).latency
    assert latency is not None and latency.excludes == ("bm25", "random")


@pytest.mark.parametrize(
    ("method", "limit", "says"),
    [("tests.test_timed:AllAtOnce", 0, "gave 6 answers at once"), ("bm25", 1, "too few items to time")],
)
def test_what_cannot_be_timed(session: Session, method: str, limit: int, says: str) -> None:
    with pytest.raises(TouchstoneError, match=says):
        timed(session, method, TimedSpec(), limit=limit)


def test_the_commands_print_percentiles(toy_places: Path) -> None:
    results = ["--results", str(toy_places / "results")]
    runner = CliRunner()
    early = runner.invoke(group, ["latency", "bm25", "toy", *results])
    assert isinstance(early.exception, TouchstoneError)
    assert "touchstone run --task toy --method bm25" in early.exception.line
    shown = runner.invoke(group, ["run", "--latency", "--task", "toy", "--method", "bm25", *results])
    assert shown.exit_code == 0, shown.output
    assert "p95" in shown.output and " ms" in shown.output
    again = runner.invoke(group, ["latency", "bm25", "toy", "--count", "3", "--warm-up", "2", *results])
    assert again.exit_code == 0, again.output
    assert "3 after 2 to warm up" in again.output
    one = next(toy_places.glob("results/toy/bm25/*")).name
    page = runner.invoke(group, ["show", one, *results])
    assert "Latency of single queries" in page.output and "3 after 2 to warm up" in page.output
