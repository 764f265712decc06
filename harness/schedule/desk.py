"""The folder of a schedule below the results: who is at work, what happened, what was asked for.

``<results>/.schedule/lock`` is held while a scheduler works; ``<results>/.schedule/<start>/`` keeps
request.json, events.jsonl, logs/ and the file ``cancel``.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from harness.errors import TouchstoneError
from harness.spec import Json

KEPT = 20  # folders of earlier schedules


@dataclass
class Desk:
    """One schedule's folder. Writing never stops the work: a full disk loses events, not results."""

    folder: Path
    _cancelled: int = 0
    _open: IO[str] | None = field(default=None, repr=False)

    @property
    def logs(self) -> Path:
        """Output of the runs, a file each."""
        return self.folder / "logs"

    def write(self, what: str, **more: Json) -> None:
        """An event, with the time."""
        with suppress(OSError):
            if self._open is None:
                self._open = (self.folder / "events.jsonl").open("a", encoding="utf-8")
            self._open.write(json.dumps({"what": what, "time": time.time(), **more}) + "\n")
            self._open.flush()

    def events(self) -> Iterator[dict[str, Any]]:
        """All events; a line that was cut is left out."""
        with suppress(FileNotFoundError):
            for line in (self.folder / "events.jsonl").read_text(encoding="utf-8").splitlines():
                with suppress(ValueError):
                    yield json.loads(line)

    def request(self) -> dict[str, Any]:
        """What was asked for: the options of ``touchstone run``."""
        try:
            found: dict[str, Any] = json.loads((self.folder / "request.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise TouchstoneError(
                "the schedule's request cannot be read", where=str(self.folder), why=str(error)
            ) from error
        return found

    def cancel(self, jobs: list[str]) -> None:
        """Ask the scheduler to drop jobs, by the start of their ids; ``all`` drops every one."""
        with (self.folder / "cancel").open("a", encoding="utf-8") as handle:
            handle.write("".join(f"{job}\n" for job in jobs))

    def cancelled(self) -> list[str]:
        """What was asked to be dropped since the last look."""
        try:
            lines = (self.folder / "cancel").read_text(encoding="utf-8").split()
        except OSError:
            return []
        new, self._cancelled = lines[self._cancelled :], len(lines)
        return new

    def log_end(self, job: str, lines: int = 10) -> str:
        """The last lines that a run printed."""
        with suppress(OSError):
            return "\n".join((self.logs / f"{job}.log").read_text(errors="replace").splitlines()[-lines:])
        return ""


def desks(results: Path) -> list[Desk]:
    """Schedules of a results folder, newest last."""
    return [Desk(path.parent) for path in sorted((results / ".schedule").glob("*/request.json"))]


def at_work(results: Path) -> str:
    """Who schedules into a results folder now, '' for nobody."""
    try:
        with (results / ".schedule" / "lock").open("r+", encoding="utf-8") as handle:
            text = handle.read().strip()
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return text or "another process"
    except OSError:
        return ""
    return ""


@contextmanager
def desk_for(results: Path, request: dict[str, Any]) -> Iterator[Desk]:
    """A new schedule's folder, the results folder locked: a second scheduler is refused. The system drops the
    lock however this process ends.
    """
    root = results / ".schedule"
    root.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            raise TouchstoneError(
                "another scheduler is at work on these results",
                where=str(results),
                why=lock.read().strip(),
                fix="wait for it, `touchstone cancel`, or choose another --results",
            ) from error
        lock.truncate(0)
        lock.write(f"process {os.getpid()} since {time.strftime('%Y-%m-%d %H:%M:%S')}\n")
        lock.flush()
        desk = Desk(root / time.strftime(f"%Y%m%dT%H%M%S-{time.time_ns() % 10**9:09d}"))
        desk.logs.mkdir(parents=True)
        (desk.folder / "request.json").write_text(json.dumps(request, indent=1), encoding="utf-8")
        _forget(desks(results)[:-KEPT])
        yield desk


def _forget(old: list[Desk]) -> None:
    import shutil

    for desk in old:
        shutil.rmtree(desk.folder, ignore_errors=True)
