"""Costs measured in turns, each side in a process of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import TouchstoneError
from harness.execute import Session
from harness.registry import parse_method
from harness.regression.check import Cell, Stored
from harness.regression.costs import HERE, Side, cost_findings, in_turns
from harness.regression.judge import Verdict
from harness.regression.policy import Policy, Rule
from harness.spec import RunSpec
from tests.test_execute import run


def cell(session: Session, before: str, after: str) -> Cell:
    sides = [Stored(session.store, run(session, method)) for method in (before, after)]
    return Cell(*sides)


def test_a_slower_method_breaks_its_budget(session: Session) -> None:
    one = cell(session, "tests.toys:Slow", "tests.toys:Slow(seconds=0.05)")
    rule = Rule(time=1.5, index=1.1, latency=2.0, rounds=3)
    found = {f.aspect: f for f in cost_findings([one], Policy(rule), None)}
    assert found["time"].verdict is Verdict.WORSE and found["latency"].verdict is Verdict.WORSE
    assert found["index"].verdict is Verdict.FINE and found["index"].why == "neither side has one"
    assert found["time"].after is not None and found["time"].after > 0.05
    assert found["latency"].items == 3


def test_nothing_is_measured_when_both_sides_are_the_same(session: Session) -> None:
    one = cell(session, "random", "random")
    found = cost_findings([one], Policy(Rule(time=1.5)), None)
    assert [f.verdict for f in found] == [Verdict.NOT_MEASURED] and "--baseline-code" in found[0].why
    assert cost_findings([one], Policy(), None) == []


def test_the_older_code_is_the_one_that_runs(session: Session, tmp_path: Path) -> None:
    spec = RunSpec(parse_method("random"), session.catalog.task("toy"))
    with pytest.raises(TouchstoneError, match="no checkout of touchstone"):
        in_turns(Side(tmp_path, spec), Side(HERE, spec), 3, False)
    (tmp_path / "harness" / "cli").mkdir(parents=True)
    for name in ("__init__", "cli/__init__"):
        (tmp_path / "harness" / f"{name}.py").touch()
    (tmp_path / "harness" / "cli" / "__main__.py").write_text("raise SystemExit('the older code')")
    one = Cell(Stored(session.store, run(session, "random")))
    one = replace(one, candidate=one.baseline)
    found = cost_findings([one], Policy(Rule(memory=1.2)), tmp_path)
    assert [f.verdict for f in found] == [Verdict.FAILED] and "the older code" in found[0].why
