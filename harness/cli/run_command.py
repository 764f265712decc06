"""``touchstone run``."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from harness.cli.options import device_option, request_from, request_options, results_option, session_for
from harness.errors import ExitCode, TouchstoneError
from harness.execute import Session
from harness.plan import Cell, Request, cells


@click.command("run")
@request_options
@results_option
@device_option
@click.option("--fresh", is_flag=True, help="Compute answers anew instead of going on from stored ones.")
@click.option("--latency", is_flag=True, help="Time single queries too, in a mode of its own.")
@click.option("--available", is_flag=True, help="Do not fail for cells that cannot run on this machine.")
def command(results: Path, device: str, fresh: bool, latency: bool, available: bool, **options: Any) -> int:
    """Run methods on tasks, or a whole suite. What is stored already is not run again."""
    from harness.cli.tables import console, result_tables

    session = session_for(results, device)
    session.store.require_writable()
    request = request_from(options, session)
    _prepare(request, session, available)
    planned = cells(request, session)
    todo = [cell for cell in planned if cell.state == "to do" or (fresh and cell.planned)]
    screen = console()
    if not todo and all(cell.state == "stored" for cell in planned):
        screen.print(f"Nothing to do: {_runs(len(planned))} stored in {results}.")
    finished = _execute(todo, session, fresh)
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


def _execute(todo: list[Cell], session: Session, fresh: bool) -> dict[str, Cell]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    finished: dict[str, Cell] = {}
    bars = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*bars, console=Console(stderr=True)) as progress:
        whole = progress.add_task("runs", total=len(todo), visible=len(todo) > 1)
        for cell in todo:
            bar = progress.add_task(f"  {cell.run.method.name} on {cell.run.task.name}", total=None)

            def report(what: str, done: int, total: int, bar: Any = bar, cell: Cell = cell) -> None:
                detail = "" if what == cell.run.method.name else f" ({what})"
                name = f"  {cell.run.method.name} on {cell.run.task.name}{detail}"
                progress.update(bar, description=name, completed=done, total=total)

            assert cell.planned is not None
            try:
                record = session.execute(cell.planned, report, fresh)
                done = replace(cell, state="stored", record=record)
            except TouchstoneError as error:
                done = replace(cell, problem=error)
            finished[cell.run.method.name + "\0" + cell.run.task.name] = done
            progress.remove_task(bar)
            progress.advance(whole)
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
