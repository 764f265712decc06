"""The workers of a schedule: one a device slot, started when first needed, whatever launches them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from harness.schedule.jobs import Device, Ending
from harness.schedule.launch import Handle, Launcher
from harness.schedule.mail import Mailbox, Order
from harness.schedule.state import Placement

GRACE = 10.0  # seconds that interrupted workers get
ALIVE = 2.0  # seconds between signs of life


@dataclass(frozen=True)
class Event:
    """News of a job. what: heard, done or ended; ended says how in *kind* and *why*. used: bytes held."""

    what: str
    job: str
    kind: Ending = "done"
    why: str = ""
    details: str = ""
    used: int = 0
    facts: dict[str, Any] = field(default_factory=dict)


class Executor(Protocol):
    """What runs the orders of a schedule. interruptible: runs go on beside the scheduler, so that it can end
    them when it is interrupted; otherwise the interrupt goes to the run.
    """

    interruptible: ClassVar[bool]

    def start(self, placement: Placement, order: Order) -> None:
        """Begin a run."""

    def poll(self) -> Sequence[Event]:
        """News since the last call; returns at once."""

    def stop(self, job: str) -> None:
        """End a run by force."""

    def lost(self) -> Sequence[int]:
        """Numbers of devices that are gone."""

    def close(self, at_once: Callable[[], bool]) -> None:
        """End all workers; without letting them finish anything as soon as *at_once* says so."""


@dataclass
class Worker:
    """A launched worker, and the job it is at."""

    handle: Handle
    box: Mailbox
    node: str
    job: str = ""
    ready: bool = False


class Crew:
    """Workers by devices and slot. threads: of each worker, 0 for what their libraries choose."""

    interruptible: ClassVar[bool] = True

    def __init__(self, devices: Sequence[Device], launcher: Launcher, threads: int = 0) -> None:
        self.devices, self.launcher, self.threads = devices, launcher, threads
        self.workers: dict[tuple[tuple[int, ...], int], Worker] = {}
        self._count, self._alive = 0, 0.0

    def start(self, placement: Placement, order: Order) -> None:
        """On the worker of the slot, launched when it is not there."""
        key = (placement.devices, placement.slot)
        for other, worker in list(self.workers.items()):
            idle = not worker.job and other != key
            same_slot = other[1] == placement.slot and other[0][0] == placement.devices[0]
            dropped = other[1] in placement.drop and other[0][0] == placement.devices[0]
            wide = placement.job.alone and set(other[0]) & set(placement.devices)
            if idle and (same_slot or dropped or wide):
                self._end(other)
        if key not in self.workers or self.workers[key].handle.gone():
            self.workers[key] = self._launch(placement)
        worker = self.workers[key]
        worker.job = order.job
        worker.box.send(order)

    def poll(self) -> list[Event]:
        """What the workers wrote, and what became of those that are gone."""
        events: list[Event] = []
        beat = time.monotonic() - self._alive > ALIVE
        self._alive = time.monotonic() if beat else self._alive
        for key, worker in list(self.workers.items()):
            gone = worker.handle.gone()  # before the last look at its news
            news = list(self._news(worker))
            events += news
            if gone is None and any(event.kind == "memory" for event in news):
                self._end(key)  # what it holds is of no use to the next attempt
                continue
            if gone is not None:
                del self.workers[key]
                if worker.job:
                    lost = worker.node in self.launcher.lost_nodes()
                    why = f"its node {worker.node} is lost" if lost else gone
                    events.append(Event("ended", worker.job, "lost" if lost else "crash", why))
            elif beat:
                worker.box.keep_alive()
                if self.launcher.queues and worker.job and not worker.ready:
                    events.append(Event("heard", worker.job))  # it waits for its turn
        return events

    def stop(self, job: str) -> None:
        """Its worker is killed: a new one is launched when the slot is next needed."""
        for key, worker in list(self.workers.items()):
            if worker.job == job:
                self._end(key)

    def lost(self) -> list[int]:
        """Devices of lost nodes."""
        nodes = self.launcher.lost_nodes()
        return [number for number, device in enumerate(self.devices) if device.node in nodes]

    def close(self, at_once: Callable[[], bool]) -> None:
        """Dismiss idle workers, interrupt the others, and kill after GRACE what is left."""
        until = time.monotonic() + GRACE
        for worker in self.workers.values():
            worker.box.dismiss()
            if worker.job:
                worker.handle.interrupt()
        while not (at_once() or all(worker.handle.gone() for worker in self.workers.values())):
            if time.monotonic() > until:
                break
            time.sleep(0.02)
        for key in list(self.workers):
            self._end(key)
        self.launcher.close()
        with suppress(OSError):
            shutil.rmtree(self.launcher.boxes)

    def _news(self, worker: Worker) -> Iterator[Event]:
        for news in worker.box.news():
            event = as_event(news)
            worker.ready = True
            if event.what != "heard":
                worker.job = ""
            if event.job:
                yield event

    def _launch(self, placement: Placement) -> Worker:
        self._count += 1
        box = self.launcher.boxes / f"worker-{self._count:04d}"
        box.mkdir(parents=True)
        mailbox = Mailbox(box)
        mailbox.keep_alive()
        devices = [self.devices[number] for number in placement.devices]
        cards = ",".join(device.id for device in devices) if devices[0].kind == "gpu" else ""
        env = {"CUDA_VISIBLE_DEVICES": cards}
        if self.threads:
            env["OMP_NUM_THREADS"] = str(self.threads)
        node = devices[0].node
        wanted = len(devices) if devices[0].kind == "gpu" else 0
        return Worker(self.launcher.launch(node, box, env, wanted), mailbox, node)

    def _end(self, key: tuple[tuple[int, ...], int]) -> None:
        worker = self.workers.pop(key)
        worker.handle.kill()
        with suppress(OSError):
            shutil.rmtree(worker.box.folder)


@dataclass
class Inline:
    """Runs orders in this process, one after the other: for debugging. session: the one to run them in."""

    interruptible: ClassVar[bool] = False
    session: Any
    heard: Callable[[Event], None] = lambda _event: None
    _events: list[Event] = field(default_factory=list)

    def start(self, placement: Placement, order: Order) -> None:
        """Start to end, before this returns."""
        from harness.schedule.worker import perform, prepared

        perform(order, self, lambda order: prepared(self.session, order))

    def tell(self, what: str, **more: Any) -> None:
        """As ``Mailbox.tell``: beats are passed on at once."""
        event = as_event({"what": what, **more})
        if event.what == "heard":
            self.heard(event)
        else:
            self._events.append(event)

    def orphaned(self) -> bool:
        """Never: as ``Mailbox.orphaned``."""
        return False

    def poll(self) -> list[Event]:
        """How the last run ended."""
        events, self._events = self._events, []
        return events

    def stop(self, job: str) -> None:
        """Nothing runs while the scheduler decides."""

    def lost(self) -> list[int]:
        """This process is here."""
        return []

    def close(self, at_once: Callable[[], bool]) -> None:
        """Nothing to end."""


def as_event(news: dict[str, Any]) -> Event:
    """A worker's line as an event."""
    what, job, used = news["what"], news.get("job", ""), int(news.get("used", 0))
    if what == "failed":
        return Event("ended", job, news["kind"], news["why"], news["details"], used, news)
    return Event("done" if what == "done" else "heard", job, used=used, facts=news)
