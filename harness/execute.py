"""Running a method on a task: blocks of answers as shards on disk, then scores, costs and a record.

A run's answers are an asset. A run that was cut leaves its finished blocks in the asset's partial folder, and
the next attempt answers only the items that are missing.
"""

from __future__ import annotations

import os
import shutil
import time
import traceback
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from harness import __version__
from harness.adapter import Adapter, Context, code_digest
from harness.answers import Answers, Ints, Rankings
from harness.assets import Asset, Assets
from harness.catalog import Catalog
from harness.errors import ExitCode, TouchstoneError
from harness.gauges import Gauges
from harness.meter import Meter, machine, metering, versions
from harness.record import Cost, Failure, Record
from harness.registry import make_adapter, parse_method
from harness.scores import Scores
from harness.shards import Segment, Shards, join_shards, read_answers
from harness.spec import Json, Kind, RunSpec, TaskSpec, digest
from harness.store import Store, limited
from harness.tasks.base import Task
from harness.tasks.choose import ChooseTask
from harness.tasks.load import load_task

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Planned:
    """A run with all that identifies it."""

    run: RunSpec
    id: str
    adapter: Adapter
    task: Task
    made_with: dict[str, Json]

    @property
    def about(self) -> dict[str, Json]:
        """What its id is the digest of, as the cache shows it."""
        return {
            "method": self.run.method.name,
            "task": self.run.task.identity,
            "seed": self.run.seed,
            "limit": self.run.limit,
            "made_with": self.made_with,
            "data": self.task.data_digest,
        }


@dataclass
class Session:
    """What runs share: definitions, results, assets, loaded tasks and models."""

    catalog: Catalog
    store: Store
    assets: Assets
    device: str = "cpu"
    tasks: dict[TaskSpec, Task] = field(default_factory=dict)
    kept: dict[Hashable, Any] = field(default_factory=dict)

    def task(self, spec: TaskSpec) -> Task:
        """The whole task, loaded once."""
        if spec not in self.tasks:
            self.tasks[spec] = load_task(spec, self.catalog.dataset(spec.dataset), self.assets)
        return self.tasks[spec]

    def plan(self, run: RunSpec) -> Planned:
        """Identify a run: needs its data, and what the method needs, to be here."""
        adapter = make_adapter(run.method)
        if run.task.kind not in adapter.kinds:
            kinds = ", ".join(sorted(adapter.kinds))
            raise TouchstoneError(
                f"{run.method.name} does not do '{run.task.kind}' tasks", why=f"it does: {kinds}"
            )
        adapter.check()
        task = self.task(run.task)
        made_with: dict[str, Json] = {"code": code_digest(type(adapter)), **adapter.made_with()}
        if adapter.part_methods():
            parts = {name: self.plan(_part(run, name)).id for name in adapter.part_methods()}
            made_with["parts"] = dict(parts)
        return Planned(run, run.run_id(made_with, task.data_digest), adapter, task, made_with)

    def execute(self, planned: Planned, progress: Progress, fresh: bool = False) -> Record:
        """Run, score and store. A method that fails leaves a failed record and raises."""
        self.store.require_writable()
        started = _now()
        try:
            asset = self.answers(planned, progress, fresh)
            answers = read_answers(asset.path)
            task = limited(planned.task, planned.run.limit)
            scores = planned.adapter.score(task, answers)
            segments = [
                Segment.from_text(line) for line in (asset.path / "segments.jsonl").read_text().splitlines()
            ]
            record = Record(
                planned.id,
                "done",
                planned.run,
                scores.summary(),
                _counts(scores, segments),
                _cost(segments, len(task.items)),
                self._provenance(planned, started),
                _notes(planned, task),
            )
            return self.store.put(record, task, answers, scores)
        except Exception as error:
            self._store_failure(planned, started, error)
            if isinstance(error, TouchstoneError):
                raise
            raise TouchstoneError(
                f"{planned.run.method.name} failed on {planned.run.task.name}",
                why=f"{type(error).__name__}: {error}",
                fix=f"touchstone show {planned.id} prints the traceback",
                exit_code=ExitCode.RUN_FAILED,
            ) from error

    def answers(self, planned: Planned, progress: Progress, fresh: bool = False) -> Asset:
        """The answers of a run, computed as far as they are missing."""
        key: dict[str, Json] = {"run": planned.id}
        if fresh:
            folder = self.assets.root / "answers" / digest(dict(key), 32)
            for old in (folder, folder.with_suffix(".partial")):
                shutil.rmtree(old, ignore_errors=True)
        return self.assets.get_or_make(
            "answers", key, lambda folder: self._compute(planned, folder, progress), planned.about
        )

    def _compute(self, planned: Planned, folder: Path, progress: Progress) -> float:
        """Answer what no shard holds yet, a shard a block; then join the shards. Returns the seconds of
        all attempts.
        """
        task = limited(planned.task, planned.run.limit)
        shards = Shards(folder)
        todo: Ints = task.items[~np.isin(task.items, shards.items)]
        if len(todo):
            context = self.context(planned, progress)
            if shards.dropped:
                context.meter.count("corrupt_shards_dropped", shards.dropped)
            name = planned.run.method.name
            with metering(context.meter):
                for answers, segment in _metered(planned.adapter, task.select(todo), context):
                    checked = task.check(answers)
                    _refuse_foreign(checked, todo, task)
                    shards.add(checked, segment)
                    progress(name, len(shards), len(task.items))
        join_shards(shards, task)
        return sum(shard.segment.seconds + shard.segment.spent.reused for shard in shards.held)

    def context(self, planned: Planned, progress: Progress) -> Context:
        """What *planned*'s adapter is handed."""
        meter = Meter()

        def first_stage(method: str) -> Rankings:
            part = self.plan(_part(planned.run, method))
            asset = self.answers(part, progress)
            meter.reused += asset.seconds if not asset.made_now else 0.0
            rankings = read_answers(asset.path)
            assert isinstance(rankings, Rankings)
            return rankings

        return Context(
            self.assets,
            first_stage,
            seed=planned.run.seed,
            device=self.device,
            meter=meter,
            progress=progress,
            kept=self.kept,
        )

    def _provenance(self, planned: Planned, started: str) -> dict[str, Json]:
        return {
            "command": planned.run.command,
            "started": started,
            "finished": _now(),
            "touchstone": __version__,
            "made_with": planned.made_with,
            "data": planned.task.data_digest,
            "device": self.device,
            "machine": machine(),
            "versions": versions(),
        }

    def _store_failure(self, planned: Planned, started: str, error: Exception) -> None:
        lines = "".join(traceback.format_exception(error)).strip().splitlines()[-20:]
        failure = Failure(
            error.line if isinstance(error, TouchstoneError) else f"{type(error).__name__}: {error}",
            "\n".join(lines),
        )
        self.store_failure(planned, failure, started)

    def store_failure(self, planned: Planned, failure: Failure, started: str = "") -> None:
        """A failed record, unless a finished one of the same run is stored: that is worth more."""
        if self.store.done(planned.id, planned.run.task.name, planned.run.method.name):
            return
        provenance = self._provenance(planned, started or _now())
        record = Record(planned.id, "failed", planned.run, provenance=provenance, failure=failure)
        try:
            self.store.put(record, None, None, None)
        except TouchstoneError:
            return  # the results folder itself is the problem, and the first error says so


