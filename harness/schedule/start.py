"""A schedule from planned runs to their end: devices, forecasts, executor and folder put together."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from harness.errors import TouchstoneError
from harness.execute import Planned, Session
from harness.schedule.crew import Crew, Executor, Inline
from harness.schedule.desk import Desk, desk_for
from harness.schedule.devices import parse_devices
from harness.schedule.drive import Drive, Watch
from harness.schedule.forecast import Forecast, Forecaster, JobOptions, Past
from harness.schedule.jobs import Device
from harness.schedule.launch import ProcessLauncher
from harness.schedule.state import State
from harness.schedule.step import Policy

ExecutorName = Literal["inline", "process", "ray", "slurm"]


@dataclass(frozen=True)
class ScheduleOptions:
    """How runs are scheduled. devices: see ``parse_devices``; '' takes what the session's device says.
    request: what is kept for ``touchstone resume``.
    """

    executor: ExecutorName = "process"
    devices: str = ""
    policy: Policy = field(default_factory=Policy)
    jobs: JobOptions = field(default_factory=JobOptions)
    fresh: bool = False
    request: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Ended:
    """What a schedule did. failed: reasons by job; forecasts by job."""

    failed: Mapping[str, str]
    forecasts: Mapping[str, Forecast]
    desk: Desk


def run_schedule(
    session: Session, planned: Mapping[str, Planned], options: ScheduleOptions, watch: Watch
) -> Ended:
    """Run all of *planned*, by job. A second scheduler on the same results is refused."""
    session.store.require_writable()
    past = Past.of(session.store.find(), session.store.root)
    with desk_for(session.store.root, dict(options.request)) as desk:
        devices, executor = _executor(session, options, desk, watch)
        found = Forecaster(devices, session.assets, past, options.jobs).all(planned)
        ready = {asset for forecast in found for asset in forecast.shared}
        state = State(devices, [forecast.job for forecast in found], ready)
        for forecast in found:
            run = planned[forecast.job.id].run
            names = {"method": run.method.name, "task": run.task.name, "basis": forecast.basis}
            desk.write(
                "job", job=forecast.job.id, **names, forecast=forecast.job.seconds, claim=forecast.job.bytes
            )
        drive = Drive(session, planned, state, executor, desk, options.policy, options.fresh, watch)
        return Ended(drive.run(), {forecast.job.id: forecast for forecast in found}, desk)


def devices_for(session: Session, text: str) -> list[Device]:
    """``--devices``, or without it what the session's device says."""
    kind, _, number = session.device.partition(":")
    return parse_devices(text or ("cpu" if kind == "cpu" else number or "all"))


def _executor(
    session: Session, options: ScheduleOptions, desk: Desk, watch: Watch
) -> tuple[Sequence[Device], Executor]:
    if options.executor == "inline":
        return parse_devices("cpu"), Inline(session, watch)
    if options.executor == "ray":
        from harness.schedule.ray_launch import RayLauncher, cluster_devices, connect

        ray = connect(os.environ.get("RAY_ADDRESS", "auto"))
        found = cluster_devices(ray)
        return found, Crew(found, RayLauncher(ray, _shared_boxes(desk)))
    if options.executor == "slurm":
        from harness.schedule.devices import fake_devices
        from harness.schedule.slurm_launch import SlurmLauncher, slurm_executor

        if "x" not in options.devices:
            raise TouchstoneError(
                "--executor slurm needs --devices",
                why="Slurm tells no memory of cards",
                fix="jobs at once and their memory: --devices 8x80GiB for cards, fake:8x16GiB without",
            )
        fake = options.devices.startswith("fake:")
        found = fake_devices(options.devices, "fake" if fake else "gpu")
        cluster = os.environ.get("TOUCHSTONE_SLURM_CLUSTER", "slurm")
        return found, Crew(
            found, SlurmLauncher(slurm_executor(desk.folder / "slurm", cluster), _shared_boxes(desk))
        )
    devices = devices_for(session, options.devices)
    fakes = sum(device.kind == "fake" for device in devices)
    threads = max(1, (os.cpu_count() or 1) // fakes) if fakes and "OMP_NUM_THREADS" not in os.environ else 0
    return devices, Crew(devices, ProcessLauncher(Path(tempfile.mkdtemp(prefix="touchstone-"))), threads)


def _shared_boxes(desk: Desk) -> Path:
    boxes = desk.folder / "boxes"
    boxes.mkdir()
    return boxes
