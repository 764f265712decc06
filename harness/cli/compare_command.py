"""``touchstone compare A B``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import results_option

if TYPE_CHECKING:
    from harness.compare import PairedRuns


@click.command("compare")
@click.argument("a")
@click.argument("b")
@results_option
@click.option("--measure", default="", help="Default: the task's main measure.")
@click.option(
    "--top", type=click.IntRange(min=0), default=5, show_default=True, help="Items shown at each end."
)
def command(a: str, b: str, results: Path, measure: str, top: int) -> None:
    """Compare runs A and B (first digits of their ids) item by item: difference B - A, interval, paired
    test.
    """
    from harness.compare import compare_runs
    from harness.store import Store

    _print(compare_runs(Store(results), a, b, measure), top)


def _print(paired: PairedRuns, top: int) -> None:
    from harness.cli.tables import console, table

    screen, c = console(), paired.comparison
    names = (paired.a.run.method.name, paired.b.run.method.name)
    rows = [
        [f"A  {names[0]}", f"{c.mean_b:.4f}", paired.a.id],
        [f"B  {names[1]}", f"{c.mean_a:.4f}", paired.b.id],
        ["B - A", f"{c.difference:+.4f} [{c.low:+.4f}, {c.high:+.4f}]", ""],
        [c.test, f"p = {c.p_value:.4g}", ""],
    ]
    if paired.mcnemar_p is not None:
        rows.append(["McNemar (exact)", f"p = {paired.mcnemar_p:.4g}", ""])
    rows.append(["items", f"{c.n:,}: B better on {c.wins:,}, worse on {c.losses:,}, equal on {c.ties:,}", ""])
    screen.print(table(f"{paired.measure} on {paired.a.run.task.name}", ["", "value [95 %]", "run"], rows))
    changed = paired.items[paired.items["difference"] != 0]
    if top and len(changed):
        ends = changed if len(changed) <= 2 * top else changed.iloc[[*range(top), *range(-top, 0)]]
        lines = [
            [str(r["item"]), f"{r['a']:.4f}", f"{r['b']:.4f}", f"{r['difference']:+.4f}"]
            for _, r in ends.iterrows()
        ]
        screen.print(table("Items that differ most", ["item", ">A", ">B", ">B - A"], lines))
