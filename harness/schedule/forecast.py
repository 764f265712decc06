"""What runs will take: arithmetic where nothing is known, corrected by what earlier runs took."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from harness.adapter import Need
from harness.assets import Assets
from harness.execute import Planned
from harness.record import Record
from harness.schedule.desk import desks
from harness.schedule.jobs import Device, DeviceKind, Job
from harness.store import limited
from harness.tasks.rank import RankTask

START_SECONDS = 0.5  # of any run
ITEM_SECONDS = {"cpu": 0.002, "model": 0.05, "gpu": 0.005}  # an item, where no record tells
DOC_SECONDS = {"cpu": 2e-5, "model": 0.02, "gpu": 5e-4}  # a document to index or encode
WATTS = {"cpu": 60.0, "fake": 60.0, "gpu": 300.0}  # of a busy device, where no counter told
WORKER_BYTES = 150 << 20  # of a worker that has loaded nothing
SPARE = 1.1  # claimed beyond what an earlier run was seen to hold
CARD_SHARE = 0.5  # of a card's compute, until a run was seen


@dataclass(frozen=True)
class Forecast:
    """A run before it starts. shared: assets that are there already. basis: where the seconds are from."""

    job: Job
    joules: float
    shared: tuple[str, ...]
    basis: str


@dataclass
class Past:
    """What earlier runs took: seconds, bytes and joules by method and task; shares of cards by method."""

    records: Mapping[tuple[str, str], Record] = field(default_factory=dict)
    used: Mapping[str, int] = field(default_factory=dict)
    busy: Mapping[str, float] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, records: Iterable[Record], results: Path) -> Past:
        """From stored records (newest last) and the events of earlier schedules, by run id."""
        done = [record for record in records if record.status == "done"]
        rates: dict[str, list[float]] = {}
        for record in done:
            items = max(1, record.main.n) if record.main else 1
            rates.setdefault(record.run.method.expression, []).append(record.cost.cold_seconds / items)
        used: dict[str, int] = {}
        busy: dict[str, float] = {}
        for desk in desks(results):
            for event in desk.events():
                if event.get("what") == "done":
                    used[event["job"]] = max(used.get(event["job"], 0), int(event.get("used") or 0))
                    if event.get("busy"):
                        busy[event["job"]] = float(event["busy"])
        return cls(
            {(r.run.method.expression, r.run.task.name): r for r in done},
            used,
            busy,
            {name: median(found) for name, found in rates.items()},
        )


@dataclass(frozen=True)
class JobOptions:
    """For all runs of a request. priorities: by the name of a method or a task, 0 for what is not named.
    alone: every run has its device to itself.
    """

    priorities: Mapping[str, int] = field(default_factory=dict)
    alone: bool = False


@dataclass(frozen=True)
class Forecaster:
    """Turns planned runs into jobs for *devices*."""

    devices: Sequence[Device]
    assets: Assets
    past: Past = field(default_factory=Past)
    options: JobOptions = field(default_factory=JobOptions)

    def all(self, planned: Mapping[str, Planned]) -> list[Forecast]:
        """A forecast for each run, by job; a run waits for those among them that it starts from."""
        by_id = {run.id: job for job, run in planned.items()}
        return [self.one(job, run, by_id) for job, run in planned.items()]

    def one(self, name: str, planned: Planned, by_id: Mapping[str, str]) -> Forecast:
        """The forecast of one run."""
        need = planned.adapter.need(planned.task)
        kind = self._kind(need)
        seconds, basis = self._seconds(planned, need, kind)
        claim, host = self._claims(name, planned, need, kind)
        parts = planned.made_with.get("parts")
        ids = [str(part) for part in parts.values()] if isinstance(parts, dict) else []
        run = planned.run
        neural = "neural" in planned.adapter.extras
        job = Job(
            name,
            kind,
            claim,
            host,
            seconds,
            self.past.busy.get(name, CARD_SHARE) if kind != "cpu" else 1.0,
            need.devices if kind != "cpu" else 1,
            self.options.alone,
            sum(self.options.priorities.get(label, 0) for label in (run.method.name, run.task.name)),
            need.model or (run.method.expression if neural else ""),
            run.task.dataset,
            need.assets,
            tuple(by_id[part] for part in ids if part in by_id),
        )
        shared = tuple(asset for asset in need.assets if self.assets.has(asset))
        return Forecast(job, self._joules(planned, kind, seconds), shared, basis)

    def _kind(self, need: Need) -> DeviceKind:
        kinds = {device.kind for device in self.devices}
        if "fake" in kinds:
            return "fake"
        return "gpu" if "gpu" in kinds and (need.device_bytes or "cpu" not in kinds) else "cpu"

    def _claims(self, name: str, planned: Planned, need: Need, kind: DeviceKind) -> tuple[int, int]:
        """(bytes of the device, bytes of the host), at most what the largest device and the host have."""
        record = self.past.records.get(_key(planned))
        if kind == "gpu":
            seen = (record.cost.peak_device_bytes or 0) if record else 0
            claim = need.device_bytes
        else:
            seen = record.cost.peak_memory_bytes if record else 0
            claim = max(need.bytes, WORKER_BYTES)
        seen = max(seen, self.past.used.get(name, 0))
        claim = int(seen * SPARE) if seen else claim
        most = max((d.bytes for d in self.devices if d.kind == kind), default=0)
        memory = max((d.bytes for d in self.devices if d.kind == "cpu"), default=0)
        return min(claim, most), min(need.bytes, memory) if kind == "gpu" else 0

    def _seconds(self, planned: Planned, need: Need, kind: DeviceKind) -> tuple[float, str]:
        items = len(limited(planned.task, planned.run.limit).items)
        record = self.past.records.get(_key(planned))
        if record is not None:
            before = record.main.n if record.main else items
            there = not need.assets or all(self.assets.has(asset) for asset in need.assets)
            took = record.cost.seconds if there else record.cost.cold_seconds
            return max(0.01, took * items / max(1, before)), "earlier run"
        rate = self.past.rates.get(planned.run.method.expression)
        if rate is not None:
            return max(0.01, rate * items), "other tasks"
        speed = "gpu" if kind == "gpu" else "model" if need.model or need.device_bytes else "cpu"
        seconds = START_SECONDS + items * ITEM_SECONDS[speed]
        if isinstance(planned.task, RankTask) and not all(map(self.assets.has, need.assets)):
            seconds += len(planned.task.corpus) * DOC_SECONDS[speed]
        return seconds, "arithmetic"

    def _joules(self, planned: Planned, kind: DeviceKind, seconds: float) -> float:
        record = self.past.records.get(_key(planned))
        if record is not None and record.cost.joules and record.cost.seconds:
            return sum(record.cost.joules.values()) / record.cost.seconds * seconds
        return WATTS[kind] * seconds


def _key(planned: Planned) -> tuple[str, str]:
    return planned.run.method.expression, planned.run.task.name


def name_jobs(runs: Iterable[Planned]) -> dict[str, Planned]:
    """Runs by job: the run's id, with a number where a method stands under two names."""
    jobs: dict[str, Planned] = {}
    for run in runs:
        name, number = run.id, 2
        while name in jobs:
            name, number = f"{run.id}.{number}", number + 1
        jobs[name] = run
    return jobs
