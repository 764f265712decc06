"""``touchstone data list|fetch|pack|unpack|verify``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import offline_option

if TYPE_CHECKING:
    from harness.catalog import Catalog
    from harness.data.dataset import DatasetSpec
    from harness.spec import TaskSpec

FOLDER = click.Path(path_type=Path, file_okay=False)
SUITE = click.option("--suite", help="The datasets of a suite, by name or YAML file.")


@click.group("data")
def command() -> None:
    """List, fetch, pack, unpack or verify datasets."""


@command.command("list")
@SUITE
@offline_option
def list_data(suite: str | None) -> None:
    """Show every dataset: counts, licence, whether it is here, and where it would be fetched from."""
    from harness.catalog import Catalog
    from harness.cli.tables import console, table

    catalog = Catalog()
    columns = ["dataset", ">documents", ">characters", ">items", "licence", "here", "fetched from"]
    console().print(table("Datasets", columns, map(_row, _datasets((), suite, catalog))))


@command.command("fetch")
@click.argument("names", nargs=-1)
@SUITE
@offline_option
def fetch(names: tuple[str, ...], suite: str | None) -> int:
    """Download datasets, by NAMES or of a suite, from the first of their sources that gives all of it.

    What is here already is left alone. Interrupted downloads are gone on with.
    """
    from harness.catalog import Catalog
    from harness.data.sources import fetch_dataset, presence
    from harness.errors import ExitCode, TouchstoneError

    if not names and not suite:
        raise TouchstoneError("nothing to fetch", fix="name datasets, or give --suite")
    failed = []
    for dataset in _datasets(names, suite, Catalog()):
        if presence(dataset) == "yes":
            click.echo(f"{dataset.name}: here")
            continue
        try:
            source = fetch_dataset(dataset, _say)
            click.echo(f"{dataset.name}: fetched from {source.remote}")
        except TouchstoneError as error:
            failed.append(dataset.name)
            click.echo(f"{dataset.name}: {error.line}", err=True)
    return int(ExitCode.RUN_FAILED if failed else ExitCode.FINE)


@command.command("pack")
@click.argument("suite")
@click.argument("folder", type=FOLDER)
@click.option("--available", is_flag=True, help="Leave out what is not here.")
@offline_option
def pack_data(suite: str, folder: Path, available: bool) -> None:
    """Copy the data of SUITE into FOLDER with a digest of every file.

    FOLDER then serves as a mirror (TOUCHSTONE_DATA), or `unpack` installs it on another machine.
    """
    from harness.catalog import Catalog
    from harness.data.pack import pack
    from harness.errors import TouchstoneError
    from harness.missing import lacking

    catalog = Catalog()
    tasks = catalog.suite(suite).tasks
    lacks = {dataset.name for dataset in lacking(tasks, catalog)} if available else set()
    kept = [task for task in tasks if task.dataset not in lacks]
    if not kept:
        raise TouchstoneError(f"no data of the suite '{suite}' is here", fix="touchstone data fetch")
    for name in sorted(lacks):
        click.echo(f"left out: {name}", err=True)
    runs = [task.candidates for task in kept if task.candidates]
    manifest = pack(_of(kept, catalog), runs, folder, _say)
    click.echo(f"{len(manifest.datasets)} datasets, {len(manifest.files)} files in {folder}")


@command.command("unpack")
@click.argument("folder", type=FOLDER)
@click.option("--to", "target", type=FOLDER, help="Instead of the folder of fetched data.")
@offline_option
def unpack_data(folder: Path, target: Path | None) -> None:
    """Check a packed FOLDER and copy it to where fetched data lies."""
    from harness.data.dataset import fetched_root
    from harness.data.pack import unpack

    target = target or fetched_root()
    manifest = unpack(folder, target, _say)
    click.echo(f"{len(manifest.datasets)} datasets in {target}: {', '.join(manifest.datasets)}")


@command.command("verify")
@click.argument("folder", type=FOLDER, required=False)
@SUITE
@offline_option
def verify_data(folder: Path | None, suite: str | None) -> int:
    """Check a packed FOLDER against its digests, or the data of a suite against digests and counts."""
    from harness.errors import ExitCode, TouchstoneError

    if (folder is None) == (suite is None):
        raise TouchstoneError("give a packed folder or --suite")
    problems = list(_folder_problems(folder) if folder else _suite_problems(str(suite)))
    for line in problems:
        click.echo(line)
    click.echo(f"{len(problems)} problems" if problems else "all as it should be")
    return int(ExitCode.WORSE if problems else ExitCode.FINE)


def _folder_problems(folder: Path) -> Iterable[str]:
    from harness.data.pack import verify

    return verify(folder)


def _suite_problems(name: str) -> Iterator[str]:
    """Each task of the suite, loaded whole: that compares its counts; before it the known digests."""
    from harness.assets import Assets, cache_root
    from harness.catalog import Catalog
    from harness.data.sources import wrong_digests
    from harness.errors import TouchstoneError
    from harness.tasks.load import load_task

    catalog = Catalog()
    for task in catalog.suite(name).tasks:
        dataset = catalog.dataset(task.dataset)
        try:
            yield from wrong_digests(dataset)
            load_task(task, dataset, Assets(cache_root()))
            click.echo(f"{task.name}: checked", err=True)
        except TouchstoneError as error:
            yield f"{task.name}: {error.line}"


def _datasets(names: Iterable[str], suite: str | None, catalog: Catalog) -> list[DatasetSpec]:
    """The named datasets and those of the suite; without either all."""
    found = [catalog.dataset(name) for name in names]
    if suite:
        found += _of(catalog.suite(suite).tasks, catalog)
    return found if found or suite else list(catalog.datasets.values())


def _of(tasks: Iterable[TaskSpec], catalog: Catalog) -> list[DatasetSpec]:
    return [catalog.dataset(name) for name in dict.fromkeys(task.dataset for task in tasks)]


def _row(dataset: DatasetSpec) -> list[str]:
    from harness.data.sources import presence

    counts = dataset.counts
    items = counts.get("queries", counts.get("questions", 0))
    documents, characters = counts.get("documents", 0), dataset.characters.get("documents", 0)
    places = [source.remote for source in dataset.sources if source.remote]
    here = presence(dataset)
    nowhere = "" if here == "yes" and not places else "on request, not downloadable"
    return [
        dataset.name,
        f"{documents:,}" if documents else "",
        f"{characters:,}" if characters else "",
        f"{items:,}" if items else "",
        dataset.licence,
        here,
        ", ".join(places) or nowhere,
    ]


def _say(line: str) -> None:
    click.echo(line, err=True)
