"""``touchstone cancel``."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import results_option


@click.command("cancel")
@click.argument("runs", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All runs that have not ended.")
@results_option
def command(runs: tuple[str, ...], everything: bool, results: Path) -> None:
    """Cancel runs of the schedule at work (by the first digits of their ids). Finished blocks are kept."""
    from harness.errors import TouchstoneError, unknown
    from harness.schedule.desk import at_work, desks

    if not runs and not everything:
        raise click.UsageError("name runs, or give --all")
    if not at_work(results):
        raise TouchstoneError("no scheduler is at work", where=str(results))
    desk = desks(results)[-1]
    known = [event["job"] for event in desk.events() if event["what"] == "job"]
    for run in runs:
        if not any(job.startswith(run) for job in known):
            raise unknown("run", run, known, str(results))
    desk.cancel(["all"] if everything else list(runs))
    click.echo("asked for; `touchstone status` shows when it is done")
