"""Orders to a worker and news from it, as files in a folder that both see.

The same on one machine, in a Ray cluster and under Slurm. An order is renamed in; news are whole lines at
the end of one file. The scheduler's sign of life is the time of the file ``alive``.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.data.dataset import DatasetSpec
from harness.spec import RunSpec
from harness.strict import from_plain

STALE = 120.0  # seconds without a sign of life of the scheduler after which a remote worker ends itself


@dataclass(frozen=True)
class Order:
    """A run for a worker. id: what the run must turn out to be. clear: drop what is loaded first."""

    job: str
    id: str
    run: RunSpec
    dataset: DatasetSpec
    results: str
    cache: str
    device: str
    log: str
    fresh: bool = False
    clear: bool = False


@dataclass
class Mailbox:
    """One worker's folder, from either side."""

    folder: Path
    _read: int = 0
    _sent: int = 0
    _rest: bytes = b""
    _unsent: list[str] = field(default_factory=list)

    def send(self, order: Order) -> None:
        """The scheduler gives an order."""
        self._sent += 1
        partial = self.folder / "order.tmp"
        partial.write_text(json.dumps(asdict(order)), encoding="utf-8")
        partial.rename(self.folder / f"order-{self._sent:06d}.json")

    def news(self) -> Iterator[dict[str, Any]]:
        """What the worker has written since the last look."""
        try:
            with (self.folder / "news.jsonl").open("rb") as handle:
                handle.seek(self._read)
                data = handle.read()
        except FileNotFoundError:
            return
        self._read += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.strip():
                yield json.loads(line)

    def keep_alive(self) -> None:
        """The scheduler is there."""
        with suppress(OSError):
            (self.folder / "alive").touch()

    def dismiss(self) -> None:
        """The worker is to end when its order is done."""
        with suppress(OSError):
            (self.folder / "stop").touch()

    def next_order(self) -> Order | None:
        """The worker's next order; waits for it. None: it is dismissed, or left alone."""
        waited = time.monotonic()
        while True:
            path = self.folder / f"order-{self._sent + 1:06d}.json"
            if path.exists():
                self._sent += 1
                order: Order = from_plain(json.loads(path.read_text(encoding="utf-8")), Order, str(path))
                return order
            if (self.folder / "stop").exists() or self.orphaned():
                return None
            idle = time.monotonic() - waited
            time.sleep(0.001 if idle < 0.5 else 0.02 if idle < 20 else 0.2)

    def orphaned(self) -> bool:
        """Whether the folder is gone or the scheduler has not been heard of for long."""
        try:
            return time.time() - (self.folder / "alive").stat().st_mtime > STALE
        except OSError:
            return True

    def tell(self, what: str, **more: Any) -> None:
        """The worker's news; kept for the next time when the disk is full."""
        self._unsent.append(json.dumps({"what": what, "time": time.time(), **more}) + "\n")
        with suppress(OSError):
            descriptor = os.open(self.folder / "news.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                while self._unsent:
                    os.write(descriptor, self._unsent[0].encode())
                    del self._unsent[0]
            finally:
                os.close(descriptor)
