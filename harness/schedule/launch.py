"""Worker processes of this machine, each in a session of its own, and the guard that outlives a killed
scheduler.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

# Kills the process groups it was told of when its standard input ends, however the scheduler ended.
GUARD = """
import os, shutil, sys
groups = set()
for line in sys.stdin:
    sign, number = line[0], int(line[1:])
    groups.add(number) if sign == "+" else groups.discard(number)
for group in groups:
    try:
        os.killpg(group, 9)
    except OSError:
        pass
shutil.rmtree(sys.argv[1], ignore_errors=True)
"""


class Handle(Protocol):
    """A launched worker."""

    def gone(self) -> str | None:
        """How it ended, None while it runs."""

    def interrupt(self) -> None:
        """Ask it to stop now: the block under way is lost, finished ones are kept."""

    def kill(self) -> None:
        """End it, and what it started, by force."""


class Launcher(Protocol):
    """Where workers run. queues: a launched worker may have to wait before it runs."""

    boxes: Path
    queues: bool

    def launch(self, node: str, box: Path, env: Mapping[str, str], devices: int) -> Handle:
        """Start a worker that serves *box* on *node*."""

    def lost_nodes(self) -> frozenset[str]:
        """Nodes that are gone."""

    def close(self) -> None:
        """After the last worker has ended."""


@dataclass
class ProcessHandle:
    """A child process and its group."""

    process: subprocess.Popen[bytes]
    launcher: ProcessLauncher
    over: bool = False

    def gone(self) -> str | None:
        """By exit code or signal."""
        code = self.process.poll()
        if code is None:
            return None
        self._forget()
        if code < 0:
            return f"its worker was killed by {signal.Signals(-code).name}"
        return f"its worker ended with code {code}"

    def interrupt(self) -> None:
        """SIGTERM to the worker alone: what it started is its to end."""
        with suppress(OSError):
            self.process.terminate()

    def kill(self) -> None:
        """SIGKILL to the group."""
        if not self.over:
            with suppress(OSError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self._forget()

    def _forget(self) -> None:
        """Once: later the number may be another process's."""
        if not self.over:
            self.over = True
            self.launcher.forget(self.process.pid)


class ProcessLauncher:
    """Workers as child processes. boxes: a folder for mailboxes, removed at the end, also by the guard."""

    queues = False

    def __init__(self, boxes: Path) -> None:
        self.boxes = boxes
        self._guard = subprocess.Popen(
            [sys.executable, "-S", "-c", GUARD, str(boxes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def launch(self, node: str, box: Path, env: Mapping[str, str], devices: int) -> ProcessHandle:
        """A child with its own session: a Ctrl-C reaches the scheduler alone."""
        with (box / "worker.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "harness.schedule.worker", str(box)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **env, "PYTHONPATH": os.pathsep.join(sys.path)},
                start_new_session=True,
            )
        self._tell(f"+{process.pid}\n")
        return ProcessHandle(process, self)

    def forget(self, pid: int) -> None:
        """A worker has ended: what is left of its group ends too, and the guard need not see to it."""
        with suppress(OSError):
            os.killpg(pid, signal.SIGKILL)
        self._tell(f"-{pid}\n")

    def lost_nodes(self) -> frozenset[str]:
        """This machine is here."""
        return frozenset()

    def close(self) -> None:
        """End the guard."""
        assert self._guard.stdin is not None
        with suppress(OSError):
            self._guard.stdin.close()
        self._guard.wait()

    def _tell(self, line: str) -> None:
        assert self._guard.stdin is not None
        with suppress(OSError):
            self._guard.stdin.write(line.encode())
            self._guard.stdin.flush()
