"""The waiting runs, in lanes of equal priority and kind, longest first within each."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from harness.schedule.firsts import NEVER, Firsts
from harness.schedule.jobs import DeviceKind, Job

MOST = 1e300  # bytes: more than any claim, less than NEVER


@dataclass(frozen=True, order=True)
class LaneKey:
    """Lanes in the order they are served: higher priorities first, then what needs devices alone."""

    minus_priority: int
    minus_devices: int
    shared: bool
    kind: DeviceKind


class Group:
    """Some jobs of a lane by their places in it, apart by the share of a device that they take."""

    def __init__(self, jobs: Sequence[Job], places: Iterable[int]) -> None:
        members: dict[float, list[int]] = {}
        for place in places:
            members.setdefault(jobs[place].busy, []).append(place)
        self._parts = [(busy, found, Firsts([NEVER] * len(found))) for busy, found in sorted(members.items())]
        self._where = {
            place: (part, number) for _, found, part in self._parts for number, place in enumerate(found)
        }

    @property
    def least(self) -> float:
        """The smallest claim, NEVER when no job may start."""
        least = NEVER
        for _, _, part in self._parts:
            least = min(least, part.least)
        return least

    def put(self, place: int, claim: float) -> None:
        """Let the job at *place* be found by its claim, or with NEVER not at all."""
        part, number = self._where[place]
        part.put(number, claim)

    def first(self, free: float, share: float, start: int = 0) -> int:
        """The first place from *start* on of a job that fits in *free* bytes and a *share*; -1: none."""
        best = -1
        for busy, places, part in self._parts:
            if busy > share:
                break
            if part.least <= free:
                number = part.first(free, bisect_left(places, start) if start else 0)
                if number >= 0 and (best < 0 or places[number] < best):
                    best = places[number]
        return best


class Lane:
    """Jobs of one priority, kind and number of devices: those that take most come first.

    The order is that of the longest processing time rule; ties by id.
    """

    def __init__(self, key: LaneKey, jobs: Iterable[Job]) -> None:
        self.key = key
        self.jobs = sorted(jobs, key=lambda job: (-job.seconds, job.id))
        self._head: int | None = None  # the place of the first job that may start, None: look again
        self.renewed = True  # since the last look, jobs were added that may start
        self._minus_seconds = [-job.seconds for job in self.jobs]
        self.whole = Group(self.jobs, range(len(self.jobs)))
        members: dict[str, list[int]] = {}
        for place, job in enumerate(self.jobs):
            for kept in job.keys:
                members.setdefault(kept, []).append(place)
        self._kept = {kept: Group(self.jobs, places) for kept, places in members.items()}

    def put(self, place: int, claim: float) -> None:
        """Let the job at *place* be found by its claim, or with NEVER not at all."""
        self.renewed |= claim < NEVER
        self._head = None
        self.whole.put(place, claim)
        for kept in self.jobs[place].keys:
            self._kept[kept].put(place, claim)

    def head(self) -> Job | None:
        """The first job that may start, whatever it claims."""
        if self._head is None:
            self._head = self.whole.first(MOST, MOST)
        return self.jobs[self._head] if self._head >= 0 else None

    def fitting(self, free: float, share: float, seconds: float = MOST) -> Iterator[Job]:
        """In order, jobs that claim at most *free* bytes, take at most *share* of a device's compute and are
        forecast to last at most *seconds*.
        """
        return self._all(self.whole, free, share, bisect_left(self._minus_seconds, -seconds))

    def keeping(self, kept: str, free: float, share: float) -> Iterator[Job]:
        """Those that a worker with *kept* has something loaded for."""
        group = self._kept.get(kept)
        return self._all(group, free, share, 0) if group else iter(())

    def _all(self, group: Group, free: float, share: float, start: int) -> Iterator[Job]:
        while (place := group.first(free, share, start)) >= 0:
            yield self.jobs[place]
            start = place + 1


@dataclass
class Queue:
    """All lanes, and why a job may not start yet: reasons are counted, at none it can be found."""

    lanes: Sequence[Lane]
    where: Mapping[str, tuple[Lane, int]]
    claims: dict[str, int]
    blocks: dict[str, int] = field(default_factory=dict)
    waiting: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, jobs: Iterable[Job]) -> Queue:
        """All jobs, none of them waiting yet."""
        groups: dict[LaneKey, list[Job]] = {}
        for job in jobs:
            key = LaneKey(-job.priority, -job.devices, not job.alone, job.kind)
            groups.setdefault(key, []).append(job)
        lanes = [Lane(key, groups[key]) for key in sorted(groups)]
        where = {job.id: (lane, place) for lane in lanes for place, job in enumerate(lane.jobs)}
        return cls(lanes, where, {job.id: job.bytes for lane in lanes for job in lane.jobs})

    def add(self, job: str) -> None:
        """*job* waits (again)."""
        self.waiting.add(job)
        self._show(job)

    def take(self, job: str) -> None:
        """*job* waits no more."""
        self.waiting.discard(job)
        self._show(job)

    def block(self, job: str, times: int = 1) -> None:
        """One more reason against starting *job*; with -1 one less."""
        self.blocks[job] = self.blocks.get(job, 0) + times
        self._show(job)

    def may_start(self, job: str) -> bool:
        """Whether *job* waits for nothing but a device."""
        return job in self.waiting and not self.blocks.get(job)

    def _show(self, job: str) -> None:
        lane, place = self.where[job]
        lane.put(place, self.claims[job] if self.may_start(job) else NEVER)
