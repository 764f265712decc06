"""``touchstone submit RUN OUT``."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import results_option, session_for
from harness.errors import TouchstoneError


@click.command("submit")
@click.argument("run")
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False), required=False)
@results_option
def command(run: str, out: Path | None, results: Path) -> None:
    """Pack the stored RUN with its per-item answers into one archive, after scoring it again.

    OUT is <run id>.touchstone.zip by default; `touchstone verify OUT` is what its receiver does.
    """
    from harness.format import size
    from harness.submission.archive import pack

    session = session_for(results)
    record = session.store.get(run)
    if record.status == "done":
        problems = session.store.verify(record, session.task(record.run.task))
        if problems:
            raise TouchstoneError(f"the run {record.id} does not verify", why="; ".join(problems))
    path = pack(session.store, record, out or Path(f"{record.id}.touchstone.zip"))
    click.echo(f"{path}: {record.run.method.name} on {record.run.task.name}, {size(path.stat().st_size)}")
