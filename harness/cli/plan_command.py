"""``touchstone plan``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from harness.cli.options import request_from, request_options, results_option, session_for
from harness.plan import Cell, cells
from harness.schedule.forecast import Forecast, Forecaster, Past, name_jobs


@click.command("plan")
@request_options
@results_option
@click.option(
    "--devices", default="", help="Forecast for cpu, all, 0,1 or fake:4x80GiB; default: what is here."
)
@click.option("--simulate", metavar="8x80GiB", help="Schedule the runs on so many cards, in thought.")
@click.option(
    "--draw",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("schedule.svg"),
    show_default=True,
    help="Where --simulate puts its picture.",
)
def command(results: Path, devices: str, simulate: str | None, draw: Path, **options: Any) -> None:
    """Show what `run` would do: stored, to do, missing here; with a forecast of time, memory and energy."""
    from harness.cli.tables import console, table
    from harness.schedule.devices import fake_devices
    from harness.schedule.start import devices_for

    session = session_for(results)
    request = request_from(options, session)
    found = cells(request, session)
    here = fake_devices(simulate) if simulate else devices_for(session, devices)
    past = Past.of(session.store.find(), results)
    jobs = name_jobs([cell.planned for cell in found if cell.planned is not None])
    forecast = {f.job.id: f for f in Forecaster(here, session.assets, past).all(jobs)}
    names = iter(jobs)
    rows = [(cell, forecast[next(names)] if cell.planned is not None else None) for cell in found]
    screen = console()
    columns = ["task", "method", "state", ">time", "from", ">memory", ">energy", ">shared", "run / reason"]
    screen.print(table("Plan", columns, (_row(cell, one) for cell, one in rows)))
    counts = {state: sum(cell.state == state for cell in found) for state in ("stored", "to do", "not here")}
    if os.environ.get("TOUCHSTONE_OFFLINE"):
        from harness.missing import missing

        for line in missing(request.tasks, request.methods, session.catalog):
            screen.print(f"missing: {line}", markup=False, soft_wrap=True)
    screen.print(", ".join(f"{count} {state}" for state, count in counts.items()))
    todo = [one for cell, one in rows if cell.state == "to do" and one is not None]
    if todo:
        screen.print(_total(todo))
    if simulate and todo:
        from harness.cli.simulated import draw_schedule

        draw_schedule(here, todo, draw, screen)


def _row(cell: Cell, forecast: Forecast | None) -> list[str]:
    from harness.format import duration, joules, size

    reason = cell.problem.line if cell.problem else (cell.planned.id if cell.planned else "")
    costs = [""] * 5
    if forecast is not None:
        job = forecast.job
        shared = f"{len(forecast.shared)} of {len(job.assets)}" if job.assets else ""
        memory = size(job.bytes + job.host_bytes)
        costs = [duration(job.seconds), forecast.basis, memory, joules(forecast.joules), shared]
    return [cell.run.task.name, cell.run.method.name, cell.state, *costs, reason]


def _total(todo: list[Forecast]) -> str:
    from harness.format import duration, joules, size

    seconds = sum(one.job.seconds for one in todo)
    largest = max(one.job.bytes + one.job.host_bytes for one in todo)
    found = sum(len(one.shared) for one in todo)
    missing = {asset for one in todo for asset in one.job.assets if asset not in one.shared}
    energy = joules(sum(one.joules for one in todo))
    shared = f"shared assets: {found} found, {len(missing)} to make"
    return f"to do: {duration(seconds)} of one device, up to {size(largest)}, about {energy}; {shared}"
