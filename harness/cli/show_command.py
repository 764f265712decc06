"""``touchstone show RUN``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from harness.cli.options import results_option
from harness.record import RECORD_FILE, Record


@click.command("show")
@click.argument("run")
@results_option
@click.option("--json", "as_json", is_flag=True, help="Print the stored record itself.")
def command(run: str, results: Path, as_json: bool) -> None:
    """Show one run (by the first digits of its id): scores, costs, provenance."""
    from harness.store import Store

    store = Store(results)
    record = store.get(run)
    if as_json:
        click.echo((store.folder(record) / RECORD_FILE).read_text(encoding="utf-8"), nl=False)
        return
    _print(record, store.folder(record))


def _print(record: Record, folder: Path) -> None:
    from harness.cli.tables import console, latency_rows, table
    from harness.format import score_text

    screen = console()
    screen.print(
        f"{record.run.method.name} on {record.run.task.name}: {record.status}", style="bold", markup=False
    )
    if record.failure:
        screen.print(record.failure.what, markup=False)
        screen.print(record.failure.details, markup=False)
    published = {(p.method, p.measure): f"{p.value:.4f}  {p.source}" for p in record.run.task.published}
    rows = [
        [name, score_text(summary), f"{summary.n:,}", published.get((record.run.method.name, name), "")]
        for name, summary in record.scores.items()
    ]
    if rows:
        screen.print(table("Scores", ["measure", "value [95 %]", ">items", "published"], rows))
    screen.print(table("Cost", ["what", ">value"], _costs(record)))
    if record.latency:
        screen.print(table("Latency of single queries", ["what", ">value"], latency_rows(record.latency)))
    screen.print(table("Provenance", ["what", "value"], _provenance(record, folder)))


def _costs(record: Record) -> Iterable[list[str]]:
    from harness.format import duration, size

    cost = record.cost
    yield ["time", duration(cost.seconds)]
    yield ["time of reused assets", duration(cost.reused_seconds)]
    for phase, seconds in cost.phases.items():
        yield [f"  {phase}", duration(seconds)]
    yield ["items per second, in batches", f"{cost.items_per_second:,.1f}"]
    yield ["index", size(cost.index_bytes)]
    yield ["peak memory", size(cost.peak_memory_bytes)]
    if cost.peak_device_bytes is not None:
        yield ["peak memory of the device", size(cost.peak_device_bytes)]
    for part, joules in (cost.joules or {}).items():
        yield [f"energy, {part}", f"{joules:,.1f} J"]
    yield ["stretches of work", str(cost.segments)]


def _provenance(record: Record, folder: Path) -> Iterable[list[str]]:
    yield ["id", record.id]
    yield ["folder", str(folder)]
    for name, value in record.provenance.items():
        if isinstance(value, dict):
            yield [name, ", ".join(f"{key} {item}" for key, item in value.items())]
        else:
            yield [name, str(value)]
    for name, count in record.counts.items():
        yield [name.replace("_", " "), f"{count:,}"]
    for note in record.notes:
        yield ["note", note]
