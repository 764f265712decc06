"""``touchstone flips A B``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import results_option

if TYPE_CHECKING:
    from harness.flips import Flips


@click.command("flips")
@click.argument("a")
@click.argument("b")
@results_option
@click.option("--top", type=click.IntRange(min=0), default=20, show_default=True, help="Questions shown.")
@click.option(
    "--csv", "file", type=click.Path(path_type=Path, dir_okay=False), help="Also write all of them here."
)
def command(a: str, b: str, results: Path, top: int, file: Path | None) -> None:
    """Show which multiple-choice questions runs A and B (first digits of their ids) answer differently,
    with McNemar's test.
    """
    from harness.errors import TouchstoneError
    from harness.flips import find_flips
    from harness.store import Store

    flips = find_flips(Store(results), a, b)
    if file is not None:
        try:
            flips.changed.to_csv(file, index=False)
        except OSError as error:
            raise TouchstoneError(
                "cannot write", where=str(file), why=error.strerror or str(error)
            ) from error
    _print(flips, top)


def _print(flips: Flips, top: int) -> None:
    from harness.cli.tables import console, table

    screen = console()
    rows = [
        ["right by both", f"{flips.both:,}"],
        [f"lost: only A, {flips.a.run.method.name}", f"{flips.only_a:,}"],
        [f"won: only B, {flips.b.run.method.name}", f"{flips.only_b:,}"],
        ["right by neither", f"{flips.neither:,}"],
        ["another choice in all", f"{len(flips.changed):,}"],
        ["McNemar (exact)", f"p = {flips.mcnemar_p:.4g}"],
    ]
    screen.print(table(f"Flips on {flips.a.run.task.name}", ["", ">questions"], rows))
    groups = flips.groups[flips.groups[["won", "lost"]].sum(axis=1) > 0].sort_values(
        ["lost", "won", "group"], ascending=[False, False, True]
    )
    if len(groups) > 1:
        lines = [[str(value) for value in row] for row in groups.head(top).itertuples(index=False)]
        screen.print(table("By group", ["group", ">questions", ">won", ">lost", ">wrong"], lines))
    flipped = flips.changed.sort_values(["flip", "item"]).head(top)
    if len(flipped):
        lines = [[str(value) for value in row] for row in flipped.itertuples(index=False)]
        screen.print(table("Questions with another choice", ["item", "group", "A", "B", "flip"], lines))
