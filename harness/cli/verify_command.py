"""``touchstone verify ARCHIVE|RUN``."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import device_option, results_option, session_for
from harness.errors import ExitCode


@click.command("verify")
@click.argument("what")
@click.option(
    "--sample", type=click.IntRange(min=0), default=20, show_default=True, help="Items to run again; 0: none."
)
@device_option
@results_option
def command(what: str, sample: int, device: str, results: Path) -> int:
    """Verify WHAT, a submitted archive or a stored run by its id: scores from its answers, then a sample run.

    What holds is stored and marked verified. With --sample 0 scores are checked and nothing is marked (exit
    3); claims that do not hold end in exit 1, a hostile or broken archive in exit 2.
    """
    from harness.submission.verify import SpotCheck, verify_archive, verify_run

    session, spec = session_for(results, device), SpotCheck(sample)

    def progress(_what: str, _done: int, _total: int) -> None:
        return

    if Path(what).is_file():
        found = verify_archive(Path(what), session, spec, progress)
    else:
        found = verify_run(what, session, spec, progress)
    name = f"{found.record.run.method.name} on {found.record.run.task.name}"
    if not found.run_items:
        click.echo(f"{name}: the scores follow from the answers; nothing was run, so it is not marked")
        return int(ExitCode.NOTHING_MEASURED)
    click.echo(
        f"{name}: verified; {found.agreeing} of {found.run_items} items run again agree, "
        f"{found.overlap:.0%} of their answers are equal"
    )
    return int(ExitCode.FINE)
