"""``touchstone resume``."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import results_option


@click.command("resume")
@results_option
@click.pass_context
def command(context: click.Context, results: Path) -> int:
    """Go on with the last schedule: what is not stored is run, from its finished blocks."""
    from harness.cli.run_command import command as run
    from harness.errors import TouchstoneError
    from harness.schedule.desk import desks

    found = [desk for desk in desks(results) if desk.request()]
    if not found:
        raise TouchstoneError("nothing was scheduled here", where=str(results), fix="touchstone run")
    code: int = context.invoke(run, **{**found[-1].request(), "results": results, "fresh": False})
    return code
