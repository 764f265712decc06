"""``touchstone import FORMAT PATH``."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import results_option, session_for
from harness.errors import TouchstoneError

FORMATS = ("trec", "mteb", "lm-eval", "anserini", "beir")


@click.command("import")
@click.argument("form", metavar="FORMAT", type=click.Choice(FORMATS))
@click.argument("path", type=click.Path(path_type=Path, exists=True))
@click.option("--task", help="trec: the task that the run answers.")
@click.option("--method", default="", help="trec: the method's name; its tag by default.")
@click.option("--name", default="", help="beir: the name of the suite; the folder's by default.")
@click.option("--out", type=click.Path(path_type=Path), help="beir: the suite file; <name>.yaml by default.")
@results_option
def command(form: str, path: Path, results: Path, out: Path | None, name: str, **run: str | None) -> None:
    """Import what others measured: it is kept apart, as reported.

    trec: a run file, with an ir_metadata header or without. mteb, lm-eval: a result file or a folder of them.
    anserini: expected scores, CSV or YAML. beir: a data set in BEIR layout, as a suite of one's own.
    """
    if form == "beir":
        _folder(path, name or path.resolve().name, out)
        return
    from harness.exchange.reported import add_reported

    session = session_for(results)
    if form == "trec":
        from harness.exchange.trec import import_run

        if not run["task"]:
            raise TouchstoneError("which task does the run answer?", fix="--task NAME")
        rows = import_run(path, session.catalog.task(run["task"]), session, run["method"] or "")
    elif form == "mteb":
        from harness.exchange.mteb import read_mteb

        rows = read_mteb(path)
    elif form == "lm-eval":
        from harness.exchange.lm_eval import read_lm_eval

        rows = read_lm_eval(path, session)
    else:
        from harness.exchange.anserini import read_anserini

        rows = read_anserini(path)
    count = add_reported(session.store, rows)
    methods, tasks = ({getattr(row, what) for row in rows} for what in ("method", "task"))
    click.echo(f"{count:,} reported numbers: {len(methods):,} methods, {len(tasks):,} tasks")
    for kept in dict.fromkeys(row.run for row in rows if row.run):
        click.echo(f"run {kept}: scored here from its answers, reported by others")


def _folder(path: Path, name: str, out: Path | None) -> None:
    from harness.exchange.beir import import_folder

    out = out or Path(f"{name}.yaml")
    tasks = import_folder(path, name, out)
    click.echo(f"{out}: {', '.join(tasks)}; run it with: touchstone run --suite {out}")
