"""``touchstone plan``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.cli.options import request_from, request_options, results_option, session_for
from harness.plan import Cell, cells


@click.command("plan")
@request_options
@results_option
def command(results: Path, **options: Any) -> None:
    """Show what `run` would do: stored, to do, and what is missing here."""
    from harness.cli.tables import console, table

    session = session_for(results)
    found = cells(request_from(options, session), session)
    screen = console()
    columns = ["task", "method", "state", ">memory", ">last time", "run / reason"]
    screen.print(table("Plan", columns, (_row(cell, session) for cell in found)))
    counts = {state: sum(cell.state == state for cell in found) for state in ("stored", "to do", "not here")}
    screen.print(", ".join(f"{count} {state}" for state, count in counts.items()))


def _row(cell: Cell, session: Any) -> list[str]:
    from harness.format import duration, size

    need = cell.planned.adapter.need(cell.planned.task) if cell.planned else None
    memory = size(need.bytes + need.device_bytes) if need and (need.bytes or need.device_bytes) else ""
    last = [r for r in session.store.find(cell.run.task.name, cell.run.method.name) if r.status == "done"]
    reason = cell.problem.line if cell.problem else (cell.planned.id if cell.planned else "")
    return [
        cell.run.task.name,
        cell.run.method.name,
        cell.state,
        memory,
        duration(last[-1].cost.cold_seconds) if last else "",
        reason,
    ]
