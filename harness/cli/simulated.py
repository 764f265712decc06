"""The schedule that ``touchstone plan --simulate`` prints and draws."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from harness.cli.tables import table
from harness.errors import TouchstoneError
from harness.format import duration
from harness.schedule.forecast import Forecast
from harness.schedule.gantt import gantt_svg
from harness.schedule.jobs import Device
from harness.schedule.simulate import lower_bound, makespan, simulate
from harness.schedule.state import Placement

READ_BYTES = 1e9  # of a model in a second
SHOWN = 50


def draw_schedule(devices: Sequence[Device], todo: Sequence[Forecast], path: Path, screen: Console) -> None:
    """A table of the first runs, the makespan against its lower bound, and the picture at *path*."""
    jobs = [one.job for one in todo]
    ready = [asset for one in todo for asset in one.shared]

    def setup(placement: Placement) -> float:
        job = placement.job
        return 0.0 if placement.warm >= 2 or not job.model else job.bytes / READ_BYTES

    spans = sorted(simulate(devices, jobs, setup, ready), key=lambda span: (span.start, span.job.id))
    rows = (
        [
            span.job.id,
            ", ".join(devices[number].id for number in span.devices),
            duration(span.start),
            duration(span.end),
        ]
        for span in spans[:SHOWN]
    )
    screen.print(table("Schedule", ["run", "devices", ">start", ">end"], rows))
    if len(spans) > SHOWN:
        screen.print(f"... and {len(spans) - SHOWN} more")
    whole, bound = makespan(spans), lower_bound(devices, jobs)
    screen.print(f"{len(spans)} runs in {duration(whole)}; no schedule takes less than {duration(bound)}")
    try:
        path.write_text(gantt_svg(devices, spans), encoding="utf-8")
    except OSError as error:
        raise TouchstoneError("cannot write the picture", where=str(path), why=str(error)) from error
    screen.print(f"picture: {path}")
