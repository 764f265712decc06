"""``touchstone doctor``."""

from __future__ import annotations

import click

from harness.errors import ExitCode

MARKS = {"ok": "[green]ok[/]", "absent": "[yellow]absent[/]", "broken": "[red]broken[/]"}


@click.command("doctor")
def command() -> int:
    """Report what is installed here: extras, Java, devices, mirror, hub. Fails only when something is
    broken.
    """
    from rich.markup import escape

    from harness.cli.tables import console, table
    from harness.doctor import examine

    findings = list(examine())
    rows = [[f.what, MARKS[f.state], escape(f.detail), escape(f.advice)] for f in findings]
    console().print(table("Doctor", ["what", "state", "detail", "to do"], rows))
    return int(ExitCode.RUN_FAILED if any(f.state == "broken" for f in findings) else ExitCode.FINE)
