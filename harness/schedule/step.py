"""The decisions of the scheduler: pure functions of the state.

Placement is list scheduling in the order of longest processing time (Graham, "Bounds on multiprocessing
timing anomalies", 1969), with three changes. A worker that has the model of a later run loaded takes that run
first, until the longest run left is so long that the makespan hangs on it. A run that fits nowhere reserves
devices, and shorter ones may use them only as far as they are forecast to end in time (EASY backfilling:
Lifka, "The ANL/IBM SP scheduling system", 1995). A shared asset is built by one run; the others wait.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

from harness.schedule.jobs import Action, Ending, GiveUp, Job, Requeue, Reserve, Start, Stop, kept_keys
from harness.schedule.lanes import Lane, LaneKey
from harness.schedule.state import State

LOOKAHEAD = 8  # runs that are tried on a node which is short of host memory
TRANSIENT: tuple[Ending, ...] = ("transient", "crash", "hang", "lost")


@dataclass(frozen=True)
class Policy:
    """What is done about trouble. 0: no limit.

    retries: more attempts after a crash, a hang, a lost node, or an error that may pass. memory_retries:
    more attempts with a larger claim. disk_retries: more attempts after a full disk, each only when there
    is room again. backoff: seconds before the first retry, doubled each time. timeout:
    seconds of one attempt. silence: seconds without a sign of life. max_failures: failed runs after which
    nothing more is started.
    """

    retries: int = 2
    memory_retries: int = 3
    disk_retries: int = 5
    backoff: float = 1.0
    timeout: float = 0.0
    silence: float = 60.0
    max_failures: int = 0


@dataclass(frozen=True)
class Attempts:
    """What went wrong with a job so far. used: the most bytes that it was seen to hold."""

    transient: int = 0
    memory: int = 0
    disk: int = 0
    used: int = 0


@dataclass(frozen=True)
class Running:
    """Times of a running job: its start, and its worker's last sign of life."""

    started: float
    heard: float
    used: int = 0


def step(state: State) -> Action | None:
    """The next start or reservation, None when nothing more can be started now.

    The caller applies it to the state and asks again.
    """
    waiting = [lane for lane in state.queue.lanes if lane.head() is not None]
    for lane in sorted(waiting, key=partial(_urgency, state)):
        action = _shared(state, lane) if lane.key.shared else _alone(state, lane)
        if action is not None:
            return action
    return None


def _urgency(state: State, lane: Lane) -> tuple[int, float, LaneKey]:
    """Lanes by priority; within one, those first whose first job decides when all is done."""
    head = lane.head()
    seconds = head.seconds if head else 0.0
    return lane.key.minus_priority, -seconds if seconds >= _ahead(state, lane.key.kind) else 0.0, lane.key


