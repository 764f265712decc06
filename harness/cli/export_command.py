"""``touchstone export FORMAT OUT``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import results_option
from harness.errors import ExitCode, TouchstoneError

if TYPE_CHECKING:
    from harness.record import Record
    from harness.store import Store

FORMATS = ("trec", "mteb", "lm-eval", "card", "table")


@click.command("export")
@click.argument("form", metavar="FORMAT", type=click.Choice(FORMATS))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--run", "runs", multiple=True, help="A run by its id; repeat for more. Default: all.")
@click.option("--method", default="", help="Only the runs of this method, by name.")
@click.option("--task", default="", help="Only the runs of this task.")
@click.option("--reported", is_flag=True, help="table: the reported numbers instead of those measured here.")
@click.option("--no-header", is_flag=True, help="trec: without ir_metadata.")
@results_option
def command(
    form: str, out: Path, runs: tuple[str, ...], reported: bool, no_header: bool, **options: object
) -> None:
    """Write results for others to read.

    trec: a run file with an ir_metadata header. mteb: a results folder in MTEB's layout. lm-eval: a results
    object. card: the metadata of a model card on the hub. table: OUT ends in .csv, .parquet or .tex.
    """
    from harness.catalog import Catalog
    from harness.store import Store

    results = options["results"]
    assert isinstance(results, Path)
    store = Store(results)
    if form == "table" and reported:
        from harness.exchange.reported import read_reported
        from harness.exchange.tables import reported_rows, write_table

        write_table(reported_rows(read_reported(store)), out)
        return
    records = _records(store, runs, str(options["task"]), str(options["method"]))
    if form == "trec":
        from harness.exchange.trec import export_run

        if len(records) != 1:
            raise TouchstoneError(f"{len(records)} runs for one file", fix="name one with --run")
        export_run(store.folder(records[0]), records[0], Catalog(), out, not no_header)
    else:
        _write(form, out, records)
    click.echo(f"{out}: {len(records)} runs", err=True)


def _records(store: Store, runs: tuple[str, ...], task: str, method: str) -> list[Record]:
    """The newest finished run of each task, method and seed, or those named."""
    if runs:
        return [store.get(run) for run in runs]
    newest = {
        (one.run.task.name, one.run.method.name, one.run.seed): one
        for one in store.find(task, method)
        if one.status == "done" and not one.run.limit
    }
    if not newest:
        raise TouchstoneError(
            "no finished run to export", where=str(store.root), exit_code=ExitCode.NOTHING_MEASURED
        )
    return list(newest.values())


def _write(form: str, out: Path, records: list[Record]) -> None:
    from harness.catalog import Catalog

    if form == "table":
        from harness.exchange.tables import measured_rows, write_table

        write_table(measured_rows(records), out)
    elif form == "mteb":
        from harness.exchange.mteb import write_mteb

        write_mteb(records, out)
    elif form == "lm-eval":
        from harness.exchange.lm_eval import to_lm_eval

        _save(out, json.dumps(to_lm_eval(records), indent=2, allow_nan=False) + "\n")
    else:
        from harness.exchange.cards import to_card

        names = {one.run.method.name for one in records}
        if len(names) != 1:
            raise TouchstoneError(f"a card is of one model, these are {len(names)}", fix="--method NAME")
        _save(out, to_card(records, names.pop(), Catalog()))


def _save(out: Path, text: str) -> None:
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise TouchstoneError("cannot write the file", where=str(out), why=str(error)) from error
