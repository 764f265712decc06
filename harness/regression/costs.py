"""Costs of baseline and candidate, measured in turns on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.errors import TouchstoneError
from harness.record import RECORD_FILE, Record, read_record
from harness.regression.check import Cell, Finding
from harness.regression.judge import Verdict, decide_cost
from harness.regression.policy import COSTS, Cost, Policy
from harness.spec import RunSpec

HERE = Path(__file__).parents[2]
ROUNDS = 5
LIMIT = 3600  # seconds that one measured run may take
UNITS: dict[Cost, str] = {
    "latency": "s, median query",
    "time": "s an item",
    "memory": "bytes",
    "index": "bytes",
}


@dataclass(frozen=True)
class Side:
    """What is measured: a run with the code of a folder that holds ``harness`` and ``adapters``."""

    code: Path
    run: RunSpec


def cost_findings(cells: Sequence[Cell], policy: Policy, baseline_code: Path | None) -> list[Finding]:
    """A finding for each budget that the policy sets, on every cell that has a candidate."""
    found = []
    for cell in cells:
        rule = policy.task(cell.baseline.record.run.task.name)
        if cell.candidate is not None and rule.budgets:
            before = Side(baseline_code or HERE, cell.baseline.record.run)
            after = Side(HERE, cell.candidate.record.run)
            found += _measured(cell, (before, after), rule.budgets, rule.rounds or ROUNDS)
    return found


def _measured(cell: Cell, sides: tuple[Side, Side], budgets: dict[Cost, float], rounds: int) -> list[Finding]:
    names = [name for name in COSTS if name in budgets]
    unmeasured = {name: Finding(*cell.name, name, UNITS[name], Verdict.NOT_MEASURED, "") for name in names}
    before, after = sides
    if before.code == after.code and before.run.method.identity == after.run.method.identity:
        why = "method and code are the same on both sides; give --baseline-code, a checkout of the older code"
        return [replace(one, why=why) for one in unmeasured.values()]
    try:
        pairs = in_turns(before, after, rounds, "latency" in budgets)
    except TouchstoneError as error:
        return [replace(one, verdict=Verdict.FAILED, why=error.line) for one in unmeasured.values()]
    found = []
    for name, one in unmeasured.items():
        values = [(_cost(a, name), _cost(b, name)) for a, b in pairs]
        verdict, why = decide_cost(values, budgets[name])
        middle = sorted(values)[len(values) // 2]
        found.append(
            replace(one, verdict=verdict, why=why, before=middle[0], after=middle[1], items=len(values))
        )
    return found


def in_turns(before: Side, after: Side, rounds: int, latency: bool) -> list[tuple[Record, Record]]:
    """Run both sides *rounds* times, in the order A B, B A, A B, ..., each in a process of its own.

    The first turn of a side builds its indexes, in a cache of its own, and is not counted.
    """
    for side in (before, after):
        if not (side.code / "harness" / "cli" / "__main__.py").is_file():
            raise TouchstoneError(
                "no checkout of touchstone", where=str(side.code), fix="correct --baseline-code"
            )
    with tempfile.TemporaryDirectory(prefix="touchstone-check-") as root:
        places = (Path(root) / "before", Path(root) / "after")
        for side, place in zip((before, after), places, strict=True):
            run_once(side, place, latency)
        pairs = []
        for turn in range(rounds):
            order = (0, 1) if turn % 2 == 0 else (1, 0)
            made = {which: run_once((before, after)[which], places[which], latency) for which in order}
            pairs.append((made[0], made[1]))
        return pairs


def run_once(side: Side, place: Path, latency: bool) -> Record:
    """The record of one fresh run with the code and in the process of *side*; indexes stay in *place*."""
    results = place / "results"
    words = [sys.executable, "-m", "harness.cli", "run"]
    words += ["--task", side.run.task.name, "--method", side.run.method.expression, "--fresh"]
    words += ["--seed", str(side.run.seed), "--limit", str(side.run.limit), "--results", str(results)]
    words += ["--latency"] if latency else []
    place.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(side.code), "TOUCHSTONE_CACHE": str(place / "cache")}
    try:
        done = subprocess.run(
            words, cwd=place, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise TouchstoneError(f"not done after {LIMIT} s", where=side.run.command) from error
    found = sorted(results.glob(f"**/{RECORD_FILE}"))
    if done.returncode or not found:
        last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
        raise TouchstoneError("a measured run failed", where=f"{side.run.command} with {side.code}", why=last)
    return read_record(found[-1])


def _cost(record: Record, aspect: Cost) -> float:
    """The number of a cost; 0 where it is not known."""
    cost = record.cost
    if aspect == "latency":
        return record.latency.p50 if record.latency else 0.0
    if aspect == "time":
        return 1.0 / cost.items_per_second if cost.items_per_second else 0.0
    return float(cost.peak_memory_bytes if aspect == "memory" else cost.index_bytes)
