"""A candidate against its baseline: runs paired, judged, and accepted when that is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from harness.catalog import Suite
from harness.compare import PairedItems, pair_items
from harness.errors import ExitCode, TouchstoneError
from harness.execute import Progress, Session
from harness.record import Record
from harness.regression.judge import EXIT, Evidence, Verdict, decide, gravest, weigh
from harness.regression.policy import Cost, Policy, Quality
from harness.spec import MethodSpec, RunSpec
from harness.stats.intervals import Doubles
from harness.store import Store

Aspect = Literal["quality"] | Cost


@dataclass(frozen=True, eq=False)
class Stored:
    """A stored run and where it lies."""

    store: Store
    record: Record


@dataclass(frozen=True, eq=False)
class Cell:
    """A method on a task, on both sides. Without a candidate, *problem* says why, as *verdict*."""

    baseline: Stored
    candidate: Stored | None = None
    verdict: Verdict = Verdict.NOT_MEASURED
    problem: str = ""

    @property
    def name(self) -> tuple[str, str]:
        """Task and method, as the report names them."""
        before, after = self.baseline.record.run, self.candidate.record.run if self.candidate else None
        changed = after is not None and after.method.identity != before.method.identity
        label = (
            f"{after.method.name} against {before.method.name}" if after and changed else before.method.name
        )
        return before.task.name, label


@dataclass(frozen=True)
class Finding:
    """A verdict on one number. task: of a task, or ``suite NAME`` for the mean over a suite's tasks.

    measure: the measure, or the unit of a cost. before, after: the two means, None where nothing was
    measured.
    """

    task: str
    method: str
    aspect: Aspect
    measure: str
    verdict: Verdict
    why: str
    before: float | None = None
    after: float | None = None
    p_value: float | None = None
    items: int = 0
    items_needed: int = 0
    baseline_run: str = ""
    candidate_run: str = ""


@dataclass(frozen=True)
class Report:
    """All findings of a check."""

    baseline: str
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """Of the check as a whole."""
        return gravest([one.verdict for one in self.findings])

    @property
    def exit_code(self) -> ExitCode:
        """What the command ends with."""
        return EXIT[self.verdict]


def newest(store: Store) -> list[Stored]:
    """The newest finished run of each task, method name, seed and limit of *store*."""
    found: dict[tuple[str, str, int, int], Stored] = {}
    for record in store.find():
        if not store.folder(record).is_dir():
            raise TouchstoneError(
                "not a results folder",
                where=str(store.root),
                why=f"the run {record.id} lies in it as in a part of one",
                fix="name the folder that --results names",
            )
        if record.status == "done":
            found[_key(record.run)] = Stored(store, record)
    return [found[key] for key in sorted(found)]


def _key(run: RunSpec) -> tuple[str, str, int, int]:
    return run.task.name, run.method.name, run.seed, run.limit


def pair_stored(baseline: Sequence[Stored], candidates: Sequence[Stored]) -> list[Cell]:
    """Each baseline run with the candidate of the same task, method name, seed and limit."""
    there = {_key(one.record.run): one for one in candidates}
    return [
        Cell(one, there[_key(one.record.run)])
        if _key(one.record.run) in there
        else Cell(one, problem="the candidate has no such run")
        for one in baseline
    ]


def run_candidates(
    baseline: Sequence[Stored], session: Session, progress: Progress, method: MethodSpec | None = None
) -> list[Cell]:
    """Run each baseline's method (or *method* in its place) again with the code of today.

    Answers are computed anew. A run that cannot start here is *nothing measured*, one that breaks is
    *failed*.
    """
    return [_run(one, session, progress, method) for one in baseline]


def _run(baseline: Stored, session: Session, progress: Progress, method: MethodSpec | None) -> Cell:
    old = baseline.record.run
    try:
        task = session.catalog.task(old.task.name)
        planned = session.plan(replace(old, method=method or old.method, task=task))
    except TouchstoneError as error:
        return Cell(baseline, problem=error.line)
    data = baseline.record.provenance.get("data")
    if planned.task.data_digest != data:
        return Cell(
            baseline, problem="the task's data is not what the baseline read; accept it with --update"
        )
    try:
        record = session.execute(planned, progress, fresh=True)
    except TouchstoneError as error:
        return Cell(baseline, verdict=Verdict.FAILED, problem=error.line)
    return Cell(baseline, Stored(session.store, record))


def judge(cells: Sequence[Cell], policy: Policy, suites: Mapping[str, Suite]) -> list[Finding]:
    """A finding on the quality of every cell, then of every suite that the policy names."""
    made: list[tuple[Finding, Evidence | None, Quality]] = []
    paired: dict[tuple[str, str], PairedItems] = {}
    for cell in cells:
        rule = policy.task(cell.baseline.record.run.task.name).quality(Quality())
        made.append(_weighed(cell, rule, paired))
    for name in policy.suites:
        rule = policy.suite(name).quality(Quality())
        methods = dict.fromkeys(cell.name[1] for cell in cells)
        made += [_suite(suites[name], method, paired, rule) for method in methods]
    weighed = [(evidence, rule) for _, evidence, rule in made if evidence]
    verdicts = iter(decide([evidence for evidence, _ in weighed], [rule for _, rule in weighed]))
    return [_judged(finding, *next(verdicts)) if evidence else finding for finding, evidence, _ in made]


def _judged(finding: Finding, verdict: Verdict, why: str) -> Finding:
    return replace(finding, verdict=verdict, why=why)


def _weighed(
    cell: Cell, rule: Quality, paired: dict[tuple[str, str], PairedItems]
) -> tuple[Finding, Evidence | None, Quality]:
    """The finding of a cell, still without a verdict when there is evidence for one."""
    before = cell.baseline.record
    measure = rule.measure or before.run.task.main_measure
    finding = Finding(*cell.name, "quality", measure, cell.verdict, cell.problem, baseline_run=before.id)
    if cell.candidate is None:
        return finding, None, rule
    finding = replace(finding, candidate_run=cell.candidate.record.id)
    try:
        items = pair_items(
            (cell.baseline.store, before), (cell.candidate.store, cell.candidate.record), measure
        )
    except TouchstoneError as error:
        return replace(finding, verdict=Verdict.NOT_MEASURED, why=error.line), None, rule
    if len(items.items) < 2:
        one = "a single item shows nothing; two are needed at least"
        return replace(finding, verdict=Verdict.CANNOT_TELL, why=one), None, rule
    paired[cell.name] = items
    evidence = weigh(*_scores(items), rule, items.groups)
    return _numbered(finding, evidence), evidence, rule


def _scores(items: PairedItems) -> tuple[Doubles, Doubles]:
    return items.items["a"].to_numpy(np.float64), items.items["b"].to_numpy(np.float64)


def _numbered(finding: Finding, evidence: Evidence) -> Finding:
    found = evidence.comparison
    return replace(
        finding,
        before=found.mean_a,
        after=found.mean_b,
        p_value=evidence.p_value,
        items=found.n,
        items_needed=evidence.needed,
    )


def _suite(
    suite: Suite, method: str, paired: Mapping[tuple[str, str], PairedItems], rule: Quality
) -> tuple[Finding, Evidence | None, Quality]:
    """The mean over a suite's tasks, each of which counts alike, items compared within their task."""
    finding = Finding(f"suite {suite.name}", method, "quality", "mean", Verdict.NOT_MEASURED, "")
    missing = [task.name for task in suite.tasks if (task.name, method) not in paired]
    if missing:
        return replace(finding, why=f"no comparison on {', '.join(missing)}"), None, rule
    every = [paired[task.name, method] for task in suite.tasks]
    before, after = (np.concatenate(side) for side in zip(*map(_scores, every), strict=True))
    groups = np.repeat(np.arange(len(every)), [len(one.items) for one in every]).astype(np.int32)
    evidence = weigh(before, after, rule, groups)
    return _numbered(finding, evidence), evidence, rule


def accept(cells: Sequence[Cell]) -> int:
    """Put the candidates in the place of their baselines; returns how many were."""
    accepted = 0
    for cell in cells:
        if cell.candidate is not None:
            store, record = cell.baseline.store, cell.candidate.record
            store.adopt(cell.candidate.store.folder(record), record)
            if cell.baseline.record.id != record.id:
                store.remove(cell.baseline.record)
            accepted += 1
    return accepted
