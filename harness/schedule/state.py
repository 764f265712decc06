"""Where every run and device stands. The driver and the simulation change it; ``step`` only reads it."""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from harness.schedule.jobs import Action, Device, GiveUp, Job, Requeue, Reserve, Start
from harness.schedule.lanes import Lane, LaneKey, Queue

SLOTS = 8  # workers of a device at most
OVER = 1.25
NEARLY = 0.8
FULL = 0.999  # a device whose runs take this share of its compute gets no more of them


@dataclass
class Slot:
    """A worker of a device: what its last run kept, and the run it is at ('' for none)."""

    model: str = ""
    corpus: str = ""
    bytes: int = 0
    job: str = ""

    def match(self, job: Job) -> int:
        """How much of what *job* needs is loaded: 3 model and corpus, 2 model, 1 corpus, 0 nothing."""
        return 2 * bool(job.model and job.model == self.model) + bool(
            job.corpus and job.corpus == self.corpus
        )


@dataclass
class Room:
    """What is taken of a device. jobs: those running, with their forecast end."""

    free: int
    busy: float = 0.0
    alone: bool = False
    lost: bool = False
    jobs: dict[str, float] = field(default_factory=dict)
    slots: list[Slot] = field(default_factory=list)

    @property
    def open(self) -> bool:
        """Whether another run may be placed here, if its claim fits."""
        return not (self.alone or self.lost) and self.busy < FULL and len(self.jobs) < SLOTS

    def share(self, now: float, ahead: float) -> float:
        """The share of compute that one more run may take. Runs may want OVER of a device together, so that
        it has no gaps, but not where that delays a run which lasts nearly as long as all work *ahead*.
        """
        lasting = any(end - now >= NEARLY * ahead for end in self.jobs.values())
        return (1.0 if lasting else OVER) - self.busy + 1e-9

    @property
    def idle(self) -> bool:
        """Whether nothing runs here."""
        return not self.jobs and not self.lost


@dataclass(frozen=True)
class Placement:
    """Where a started job runs. slot: the worker of the first device. drop: idle workers of the first device
    that must give their memory back. warm: how much the worker has loaded (see ``Slot.match``).
    """

    job: Job
    devices: tuple[int, ...]
    slot: int
    drop: tuple[int, ...]
    warm: int
    builds: tuple[str, ...]


