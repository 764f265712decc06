"""``touchstone cache ls|why|gc|verify``."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import device_option, results_option, session_for

if TYPE_CHECKING:
    from harness.cache import Entry
    from harness.execute import Planned
    from harness.record import Record


@click.group("cache")
def command() -> None:
    """Look after what is kept between runs: vectors, indexes, first-stage rankings, answers.

    It lies in TOUCHSTONE_CACHE, or ~/.cache/touchstone.
    """


@command.command("ls")
@click.option("--kind", default="", help="Only this kind.")
def ls(kind: str) -> None:
    """List assets, most recently used first: kind, size, age, last use, what they are."""
    from harness.assets import cache_root
    from harness.cache import entries
    from harness.cli.tables import console, table
    from harness.format import size

    held = [entry for entry in entries(cache_root()) if kind in ("", entry.kind)]
    columns = ["asset", "kind", ">size", ">made", ">used", "what"]
    console().print(table(f"Assets in {cache_root()}", columns, (_row(entry) for entry in held)))
    click.echo(f"{len(held)} assets, {size(sum(entry.bytes for entry in held))}")


def _row(entry: Entry) -> list[str]:
    from harness.format import size

    what = entry.what if entry.state == "ready" else "unfinished: a run that asks for it goes on from there"
    return [entry.name, entry.kind, size(entry.bytes), _ago(entry.made), _ago(entry.used), what]


def _ago(moment: float) -> str:
    from harness.format import duration

    seconds = max(0.0, time.time() - moment)
    days = int(seconds // 86_400)
    return f"{days} d ago" if days else f"{duration(seconds)} ago" if seconds >= 1 else "now"


@command.command("why")
@click.argument("run")
@device_option
@results_option
def why(run: str, device: str, results: Path) -> None:
    """Say which assets RUN would use now, and how those it lacks differ from the nearest that are here."""
    from harness.cache import entries, nearest, shown
    from harness.wanted import wanted_assets

    session = session_for(results, device)
    record = session.store.get(run)
    planned = session.plan(record.run)
    for line in _changes(record, planned):
        click.echo(line)
    held = entries(session.assets.root)
    for want in wanted_assets(session, planned):
        if want.here:
            click.echo(f"{want.kind} {want.name}: ready")
            continue
        near = nearest({**want.key, **want.about}, want.kind, held)
        if near is None:
            click.echo(f"{want.kind} {want.name}: not here, and nothing of this kind is")
            continue
        click.echo(f"{want.kind} {want.name}: not here; the nearest is {near[0].name}, which differs in")
        for difference in near[1]:
            click.echo(
                f"  {difference.field}: wanted {shown(difference.wanted)}, it has {shown(difference.held)}"
            )


def _changes(record: Record, planned: Planned) -> Iterable[str]:
    """What would make today's run another one than the stored."""
    from harness.cache import flat, shown

    name = f"{record.run.method.name} on {record.run.task.name}"
    if record.id == planned.id:
        yield f"{name}: the same run as the stored {record.id}"
        return
    yield f"{name}: stored as {record.id}, today it is {planned.id}"
    stored = record.provenance.get("made_with")
    then = flat(stored if isinstance(stored, dict) else {}) | {"data": record.provenance.get("data")}
    now = flat(planned.made_with) | {"data": planned.task.data_digest}
    for field in sorted(then.keys() | now.keys()):
        if then.get(field) != now.get(field):
            yield f"  {field}: it was {shown(then.get(field))}, now {shown(now.get(field))}"


@command.command("gc")
@click.option("--limit", default="", help="Size to keep, like 20GB; without it TOUCHSTONE_CACHE_LIMIT.")
def gc(limit: str) -> None:
    """Remove assets, those not used for longest first, until the rest fits; never one in use."""
    from harness.assets import cache_root
    from harness.cache import collect, size_limit
    from harness.format import size

    done = collect(cache_root(), size_limit(limit))
    for entry in done.removed:
        click.echo(f"removed {entry.kind} {entry.name}, {size(entry.bytes)}")
    for entry in done.kept_in_use:
        click.echo(f"in use, kept: {entry.kind} {entry.name}, {size(entry.bytes)}")
    click.echo(f"{len(done.removed)} removed, {size(done.bytes_left)} left")


@command.command("verify")
def verify() -> int:
    """Compare the files of every asset with the hashes kept when it was made; exit 1 when one differs."""
    from harness.assets import cache_root
    from harness.cache import entries
    from harness.cache import verify as problems_of

    ready = [entry for entry in entries(cache_root()) if entry.state == "ready"]
    bad = 0
    for entry in ready:
        problems = problems_of(entry)
        bad += bool(problems)
        for problem in problems:
            click.echo(f"{entry.kind} {entry.name}: {problem}")
    click.echo(f"{len(ready) - bad} of {len(ready)} assets sound")
    return int(bool(bad))
