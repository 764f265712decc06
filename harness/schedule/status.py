"""Where a schedule stands, from the events in its folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.schedule.desk import Desk


@dataclass
class JobStatus:
    """A run of a schedule. state: waiting, running, done, failed, or cancelled. since: of this state."""

    job: str
    method: str
    task: str
    forecast: float
    state: str = "waiting"
    since: float = 0.0
    devices: str = ""
    label: str = ""
    done: int = 0
    total: int = 0
    used: int = 0
    seconds: float = 0.0
    why: str = ""


@dataclass
class ScheduleStatus:
    """All runs, and who is at work on them ('' for nobody). left: forecast seconds of one device."""

    at_work: str
    jobs: dict[str, JobStatus] = field(default_factory=dict)
    ended: bool = False
    disk_full: bool = False

    def of(self, state: str) -> Sequence[JobStatus]:
        """The runs in a state."""
        return [job for job in self.jobs.values() if job.state == state]

    @property
    def left(self) -> float:
        """Forecast seconds of all runs that have not ended, one after the other."""
        return sum(job.forecast for job in self.jobs.values() if job.state in ("waiting", "running"))


def status_of(desk: Desk, at_work: str, now: float) -> ScheduleStatus:
    """From the first event to the last; runs that were under way when the scheduler was killed wait again."""
    status = ScheduleStatus(at_work)
    for event in desk.events():
        if event["what"] == "job":
            status.jobs[event["job"]] = JobStatus(
                event["job"], event["method"], event["task"], event["forecast"], since=event["time"]
            )
        elif event["what"] == "end":
            status.ended = True
        elif event["what"] == "disk":
            status.disk_full = event["full"]
        elif event.get("job") in status.jobs:
            _apply(status.jobs[event["job"]], event)
    for job in status.jobs.values():
        if job.state == "running":
            job.state = "running" if at_work else "waiting"
            job.seconds = now - job.since
    return status


def _apply(job: JobStatus, event: dict[str, Any]) -> None:
    what = event["what"]
    if what == "start":
        job.state, job.since, job.devices = "running", event["time"], ",".join(event["devices"])
    elif what == "beat":
        job.label, job.done, job.total = event["label"] or "", event["done"] or 0, event["total"] or 0
        job.used = event["used"]
    elif what == "done":
        job.state, job.seconds, job.used = "done", event["seconds"], event["used"]
    elif what == "again":
        job.state, job.since, job.why = "waiting", event["time"], event["why"]
    elif what == "failed":
        job.state, job.why = "cancelled" if event["kind"] == "cancel" else "failed", event["why"]
