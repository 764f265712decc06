"""``touchstone check-batching METHOD TASK``."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import device_option, results_option, seed_option, session_for, stored_run


@click.command("check-batching")
@click.argument("method")
@click.argument("task")
@click.option("--count", type=click.IntRange(min=1), default=50, show_default=True, help="Items compared.")
@seed_option
@device_option
@results_option
def command(method: str, task: str, count: int, seed: int, device: str, results: Path) -> None:
    """Answer a sample at batch 1 and in the batches of a run; keep the largest difference with the run."""
    from harness.batch_check import FILE, check_batching
    from harness.cli.tables import console, table

    session = session_for(results, device)
    record, planned = stored_run(session, method, task, seed)
    check = check_batching(session, record, planned, count, lambda *_a: None)
    largest = "no scores" if check.largest_difference is None else f"{check.largest_difference:.3g}"
    rows = [
        ["items", f"{check.items:,}"],
        ["largest difference of a score", largest],
        ["changed ranks", f"{check.changed_ranks:,}"],
        ["items with a changed answer", f"{check.changed_items:,}"],
        ["kept in", str(session.store.folder(record) / FILE)],
    ]
    title = f"{planned.run.method.name} on {planned.run.task.name}: batch 1 against the run's batches"
    console().print(table(title, ["what", ">value"], rows))
