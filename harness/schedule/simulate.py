"""What a plan would take: the scheduler's own decisions, played against a clock instead of devices."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from harness.schedule.jobs import Device, Job, Start
from harness.schedule.state import Placement, State
from harness.schedule.step import step

Setup = Callable[[Placement], float]


@dataclass(frozen=True)
class Span:
    """A job's time on its devices. setup: the part before it answers (loading a model, building assets)."""

    job: Job
    devices: tuple[int, ...]
    start: float
    end: float
    setup: float


@dataclass
class _Work:
    """What is left of a running job, in seconds alone on its device."""

    left: float
    start: float
    setup: float
    placement: Placement
    version: int = 0


@dataclass
class Simulation:
    """Devices shared as processors are: when their runs together want more than all of a device's compute,
    each slows down in proportion.
    """

    state: State
    setup: Setup
    spans: list[Span] = field(default_factory=list)
    _work: dict[str, _Work] = field(default_factory=dict)
    _touched: list[float] = field(default_factory=list)
    _ends: list[tuple[float, int, str]] = field(default_factory=list)

    def run(self) -> list[Span]:
        """Every job from start to end. Jobs that fit nowhere stay without a span."""
        self._touched = [0.0] * len(self.state.devices)
        self._place()
        while self._ends:
            now, version, job = heapq.heappop(self._ends)
            work = self._work.get(job)
            if work is None or work.version != version:
                continue
            self.state.tick(now)
            self._end(job)
            if not (self._ends and self._ends[0][0] <= now):
                self._place()
        return self.spans

    def _place(self) -> None:
        while (action := step(self.state)) is not None:
            placement = None
            if isinstance(action, Start):
                for number in action.devices:
                    self._advance(number)
                placement = self.state.apply(action)
            else:
                self.state.apply(action)
            if placement is not None:
                setup = self.setup(placement)
                work = _Work(placement.job.seconds + setup, self.state.now, setup, placement)
                self._work[placement.job.id] = work
                self._foresee(placement.devices[0])

    def _end(self, job: str) -> None:
        work = self._work[job]
        for number in work.placement.devices:
            self._advance(number)
        del self._work[job]
        self.state.finish(job)
        placement = work.placement
        self.spans.append(Span(placement.job, placement.devices, work.start, self.state.now, work.setup))
        self._foresee(placement.devices[0])

    def _rate(self, number: int) -> float:
        return 1.0 / max(1.0, self.state.rooms[number].busy)

    def _advance(self, number: int) -> None:
        """Bring the work on a device to now, at the rate it had."""
        passed = (self.state.now - self._touched[number]) * self._rate(number)
        self._touched[number] = self.state.now
        for job in self.state.rooms[number].jobs:
            work = self._work[job]
            if work.placement.devices[0] == number:
                work.left -= passed

    def _foresee(self, number: int) -> None:
        """New ends for the jobs of a device, at the rate it has now."""
        rate = self._rate(number)
        for job in self.state.rooms[number].jobs:
            work = self._work[job]
            work.version += 1
            end = self.state.now + max(0.0, work.left) / rate
            heapq.heappush(self._ends, (end, work.version, job))


def simulate(
    devices: Sequence[Device], jobs: Iterable[Job], setup: Setup, ready: Iterable[str] = ()
) -> list[Span]:
    """The schedule of *jobs* on *devices*. setup: seconds before a placed job answers."""
    return Simulation(State(devices, jobs, ready), setup).run()


def makespan(spans: Sequence[Span]) -> float:
    """When the last job ends."""
    return max((span.end for span in spans), default=0.0)


def lower_bound(devices: Sequence[Device], jobs: Sequence[Job]) -> float:
    """No schedule ends before: the longest job, the work in device seconds over the devices, the same for
    bytes, each kind of device for itself; models and assets count as free.
    """
    bounds = [max((job.seconds for job in jobs), default=0.0)]
    for kind in {device.kind for device in devices}:
        mine = [device for device in devices if device.kind == kind]
        work = [job for job in jobs if job.kind == kind]
        whole = sum(job.seconds * (job.devices if job.alone else min(1.0, job.busy)) for job in work)
        bounds.append(whole / len(mine))
        memory = sum(device.bytes for device in mine)
        if memory:
            bounds.append(sum(job.seconds * job.bytes * job.devices for job in work) / memory)
    return max(bounds)
