"""``touchstone latency METHOD TASK``."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import device_option, results_option, seed_option, session_for, stored_run


@click.command("latency")
@click.argument("method")
@click.argument("task")
@click.option("--count", type=click.IntRange(min=1), default=200, show_default=True, help="Queries timed.")
@click.option(
    "--warm-up", type=click.IntRange(min=1), default=20, show_default=True, help="Queries before that."
)
@seed_option
@device_option
@results_option
def command(method: str, task: str, seed: int, device: str, results: Path, **counts: int) -> None:
    """Time a stored run's method query by query over a loaded index; the percentiles join its record."""
    from harness.cli.tables import console, latency_rows, table
    from harness.timed import TimedSpec, time_single

    session = session_for(results, device)
    record, planned = stored_run(session, method, task, seed)
    timed = time_single(session, record, planned, TimedSpec(**counts), lambda *_a: None)
    assert timed.latency is not None
    title = f"{planned.run.method.name} on {planned.run.task.name}, one query at a time"
    console().print(table(title, ["what", ">value"], latency_rows(timed.latency)))