def _part(run: RunSpec, method: str) -> RunSpec:
    """The run of a method that another starts from: what answers in texts starts from rankings."""
    task = run.task.as_ranking() if run.task.kind is Kind.GENERATE else run.task
    return replace(run, method=parse_method(method), task=task)


def _metered(adapter: Adapter, task: Task, context: Context) -> Iterator[tuple[Answers, Segment]]:
    """The adapter's blocks, each with what it took since the one before."""
    attempt = f"{os.getpid()}-{time.time_ns()}"
    gauges = Gauges(context.device)
    start = time.perf_counter()
    for answers in adapter.run(task, context):
        seconds = time.perf_counter() - start
        read = gauges.read()
        spent = context.meter.take()
        yield answers, Segment(seconds, spent, read.peak_memory, attempt, read.peak_device, read.joules)
        start = time.perf_counter()


def _refuse_foreign(answers: Answers, todo: Ints, task: Task) -> None:
    strange = answers.items[~np.isin(answers.items, todo)]
    if len(strange):
        raise TouchstoneError("the method answered an item it was not asked", where=f"item {int(strange[0])}")
    if len(np.unique(answers.items)) != len(answers.items):
        raise TouchstoneError("the method answered an item twice", where=task.spec.name)


def _cost(segments: list[Segment], items: int) -> Cost:
    phases: dict[str, float] = {}
    for segment in segments:
        for name, seconds in segment.spent.phases.items():
            phases[name] = round(phases.get(name, 0.0) + seconds, 6)
    total = sum(segment.seconds for segment in segments)
    answering = total - sum(phases.get(name, 0.0) for name in ("index", "load", "compare"))
    answering += sum(segment.spent.reused_answering for segment in segments)
    return Cost(
        seconds=round(total, 6),
        reused_seconds=round(sum(segment.spent.reused for segment in segments), 6),
        phases=phases,
        items_per_second=round(items / answering, 3) if answering > 0 else 0.0,
        peak_memory_bytes=max((segment.peak_memory for segment in segments), default=0),
        peak_device_bytes=_largest([segment.peak_device for segment in segments]),
        joules=_joules(segments),
        index_bytes=max((segment.spent.index_bytes for segment in segments), default=0),
        segments=len({segment.attempt for segment in segments}),
    )


def _largest(values: list[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)


def _joules(segments: list[Segment]) -> dict[str, float] | None:
    """By part of the machine, of the parts that every segment could read; None when there is none."""
    read = [segment.joules or {} for segment in segments]
    shared = set.intersection(*map(set, read)) if read else set()
    return {part: round(sum(joules[part] for joules in read), 3) for part in sorted(shared)} or None


def _counts(scores: Scores, segments: list[Segment]) -> dict[str, int]:
    counts = dict(scores.counts)
    for segment in segments:
        for name, times in segment.spent.counts.items():
            counts[name] = counts.get(name, 0) + times
    return counts


def _notes(planned: Planned, task: Task) -> tuple[str, ...]:
    notes = list(planned.adapter.notes(task))
    if isinstance(task, ChooseTask):
        notes.append(f"guessing is right {task.chance():.4f} of the time")
    return tuple(notes)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
