"""Stored results made by hand, for tests of the leaderboard and its pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from harness.columns import Method, TaskResults
from harness.ranking import Doubles
from harness.record import RECORD_FILE, Cost, Failure, Record, to_text
from harness.scores import Summary, mean_of
from harness.spec import Json, Kind, MethodSpec, RunSpec, TaskSpec
from harness.stats import bootstrap_interval
from harness.store import ITEMS_FILE, Store

TOY = TaskSpec("toy", Kind.RANK, "toy", ("nDCG@10", "AP"), title="Toy")


def record(
    method: str | MethodSpec,
    values: Doubles | None,
    task: TaskSpec = TOY,
    finished: str = "2026-01-01T00:00:00+00:00",
    data: str = "d1",
    limit: int = 0,
) -> Record:
    """A done record whose measures all have *values*, or a failed one for None."""
    spec = method if isinstance(method, MethodSpec) else MethodSpec(method, method)
    run = RunSpec(spec, task, limit=limit)
    provenance: dict[str, Json] = {"finished": finished, "data": data}
    run_id = run.run_id({"at": finished}, data)
    if values is None:
        return Record(run_id, "failed", run, provenance=provenance, failure=Failure("it fell over", "line 1"))
    low, high = bootstrap_interval(values)
    summary = Summary(float(values.mean()), low, high, len(values))
    cost = Cost(2.0, 1.0, {"search": 1.5}, 50.0, 10**8, 10**6)
    return Record(
        run_id, "done", run, dict.fromkeys(task.measures, summary), {"missing": 0}, cost, provenance
    )


def store_record(store: Store, made: Record, values: Doubles | None) -> Record:
    """Write a record by hand where the store looks for it, with its items."""
    folder = store.folder(made)
    folder.mkdir(parents=True)
    (folder / RECORD_FILE).write_text(to_text(made), encoding="utf-8")
    if values is not None:
        items: dict[str, object] = {"item": [f"q{number}" for number in range(len(values))]}
        pd.DataFrame(items | dict.fromkeys(made.scores, values)).to_parquet(folder / ITEMS_FILE)
    return made


def column(
    scores: Mapping[str, Doubles | None], name: str = "toy", groups: list[int] | None = None
) -> TaskResults:
    """The results of a task: per-item scores by method, None for a method that failed."""
    task = replace(TOY, name=name)
    made = {method: record(method, values, task) for method, values in scores.items()}
    keyed = sorted((one.run.method.key, one) for one in made.values())
    current = {key: one for key, one in keyed if one.status == "done"}
    failed = {key: one for key, one in keyed if one.status == "failed"}
    held = [scores[one.run.method.name] for one in current.values()]
    values = np.stack([one for one in held if one is not None], axis=1) if held else np.empty((0, 0))
    numbers = np.array(groups if groups is not None else [0] * len(values), np.int32)
    return TaskResults(task, current, failed, tuple(f"q{n}" for n in range(len(values))), values, numbers)


def methods(*columns: TaskResults, bounds: tuple[str, ...] = ()) -> dict[str, Method]:
    """The methods of some columns; those named in *bounds* are bounds."""
    every = [one for c in columns for one in (*c.current.values(), *c.failed.values())]
    specs = {one.run.method.key: one.run.method for one in every}
    kinds = frozenset({Kind.RANK})
    return {key: Method(key, spec.name, spec, spec.name in bounds, kinds) for key, spec in specs.items()}


def mean(values: Doubles) -> float:
    """The plain mean, as the harness computes it."""
    return mean_of(values, None)
