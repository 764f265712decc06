"""``touchstone run``."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import (
    device_option,
    request_from,
    request_options,
    results_option,
    schedule_from,
    schedule_options,
    session_for,
)
from harness.errors import ExitCode, TouchstoneError
from harness.execute import Session
from harness.plan import Cell, Request, cells

if TYPE_CHECKING:
    from harness.schedule.start import ScheduleOptions


@click.command("run")
@request_options
@results_option
@device_option
@schedule_options
@click.option("--fresh", is_flag=True, help="Compute answers anew instead of going on from stored ones.")
@click.option("--latency", is_flag=True, help="Time single queries too, in a mode of its own.")
@click.option("--available", is_flag=True, help="Do not fail for cells that cannot run on this machine.")
def command(results: Path, device: str, fresh: bool, latency: bool, available: bool, **options: Any) -> int:
    """Run methods on tasks, or a whole suite. What is stored already is not run again."""
    from harness.cli.tables import console, result_tables

    schedule = schedule_from(options, {"device": device, "latency": latency, "available": available}, fresh)
    session = session_for(results, device)
    session.store.require_writable()
    request = request_from(options, session)
    _prepare(request, session, available)
    planned = cells(request, session)
    todo = [cell for cell in planned if cell.state == "to do" or (fresh and cell.planned)]
    screen = console()
    if not todo and all(cell.state == "stored" for cell in planned):
        screen.print(f"Nothing to do: {_runs(len(planned))} stored in {results}.")
    finished = _execute(todo, session, schedule)
    shown = [finished.get(cell.run.method.name + "\0" + cell.run.task.name, cell) for cell in planned]
    if latency:
        shown = [_timed(cell, session) for cell in shown]
    for drawn in result_tables(shown):
        screen.print(drawn, markup=False, soft_wrap=isinstance(drawn, str))
    if finished:
        session.store.index()
    return _exit_code(shown, available)


def _prepare(request: Request, session: Session, available: bool) -> None:
    """Fetch data that is missing; under --offline list everything that is, and stop unless *available*."""
    from harness.data.download import offline
    from harness.data.sources import fetch_dataset
    from harness.missing import lacking, missing

    if os.environ.get("TOUCHSTONE_OFFLINE"):
        lines = missing(request.tasks, request.methods, session.catalog)
        for line in lines:
            click.echo(f"missing: {line}", err=True)
        if lines and not available:
            what = f"{len(lines)} things are missing here, and the network is not to be used"
            raise TouchstoneError(
                what, fix="fetch them, or add --available", exit_code=ExitCode.NOTHING_MEASURED
            )
    if offline():
        return
    for dataset in lacking(request.tasks, session.catalog):
        if any(source.remote for source in dataset.sources):
            try:
                fetch_dataset(dataset, lambda line: click.echo(line, err=True))
            except TouchstoneError as error:
                click.echo(f"not fetched: {error.line}", err=True)


def _execute(todo: list[Cell], session: Session, schedule: ScheduleOptions) -> dict[str, Cell]:
    """Schedule what is to do; then the cells with their records or problems, by method and task."""
    from harness.cli.progress import Bars
    from harness.cli.tables import console, forecast_table
    from harness.schedule.forecast import name_jobs
    from harness.schedule.start import run_schedule

    if not todo:
        return {}
    jobs = name_jobs([cell.planned for cell in todo if cell.planned is not None])
    with Bars({job: f"{run.run.method.name} on {run.run.task.name}" for job, run in jobs.items()}) as bars:
        ended = run_schedule(session, jobs, schedule, bars.hear)
    finished = {}
    for cell, job in zip(todo, jobs, strict=True):
        if job in ended.failed:
            problem = TouchstoneError(ended.failed[job], exit_code=ExitCode.RUN_FAILED)
            done = replace(cell, problem=problem)
        else:
            record = session.store.done(jobs[job].id, cell.run.task.name, cell.run.method.name)
            done = replace(cell, state="stored", record=record)
        finished[cell.run.method.name + "\0" + cell.run.task.name] = done
    if len(jobs) > 1:
        console(stderr=True).print(forecast_table(ended, jobs))
    return finished


def _timed(cell: Cell, session: Session) -> Cell:
    from harness.timed import TimedSpec, time_single

    if cell.record is None or cell.planned is None or cell.record.status != "done":
        return cell
    click.echo(f"timing {cell.run.method.name} on {cell.run.task.name}", err=True)
    record = time_single(session, cell.record, cell.planned, TimedSpec(), lambda *_a: None)
    return replace(cell, record=record)


def _exit_code(shown: list[Cell], available: bool) -> int:
    if any(cell.state == "to do" for cell in shown):
        return int(ExitCode.RUN_FAILED)
    missing = [cell for cell in shown if cell.state == "not here"]
    if missing and len(missing) == len(shown):
        problem = missing[0].problem
        return int(problem.exit_code) if problem and len(missing) == 1 else int(ExitCode.NOTHING_MEASURED)
    return int(ExitCode.RUN_FAILED) if missing and not available else int(ExitCode.FINE)


def _runs(count: int) -> str:
    return "the run is" if count == 1 else f"all {count} runs are"
