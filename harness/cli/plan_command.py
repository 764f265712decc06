"""``touchstone plan``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from harness.cli.options import request_from, request_options, results_option, session_for
from harness.plan import Cell, cells
from harness.record import Cost


@click.command("plan")
@request_options
@results_option
def command(results: Path, **options: Any) -> None:
    """Show what `run` would do: stored, to do, and what is missing here."""
    from harness.cli.tables import console, table

    session = session_for(results)
    request = request_from(options, session)
    found = cells(request, session)
    screen = console()
    columns = ["task", "method", "state", ">memory", ">last time", "run / reason"]
    records = session.store.find()  # newest last
    last = {(r.run.task.name, r.run.method.name): r.cost for r in records if r.status == "done"}
    screen.print(table("Plan", columns, (_row(cell, last) for cell in found)))
    counts = {state: sum(cell.state == state for cell in found) for state in ("stored", "to do", "not here")}
    if os.environ.get("TOUCHSTONE_OFFLINE"):
        from harness.missing import missing

        for line in missing(request.tasks, request.methods, session.catalog):
            screen.print(f"missing: {line}", markup=False, soft_wrap=True)
    screen.print(", ".join(f"{count} {state}" for state, count in counts.items()))


def _row(cell: Cell, last: Mapping[tuple[str, str], Cost]) -> list[str]:
    from harness.format import duration, size

    need = cell.planned.adapter.need(cell.planned.task) if cell.planned else None
    memory = size(need.bytes + need.device_bytes) if need and (need.bytes or need.device_bytes) else ""
    cost = last.get((cell.run.task.name, cell.run.method.name))
    reason = cell.problem.line if cell.problem else (cell.planned.id if cell.planned else "")
    return [
        cell.run.task.name,
        cell.run.method.name,
        cell.state,
        memory,
        duration(cost.cold_seconds) if cost else "",
        reason,
    ]
