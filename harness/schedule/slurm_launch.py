"""Workers as Slurm jobs by submitit: a job a device slot, which takes runs until it is dismissed. Slurm gives
it a card of its own. Results and assets lie where all nodes see them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import MissingExtra

ASK = 2.0  # seconds between questions to Slurm about one job
ENDED = (
    "",
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "TIMEOUT",
)


def slurm_executor(folder: Path, cluster: str = "slurm") -> Any:
    """submitit's executor; *cluster* ``local`` runs jobs as processes of this machine."""
    try:
        import submitit
    except ImportError as error:
        raise MissingExtra("--executor slurm", "submitit", "slurm") from error
    executor = submitit.AutoExecutor(folder=str(folder), cluster=cluster)
    options: dict[str, Any] = {"timeout_min": int(os.environ.get("TOUCHSTONE_SLURM_MINUTES", "1440"))}
    if partition := os.environ.get("TOUCHSTONE_SLURM_PARTITION"):
        options["slurm_partition"] = partition
    executor.update_parameters(name="touchstone", **options)
    return executor


def _serve(folder: str, env: dict[str, str]) -> None:
    from harness.schedule.worker import serve

    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # submitit ignores it, and so scancel for long
    os.environ.update({name: value for name, value in env.items() if name != "CUDA_VISIBLE_DEVICES"})
    serve(Path(folder))


def _state(job: Any) -> str:
    """By squeue, since sacct needs an accounting that small clusters lack; '' when Slurm has forgotten it."""
    if type(job).__name__ != "SlurmJob":
        return "COMPLETED" if job.done() else "RUNNING"
    command = ["squeue", "--noheader", "--states=all", f"--jobs={job.job_id}", "--format=%T"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and "Invalid job id" not in done.stderr:
        return "UNKNOWN"  # the controller is busy or away: that says nothing of the job
    return done.stdout.strip()


@dataclass
class SlurmHandle:
    """A submitted job."""

    job: Any
    box: Path
    asked: float = 0.0
    why: str | None = None

    def gone(self) -> str | None:
        """By Slurm's state. A job that waits in Slurm's queue is not gone."""
        if self.why is None and time.monotonic() - self.asked > ASK:
            self.asked = time.monotonic()
            state = _state(self.job)
            if state in ENDED:
                self.why = f"its Slurm job {self.job.job_id} ended ({state or 'no longer known'})"
        return self.why

    def interrupt(self) -> None:
        """SIGTERM is not passed on by every Slurm: the job is cancelled."""
        self.kill()

    def kill(self) -> None:
        """scancel."""
        with suppress(Exception):
            self.job.cancel(check=False)


class SlurmLauncher:
    """Jobs that serve mailboxes below *boxes*."""

    queues = True

    def __init__(self, executor: Any, boxes: Path) -> None:
        self.executor, self.boxes = executor, boxes

    def launch(self, node: str, box: Path, env: Mapping[str, str], devices: int) -> SlurmHandle:
        """A job with *devices* cards."""
        if devices:
            self.executor.update_parameters(gpus_per_node=devices)
        own = {name: value for name, value in os.environ.items() if name.startswith(("TOUCHSTONE_", "HF_"))}
        return SlurmHandle(self.executor.submit(_serve, str(box.resolve()), {**own, **env}), box)

    def lost_nodes(self) -> frozenset[str]:
        """Slurm starts a lost job's successor elsewhere."""
        return frozenset()

    def close(self) -> None:
        """Nothing is left to end."""
