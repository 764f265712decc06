"""A long-lived worker: takes orders one after the other and keeps models and tasks loaded between them.

``python -m harness.schedule.worker FOLDER`` serves a mailbox.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from harness.errors import TouchstoneError
from harness.schedule.jobs import Ending
from harness.schedule.mail import Mailbox, Order

BEAT = 0.5
CONTEXT_BYTES = 600 << 20  # what CUDA takes of a card beside the tensors
FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


class News(Protocol):
    """Where a run's news go: a mailbox, or the scheduler itself."""

    def tell(self, what: str, **more: Any) -> None:
        """One piece of news."""

    def orphaned(self) -> bool:
        """Whether nobody hears them any more."""


@dataclass
class Pulse:
    """Tells the scheduler every BEAT seconds how far a run is and what it holds."""

    box: News
    job: str
    name: str
    device: str
    label: str = ""
    done: int = 0
    total: int = 0
    used: int = 0
    loads: list[float] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def progress(self, label: str, done: int, total: int) -> None:
        """What ``Session.execute`` calls."""
        self.label, self.done, self.total = label, done, total

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Beats while the block runs."""
        thread = threading.Thread(target=self._beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _beat(self) -> None:
        while not self._over.wait(BEAT):
            self.used = max(self.used, memory_used(self.device))
            share = busy_share(self.device)
            self.loads += [] if share is None else [share]
            self.box.tell("beat", **self.facts())
            if self.box.orphaned():
                os.killpg(0, signal.SIGKILL) if os.getpgrp() == os.getpid() else os._exit(1)

    def facts(self) -> dict[str, Any]:
        """For a beat, and for the last word on a run."""
        busy = sum(self.loads) / len(self.loads) if self.loads else None
        answering = self.label == self.name and self.done > 0
        return {
            "job": self.job,
            "label": self.label,
            "done": self.done,
            "total": self.total,
            "used": self.used,
            "busy": busy,
            "answering": answering,
        }


def serve(folder: Path) -> None:
    """Take orders from a mailbox until dismissed."""
    box, kept = Mailbox(folder), Keeper()
    box.tell("ready", pid=os.getpid())
    while (order := box.next_order()) is not None:
        perform(order, box, kept.session)


class Keeper:
    """The sessions of a worker: with them its loaded tasks and models."""

    def __init__(self) -> None:
        self._sessions: dict[tuple[str, str, str], Any] = {}

    def session(self, order: Order) -> Any:
        """The session that an order asks for; its dataset is defined as the scheduler has it."""
        from harness.assets import Assets
        from harness.catalog import Catalog
        from harness.execute import Session
        from harness.store import Store

        key = (order.results, order.cache, order.device)
        if key not in self._sessions:
            places = Store(Path(order.results)), Assets(Path(order.cache))
            self._sessions[key] = Session(Catalog(), *places, order.device)
        session = self._sessions[key]
        session.catalog.datasets[order.dataset.name] = order.dataset
        return prepared(session, order)


def prepared(session: Any, order: Order) -> Any:
    """*session* without what other models left, when the order says so: a run's peak memory is its own."""
    if order.clear:
        from harness.models.batching import release_memory

        session.kept.clear()
        release_memory()
    return session


def perform(order: Order, box: News, session_for: Callable[[Order], Any]) -> None:
    """One run, start to end; whatever goes wrong is told, not raised."""
    pulse = Pulse(box, order.job, order.run.method.name, order.device)
    box.tell("start", job=order.job, pid=os.getpid())
    start = time.perf_counter()
    try:
        with _logged(Path(order.log)), pulse.beating():
            session = session_for(order)
            planned = session.plan(order.run)
            if planned.id != order.id:
                raise TouchstoneError(
                    f"the worker sees other code or data: the run is {planned.id} there, {order.id} here"
                )
            session.execute(planned, pulse.progress, order.fresh)
    except BaseException as error:
        kind, why = classify(error)
        details = "".join(traceback.format_exception(error)).strip()[-4000:]
        pulse.used = max(pulse.used, memory_used(order.device))
        box.tell("failed", kind=kind, why=why, details=details, **pulse.facts())
        if not isinstance(error, Exception):
            raise
    else:
        pulse.used = max(pulse.used, memory_used(order.device))
        box.tell("done", seconds=time.perf_counter() - start, **pulse.facts())


def classify(error: BaseException) -> tuple[Ending, str]:
    """How a run's error counts, and its one line."""
    from harness.models.batching import out_of_memory

    why = error.line if isinstance(error, TouchstoneError) else f"{type(error).__name__}: {error}"
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    if isinstance(error, KeyboardInterrupt):
        return "cancel", "interrupted"
    if any(isinstance(e, OSError) and e.errno in FULL_DISK for e in chain):
        return "disk", why
    if any(out_of_memory(e) or str(e).startswith("out of memory") for e in chain):
        return "memory", why
    if any(isinstance(e, ConnectionError | TimeoutError) for e in chain):
        return "transient", why
    return "error", why


@contextmanager
def _logged(path: Path) -> Iterator[None]:
    """Send what this process and its children print to *path*, added to what an earlier attempt left."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError:  # a full disk must not keep a run from its own way of saying so
        log = os.open(os.devnull, os.O_WRONLY)
    saved = os.dup(1), os.dup(2)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        yield
    finally:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        for number, old in enumerate(saved, 1):
            os.dup2(old, number)
            os.close(old)
        os.close(log)


def memory_used(device: str) -> int:
    """Bytes that this worker holds of its device: on CUDA what torch has reserved and the context, otherwise
    the resident memory of this process and its children.
    """
    if device.startswith("cuda"):
        torch = sys.modules.get("torch")
        if torch is None or not torch.cuda.is_initialized():
            return 0
        return CONTEXT_BYTES + int(
            sum(torch.cuda.memory_reserved(n) for n in range(torch.cuda.device_count()))
        )
    page, total, todo = os.sysconf("SC_PAGE_SIZE"), 0, [os.getpid()]
    while todo:
        root = Path("/proc") / str(todo.pop())
        with suppress(OSError, ValueError, IndexError):
            resident, shared = map(int, (root / "statm").read_text().split()[1:3])
            total += (resident - shared) * page
            for task in (root / "task").iterdir():
                todo += map(int, (task / "children").read_text().split())
    return total


def busy_share(device: str) -> float | None:
    """The share of the last moments in which the card was at work, by NVML; None where nothing tells."""
    if not device.startswith("cuda"):
        return None
    try:
        import pynvml

        pynvml.nvmlInit()
        card = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0] or "0"
        by_uuid = card.startswith(("GPU-", "MIG-"))
        find = pynvml.nvmlDeviceGetHandleByUUID if by_uuid else pynvml.nvmlDeviceGetHandleByIndex
        return float(pynvml.nvmlDeviceGetUtilizationRates(find(card if by_uuid else int(card))).gpu) / 100
    except Exception:  # no driver, no counter, no package: the share stays unknown
        return None


def _interrupted(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupted)
    with suppress(KeyboardInterrupt):
        serve(Path(sys.argv[1]))
