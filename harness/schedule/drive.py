"""The scheduler at work: events in, decisions out, until every run has ended."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.execute import Planned, Session
from harness.record import Failure
from harness.schedule.crew import Event, Executor
from harness.schedule.desk import Desk
from harness.schedule.jobs import Action, Ending, GiveUp, Requeue, Stop
from harness.schedule.mail import Order
from harness.schedule.state import Placement, State
from harness.schedule.step import Attempts, Policy, Running, over_memory, overdue, settle, step

TICK = 0.2  # seconds between looks at limits, lost nodes and cancellations
FREE_DISK = 8 << 20  # bytes that must be free before a run is started
DISK_WAIT = 600.0  # seconds that a full disk may stay so

Watch = Callable[[Event], None]


@dataclass
class Drive:
    """What a schedule needs while it runs. planned: the runs by job; watch: told of every event."""

    session: Session
    planned: Mapping[str, Planned]
    state: State
    executor: Executor
    desk: Desk
    policy: Policy = field(default_factory=Policy)
    fresh: bool = False
    watch: Watch = lambda _event: None
    running: dict[str, Running] = field(default_factory=dict)
    tried: dict[str, Attempts] = field(default_factory=dict)
    stops: dict[str, Stop] = field(default_factory=dict)
    interrupts: int = 0
    _ticked: float = 0.0
    _full_since: float = 0.0
    _started: float = field(default_factory=time.monotonic)

    def run(self) -> dict[str, str]:
        """Every job to its end. Returns why those failed that did; the others are stored."""
        with self._interruptible():
            try:
                self._loop()
            finally:
                self.executor.close(lambda: self.interrupts > 1)
                self.desk.write("end", interrupted=bool(self.interrupts))
        if self.interrupts:
            raise KeyboardInterrupt
        return self.state.failed

    def _loop(self) -> None:
        idle = 0
        while self.state.unfinished and not self.interrupts:
            self.state.tick(time.monotonic() - self._started)
            events = self.executor.poll()
            for event in events:
                self._hear(event)
            if self.state.now - self._ticked > TICK:
                self._tick()
            started = self._start_all()
            if not (events or started):
                if not self.running and self.state.wakes is None:
                    self._give_up_the_rest("no device is left that it fits on", "lost")
                idle += 1
                time.sleep(0.001 if idle < 20 else 0.005 if idle < 200 else 0.05)
            else:
                idle = 0

    def _tick(self) -> None:
        """What is looked at only now and then."""
        now = self._ticked = self.state.now
        for number in self.executor.lost():
            if not self.state.rooms[number].lost:
                self.state.lose(number)
                self.desk.write("lost", device=self.state.devices[number].id)
        for stop in (*overdue(now, self.running, self.policy), *over_memory(self.state, self.running)):
            self._stop(stop)
        for asked in self.desk.cancelled():
            for job in [j for j in self.state.jobs if j.startswith(asked) or asked == "all"]:
                if job in self.running:
                    self._stop(Stop(job, "cancel", "cancelled"))
                elif job in self.state.queue.waiting:
                    self._decide(GiveUp(job, "cancelled"), "cancel")

    def _start_all(self) -> int:
        count = 0
        while not self._held_back() and (action := step(self.state)) is not None:
            placement = self.state.apply(action)
            if placement is not None:
                self._start(placement)
                count += 1
        return count

    def _held_back(self) -> bool:
        """Whether nothing may be started now: too many failures, or no room on the disk."""
        most = self.policy.max_failures
        if most and len(self.state.failed) >= most:
            self._give_up_the_rest(f"not started: {most} runs have failed", "cancel")
            return True
        if not self._full_since:
            return False
        if all(shutil.disk_usage(path).free >= FREE_DISK for path in self._places()):
            self._full_since = 0.0
            self.desk.write("disk", full=False)
            return False
        if time.monotonic() - self._full_since > DISK_WAIT and not self.running:
            self._give_up_the_rest(f"the disk was full for {DISK_WAIT:g} s", "disk")
        return True

    def _places(self) -> Iterator[Path]:
        return (path for path in (self.session.store.root, self.session.assets.root) if path.exists())

    def _start(self, placement: Placement) -> None:
        job = placement.job
        planned = self.planned[job.id]
        order = Order(
            job.id,
            planned.id,
            planned.run,
            self.session.catalog.dataset(planned.run.task.dataset),
            str(self.session.store.root.resolve()),
            str(self.session.assets.root.resolve()),
            "cuda" if job.kind == "gpu" else self.session.device if job.kind == "cpu" else "cpu",
            str((self.desk.logs / f"{job.id}.log").resolve()),
            self.fresh and job.id not in self.tried,
            placement.warm == 0,
        )
        self.running[job.id] = Running(self.state.now, self.state.now)
        devices: list[str] = [self.state.devices[number].id for number in placement.devices]
        self.desk.write(
            "start", job=job.id, devices=list(devices), claim=self.state.claim(job.id), forecast=job.seconds
        )
        self.executor.start(placement, order)

    def _hear(self, event: Event) -> None:
        if event.job not in self.running:
            return
        times = self.running[event.job]
        used = max(times.used, event.used)
        self.running[event.job] = replace(times, heard=self.state.now, used=used)
        if event.what == "heard":
            if event.facts.get("answering"):
                self.state.assets_made(event.job)
            if event.facts.get("what") == "beat":
                self._note("beat", event, used)
        else:
            seconds = self.state.now - times.started
            del self.running[event.job]
            if event.what == "done":
                self.stops.pop(event.job, None)
                self.state.finish(event.job)
                self._note("done", event, used, seconds=seconds)
            else:
                self._ended(event, used)
        self.watch(event)

    def _note(self, what: str, event: Event, used: int, **more: float) -> None:
        facts = {key: event.facts.get(key) for key in ("label", "done", "total", "busy")}
        self.desk.write(what, job=event.job, used=used, **facts, **more)

    def _ended(self, event: Event, used: int) -> None:
        """A run did not end well: by itself, or because it was stopped."""
        stop = self.stops.pop(event.job, None)
        kind: Ending = stop.kind if stop else event.kind
        why = stop.why if stop else event.why
        claim = self.state.claim(event.job)
        if kind == "crash" and "SIGKILL" in why and used > claim:
            kind, why = "memory", f"{why} when it held {used:,} bytes, claimed {claim:,}"
        if kind == "disk" and not self._full_since:
            self._full_since = time.monotonic()
            self.desk.write("disk", full=True)
        tried = replace(self.tried.get(event.job, Attempts()), used=used)
        action, self.tried[event.job] = settle(self.state, event.job, kind, why, tried, self.policy)
        self._decide(action, kind, event.details)

    def _decide(self, action: Action, kind: Ending, details: str = "") -> None:
        """Apply a decision about a run that failed, and write it down; for good means a failed record."""
        self.state.apply(action)
        if isinstance(action, Requeue):
            self.desk.write("again", job=action.job, kind=kind, why=action.why, claim=action.bytes)
        elif isinstance(action, GiveUp):
            self.desk.write("failed", job=action.job, kind=kind, why=action.why)
            if kind != "cancel":
                printed = self.desk.log_end(action.job)
                text = "\n".join(part for part in (details, printed) if part)
                self.session.store_failure(self.planned[action.job], Failure(action.why, text))
            for other in [j for j in self.state.queue.waiting if action.job in self.state.jobs[j].after]:
                name = self.planned[action.job].run.method.name
                self._decide(GiveUp(other, f"it starts from {name}, which failed: {action.why}"), kind)

    def _stop(self, stop: Stop) -> None:
        self.stops[stop.job] = stop
        self.executor.stop(stop.job)
        self._hear(Event("ended", stop.job, stop.kind, stop.why))

    def _give_up_the_rest(self, why: str, kind: Ending) -> None:
        """All that wait; those that start from one of them go with it."""
        for job in sorted(self.state.queue.waiting):
            if job in self.state.queue.waiting:
                self._decide(GiveUp(job, why), kind)

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """The first SIGINT or SIGTERM ends the loop, a second one stops waiting for the workers."""

        def interrupt(_signal: int, _frame: object) -> None:
            self.interrupts += 1

        ours = (signal.SIGINT, signal.SIGTERM) if self.executor.interruptible else ()
        try:
            old = {number: signal.signal(number, interrupt) for number in ours}
        except ValueError:  # not the main thread: whoever called sees to signals
            old = {}
        try:
            yield
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)
