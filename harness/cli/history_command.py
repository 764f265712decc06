"""``touchstone history METHOD TASK``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import results_option

if TYPE_CHECKING:
    from harness.regression.history import Change, Point


@click.command("history")
@click.argument("method")
@click.argument("task")
@click.option("--measure", default="", help="Default: the task's main measure.")
@click.option(
    "--also",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    help="Another results folder.",
)
@click.option("--alpha", type=click.FloatRange(0, 1, True, True), default=0.05, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@results_option
def command(
    method: str, task: str, measure: str, alpha: float, as_json: bool, **folders: tuple[Path, ...] | Path
) -> None:
    """Show a measure of METHOD on TASK over its stored runs, oldest first, and where its mean changed.

    Each run is also compared with the one before it, item by item.
    """
    import numpy as np

    from harness.registry import parse_method
    from harness.regression.history import change_points, history, scores_of
    from harness.store import Store

    also, results = folders["also"], folders["results"]
    assert isinstance(also, tuple) and isinstance(results, Path)
    runs = history([Store(folder) for folder in (results, *also)], parse_method(method), task)
    points = scores_of(runs, measure)
    changes = change_points(np.array([point.value for point in points]), alpha)
    if as_json:
        click.echo(_json(points, changes))
    else:
        _print(f"{measure or points[-1].record.run.task.main_measure} of {method} on {task}", points, changes)


def _print(title: str, points: list[Point], changes: list[Change]) -> None:
    from harness.cli.tables import console, table
    from harness.format import probability, signed

    marks = {change.at: change for change in changes}
    rows = []
    for number, point in enumerate(points):
        step, change = point.step, marks.get(number)
        rows.append(
            [
                point.record.finished,
                point.record.id,
                str(point.record.provenance.get("touchstone", "")),
                f"{point.value:.4f}",
                signed(step.difference) if step else ("other data" if number else ""),
                probability(step.p_value) if step else "",
                f"change: {change.before:.4f} to {change.after:.4f}, p = {probability(change.p_value)}"
                if change
                else "",
            ]
        )
    columns = ["finished", "run", "version", ">value", ">step", ">p", ""]
    console().print(table(title, columns, rows), markup=False)
    if len(points) < 6:
        console().print(f"{len(points)} runs are too few to show a change of the mean; the steps are tested")


def _json(points: list[Point], changes: list[Change]) -> str:
    from dataclasses import asdict

    shown = [
        {
            "run": point.record.id,
            "finished": point.record.finished,
            "value": point.value,
            "step": asdict(point.step) if point.step else None,
        }
        for point in points
    ]
    return json.dumps({"points": shown, "changes": [asdict(change) for change in changes]}, indent=1)
