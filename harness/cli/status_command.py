"""``touchstone status``."""

from __future__ import annotations

import time
from pathlib import Path

import click

from harness.cli.options import results_option


@click.command("status")
@results_option
@click.option("--follow", is_flag=True, help="Redraw every second until the schedule has ended.")
def command(results: Path, follow: bool) -> None:
    """Show the last schedule of a results folder: what runs, waits, is done and has failed."""
    from rich.console import Group
    from rich.live import Live

    from harness.cli.tables import console, status_tables
    from harness.errors import TouchstoneError
    from harness.schedule.desk import at_work, desks
    from harness.schedule.status import status_of

    found = desks(results)
    if not found:
        raise TouchstoneError("nothing was scheduled here", where=str(results), fix="touchstone run")
    screen = console()
    if not follow:
        for drawn in status_tables(status_of(found[-1], at_work(results), time.time())):
            screen.print(drawn)
        return
    with Live(console=screen, refresh_per_second=2) as live:
        while True:
            status = status_of(found[-1], at_work(results), time.time())
            live.update(Group(*status_tables(status)))
            if not status.at_work:
                return
            time.sleep(1)