class State:
    """Devices, waiting and running jobs, shared assets, reservations; *now* in seconds."""

    def __init__(self, devices: Sequence[Device], jobs: Iterable[Job], ready: Iterable[str] = ()) -> None:
        self.now = 0.0
        self.devices = list(devices)
        self.rooms = [Room(device.bytes) for device in devices]
        self.jobs = {job.id: job for job in jobs}
        self.queue = Queue.of(self.jobs.values())
        self.running: dict[str, Placement] = {}
        self.failed: dict[str, str] = {}
        self.done: set[str] = set()
        self.ready = set(ready)
        self.building: dict[str, str] = {}
        self.reserved: dict[str, Reserve] = {}
        self.held: dict[int, str] = {}  # reserved device: its job
        self.area: dict[str, float] = {}  # work that waits, by kind of device
        self._sharers: dict[str, list[str]] = {}
        self._followers: dict[str, list[str]] = {}
        self._later: list[tuple[float, str]] = []
        self._hosts = {d.node: n for n, d in enumerate(self.devices) if d.kind == "cpu"}
        # For each lane, (free bytes, number) of the open devices where it may have something to start.
        self._open: dict[LaneKey, list[tuple[int, int]]] = {lane.key: [] for lane in self.queue.lanes}
        self._shared: dict[str, list[list[tuple[int, int]]]] = {}
        for lane in self.queue.lanes:
            if lane.key.shared:
                self._shared.setdefault(lane.key.kind, []).append(self._open[lane.key])
        self.idle: dict[tuple[str, str], list[int]] = {}
        self.counts: dict[str, int] = {}  # devices by kind that are not lost
        for number, device in enumerate(self.devices):
            self.counts[device.kind] = self.counts.get(device.kind, 0) + 1
            self._list(number)
        for job in self.jobs.values():
            self._enter(job)

    @property
    def unfinished(self) -> bool:
        """Whether any job waits or runs."""
        return bool(self.running or self.queue.waiting)

    def host_room(self, node: str) -> Room | None:
        """The memory of a node, where its cpu is one of the devices."""
        return self.rooms[self._hosts[node]] if node in self._hosts else None

    def tick(self, now: float) -> None:
        """It is *now*: jobs whose waiting time is over may start."""
        self.now = max(self.now, now)
        while self._later and self._later[0][0] <= self.now:
            self.queue.block(heapq.heappop(self._later)[1], -1)

    @property
    def wakes(self) -> float | None:
        """When the next job that waits for a time may start."""
        return self._later[0][0] if self._later else None

    def apply(self, action: Action) -> Placement | None:
        """Make a decision of ``step`` true; a start gives its placement."""
        if isinstance(action, Start):
            return self._start(self.jobs[action.job], action.devices)
        if isinstance(action, Reserve):
            self.release(action.job)
            self.reserved[action.job] = action
            for number in action.devices:
                self._unlist(number)
                self.held[number] = action.job
                self._list(number)
        elif isinstance(action, Requeue):
            self._leave(action.job)
            self.queue.claims[action.job] = action.bytes
            self.queue.block(action.job)
            heapq.heappush(self._later, (action.at, action.job))
            self.queue.add(action.job)
            job = self.jobs[action.job]
            self.area[job.kind] = self.area.get(job.kind, 0.0) + job.seconds * job.busy * job.devices
        elif isinstance(action, GiveUp):
            self._leave(action.job)
            if action.job in self.queue.waiting:
                self._dequeue(self.jobs[action.job])
            self.failed[action.job] = action.why
            self._unblock(action.job)
        return None

    def finish(self, job: str) -> None:
        """*job* has ended well."""
        self.assets_made(job)
        self._leave(job)
        self.done.add(job)
        self._unblock(job)

    def assets_made(self, job: str) -> None:
        """What *job* builds is there: those that share it may start."""
        for name in [name for name, builder in self.building.items() if builder == job]:
            self.ready.add(name)
            self._built(name, job)

    def lose(self, number: int) -> None:
        """A device is gone: nothing is placed on it any more."""
        self._unlist(number)
        self.rooms[number].lost = True
        self.counts[self.devices[number].kind] -= 1
        for job in [job for job, held in self.reserved.items() if number in held.devices]:
            self.release(job)

    def candidates(self, lane: Lane) -> list[tuple[int, int]]:
        """(free bytes, number) of open devices, least free first. Left out are those where ``step`` found
        nothing to start, as long as nothing has changed there or in the lane.
        """
        listed = self._open[lane.key]
        if lane.renewed:
            lane.renewed = False
            rooms = enumerate(zip(self.devices, self.rooms, strict=True))
            listed[:] = sorted((r.free, n) for n, (d, r) in rooms if r.open and d.kind == lane.key.kind)
        return listed

    def barren(self, lane: Lane, free: int, number: int) -> None:
        """Remember that *lane* has nothing for a device. A memo: it changes no decision."""
        _drop(self._open[lane.key], (free, number))

    def release(self, job: str) -> None:
        """Forget the reservation of *job*, if it has one."""
        held = self.reserved.pop(job, None)
        for number in held.devices if held else ():
            self._unlist(number)
            del self.held[number]
            self._list(number)

    def claim(self, job: str) -> int:
        """The bytes that *job* claims on each device now."""
        return self.queue.claims[job]

    def _enter(self, job: Job) -> None:
        for name in job.assets:
            if name not in self.ready:
                self._sharers.setdefault(name, []).append(job.id)
        for other in job.after:
            if other in self.jobs:
                self._followers.setdefault(other, []).append(job.id)
                self.queue.block(job.id)
        self.queue.add(job.id)
        self.area[job.kind] = self.area.get(job.kind, 0.0) + job.seconds * job.busy * job.devices

    def _start(self, job: Job, devices: tuple[int, ...]) -> Placement:
        self._dequeue(job)
        self.release(job.id)
        builds = tuple(name for name in job.assets if name not in self.ready and name not in self.building)
        for name in builds:
            self.building[name] = job.id
            for other in self._sharers.get(name, ()):
                if other != job.id:
                    self.queue.block(other)
        end = self.now + job.seconds
        for number in devices:
            self._take(number, job, end)
        self._book_host(devices[0], job.host_bytes)
        slot, warm = self._slot(devices[0], job)
        room = self.rooms[devices[0]]
        kept = [(s.bytes, n) for n, s in enumerate(room.slots) if not s.job and s.bytes]
        drop: list[int] = []
        excess = sum(held for held, _ in kept) - room.free
        for held, number in sorted(kept, reverse=True):
            if excess > 0:
                drop.append(number)
                excess -= held
                room.slots[number] = Slot()
        placement = Placement(job, devices, slot, tuple(drop), warm, builds)
        self.running[job.id] = placement
        return placement

    def _slot(self, number: int, job: Job) -> tuple[int, int]:
        """The worker that has most loaded for *job*, preferably one that loses nothing by it; a new one when
        all are at work.
        """
        room = self.rooms[number]
        idle = [(-slot.match(job), slot.bytes, n) for n, slot in enumerate(room.slots) if not slot.job]
        if not idle:
            room.slots.append(Slot())
            idle = [(0, 0, len(room.slots) - 1)]
        match, _, chosen = min(idle)
        room.slots[chosen] = Slot(job.model, job.corpus, self.claim(job.id) if job.model else 0, job.id)
        return chosen, -match

    def _dequeue(self, job: Job) -> None:
        self.queue.take(job.id)
        self.area[job.kind] -= job.seconds * job.busy * job.devices

    def _take(self, number: int, job: Job, end: float) -> None:
        self._unlist(number)
        room = self.rooms[number]
        room.free -= self.claim(job.id)
        room.busy += job.busy
        room.alone = job.alone
        room.jobs[job.id] = end
        self._list(number)

    def _leave(self, name: str) -> None:
        """Give back what a running job holds; what it was building, another may build."""
        placement = self.running.pop(name, None)
        if placement is None:
            return
        job = placement.job
        for number in placement.devices:
            self._unlist(number)
            room = self.rooms[number]
            room.free += self.claim(name)
            del room.jobs[name]
            room.busy = sum(self.jobs[other].busy for other in room.jobs)
            room.alone = False
            self._list(number)
        self._book_host(placement.devices[0], -job.host_bytes)
        self.rooms[placement.devices[0]].slots[placement.slot].job = ""
        for asset in [asset for asset, builder in self.building.items() if builder == name]:
            self._built(asset, name)

    def _built(self, asset: str, builder: str) -> None:
        del self.building[asset]
        for other in self._sharers.get(asset, ()):
            if other != builder:
                self.queue.block(other, -1)

    def _unblock(self, job: str) -> None:
        for other in self._followers.pop(job, ()):
            self.queue.block(other, -1)

    def _book_host(self, number: int, claimed: int) -> None:
        """Host memory of a run on device *number*, taken from its node's cpu where that is a device."""
        host = self._hosts.get(self.devices[number].node)
        if claimed and host is not None:
            self._unlist(host)
            self.rooms[host].free -= claimed
            self._list(host)
            for lane in self.queue.lanes if claimed < 0 else ():
                lane.renewed = True

    def _list(self, number: int) -> None:
        device, room = self.devices[number], self.rooms[number]
        if room.open:
            for listed in self._shared.get(device.kind, ()):
                insort(listed, (room.free, number))
        if room.idle:
            insort(self.idle.setdefault((device.kind, device.node), []), number)

    def _unlist(self, number: int) -> None:
        device, room = self.devices[number], self.rooms[number]
        if room.open:
            for listed in self._shared.get(device.kind, ()):
                _drop(listed, (room.free, number))
        if room.idle:
            idle = self.idle[device.kind, device.node]
            del idle[bisect_left(idle, number)]


def _drop(listed: list[tuple[int, int]], entry: tuple[int, int]) -> None:
    place = bisect_left(listed, entry)
    if place < len(listed) and listed[place] == entry:
        del listed[place]