def settle(
    state: State, job: str, ended: Ending, why: str, tried: Attempts, policy: Policy
) -> tuple[Action, Attempts]:
    """What becomes of a job that did not end well, and its attempts from then on."""
    claim, largest = state.claim(job), _largest(state, state.jobs[job])
    if ended == "memory":
        tried = replace(tried, memory=tried.memory + 1)
        if claim >= largest:
            return GiveUp(job, f"{why}; it had a whole device"), tried
        if tried.memory > policy.memory_retries:
            return GiveUp(job, f"{why}; claimed more {policy.memory_retries} times"), tried
        wanted = min(largest, max(2 * claim, tried.used * 3 // 2))
        return Requeue(job, state.now, wanted, why), tried
    if ended == "disk":
        tried = replace(tried, disk=tried.disk + 1)
        if tried.disk > policy.disk_retries:
            return GiveUp(job, f"{why} ({tried.disk} times)"), tried
        return Requeue(job, state.now + policy.backoff * 2 ** (tried.disk - 1), claim, why), tried
    if ended not in TRANSIENT:
        return GiveUp(job, why), tried
    tried = replace(tried, transient=tried.transient + 1)
    if tried.transient > policy.retries:
        times = f"{tried.transient} times" if tried.transient > 1 else "once"
        return GiveUp(job, f"{why} ({times})"), tried
    return Requeue(job, state.now + policy.backoff * 2 ** (tried.transient - 1), claim, why), tried


def overdue(now: float, running: dict[str, Running], policy: Policy) -> Iterator[Stop]:
    """Running jobs that must be ended: too long, or not heard of."""
    for job, times in running.items():
        if policy.timeout and now - times.started > policy.timeout:
            yield Stop(job, "timeout", f"took longer than {policy.timeout:g} s")
        elif policy.silence and now - times.heard > policy.silence:
            yield Stop(job, "hang", f"its worker was silent for {policy.silence:g} s")


def over_memory(state: State, running: dict[str, Running]) -> Iterator[Stop]:
    """On a device whose runs hold more than it has: the one that is furthest above its claim."""
    for number, room in enumerate(state.rooms):
        most = state.devices[number].bytes
        held = sum(running[job].used for job in room.jobs if job in running)
        if held > most:
            excess = {job: running[job].used - state.claim(job) for job in room.jobs if job in running}
            job = max(excess, key=lambda name: (excess[name], name))
            yield Stop(job, "memory", f"held {running[job].used:,} bytes, claimed {state.claim(job):,}")


def _largest(state: State, job: Job) -> int:
    rooms = zip(state.devices, state.rooms, strict=True)
    return max((d.bytes for d, room in rooms if d.kind == job.kind and not room.lost), default=0)


def _alone(state: State, lane: Lane) -> Action | None:
    """A start or a reservation in a lane whose jobs need their devices alone: of the job that devices are
    held for, else of the first.
    """
    head, holder = lane.head(), _holder(state, lane)
    for job in (holder, head):
        if job is not None and state.queue.may_start(job.id):
            devices = _idle_devices(state, job)
            if devices:
                return Start(job.id, devices)
    return _reserve_node(state, head) if head is not None and holder is None else None


def _holder(state: State, lane: Lane) -> Job | None:
    """The job of a lane that devices are reserved for: one at most."""
    for name in state.reserved:
        if state.queue.where[name][0] is lane:
            return state.jobs[name]
    return None


def _idle_devices(state: State, job: Job) -> tuple[int, ...]:
    """As many idle devices of one node as *job* takes, of the node with the fewest that are enough."""
    claim = state.claim(job.id)
    for _, node, idle in sorted(
        (len(idle), node, idle) for (kind, node), idle in state.idle.items() if kind == job.kind
    ):
        usable = [n for n in idle if state.held.get(n, job.id) == job.id and state.devices[n].bytes >= claim]
        if len(usable) >= job.devices and _host_fits(state, node, job):
            return tuple(sorted(usable, key=lambda n: -_warmth(state, n, job))[: job.devices])
    return ()


def _reserve_node(state: State, job: Job) -> Reserve | None:
    """The devices of one node that are forecast to be free first."""
    best: tuple[float, str, tuple[int, ...]] | None = None
    nodes: dict[str, list[tuple[float, int]]] = {}
    for number, (device, room) in enumerate(zip(state.devices, state.rooms, strict=True)):
        if (
            device.kind == job.kind
            and device.bytes >= state.claim(job.id)
            and not room.lost
            and number not in state.held
        ):
            free_at = max(room.jobs.values(), default=state.now)
            nodes.setdefault(device.node, []).append((free_at, number))
    for node, free in nodes.items():
        if len(free) >= job.devices:
            soonest = sorted(free)[: job.devices]
            entry = (soonest[-1][0], node, tuple(number for _, number in soonest))
            best = min(best, entry) if best else entry
    return Reserve(job.id, best[2], best[0]) if best else None


def _shared(state: State, lane: Lane) -> Action | None:
    """A start on the device with most memory free that has something for it to do."""
    head = lane.head()
    assert head is not None
    wanted, may_hold = state.claim(head.id), _holder(state, lane) is None
    for free, number in reversed(tuple(state.candidates(lane))):
        if free < lane.whole.least:
            break
        if may_hold and number not in state.held and free < wanted <= state.devices[number].bytes:
            return Reserve(head.id, (number,), _free_at(state, number, wanted))
        job = _pick(state, lane, number, free)
        if job is not None:
            return Start(job.id, (number,))
        state.barren(lane, free, number)
    return None


def _pick(state: State, lane: Lane, number: int, free: int) -> Job | None:
    """The job that suits a device best: one that decides when all is done, else one that its workers have
    something loaded for, else the longest.
    """
    node = state.devices[number].node
    holder = state.held.get(number)

    def first(jobs: Iterator[Job]) -> Job | None:
        return next((job for job in islice(jobs, LOOKAHEAD) if _host_fits(state, node, job)), None)

    share = state.rooms[number].share(state.now, _ahead(state, lane.key.kind))
    if holder is not None:
        job = state.jobs[holder]
        mine = state.queue.where[holder][0] is lane and state.queue.may_start(holder)
        if mine and state.claim(holder) <= free and job.busy <= share and _host_fits(state, node, job):
            return job
        return first(lane.fitting(free, share, state.reserved[holder].until - state.now))
    longest = first(lane.fitting(free, share))
    if longest is None or longest.seconds >= _ahead(state, lane.key.kind):
        return longest
    for slot in state.rooms[number].slots:
        if slot.job or not (slot.model or slot.corpus):
            continue
        for kept in kept_keys(slot.model, slot.corpus):
            suited = first(lane.keeping(kept, free, share))
            if suited is not None:
                return suited
    return longest


def _ahead(state: State, kind: str) -> float:
    """Seconds of waiting work for each device of a kind: what lasts longer decides when all is done."""
    return state.area[kind] / max(1, state.counts[kind])


def _host_fits(state: State, node: str, job: Job) -> bool:
    room = state.host_room(node) if job.host_bytes else None
    return room is None or room.free >= job.host_bytes


def _warmth(state: State, number: int, job: Job) -> int:
    return max((slot.match(job) for slot in state.rooms[number].slots if not slot.job), default=0)


def _free_at(state: State, number: int, wanted: int) -> float:
    """When *wanted* bytes are forecast to be free on a device."""
    free, when = state.rooms[number].free, state.now
    for end, job in sorted((end, job) for job, end in state.rooms[number].jobs.items()):
        if free < wanted:
            free, when = free + state.claim(job), end
    return when
