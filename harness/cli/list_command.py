"""``touchstone list methods|tasks|suites``."""

from __future__ import annotations

from collections.abc import Iterator

import click


@click.command("list")
@click.argument("what", type=click.Choice(["methods", "tasks", "suites"]))
@click.option(
    "--all", "everything", is_flag=True, help="Also the tasks of single groups, such as mmlu/anatomy."
)
def command(what: str, everything: bool) -> None:
    """List methods, tasks or suites."""
    from harness.cli.tables import console, table

    screen = console()
    if what == "methods":
        columns = ["method", "family", "paper", "needs", "status", "about"]
        screen.print(table("Methods", columns, _methods()))
    elif what == "tasks":
        columns = ["task", "kind", ">items", ">documents", "main measure", "licence", "here"]
        screen.print(table("Tasks", columns, _tasks(everything)))
    else:
        screen.print(table("Suites", ["suite", ">tasks", ">methods", "about"], _suites()))


def _methods() -> Iterator[list[str]]:
    from harness.errors import TouchstoneError
    from harness.registry import find_adapters

    found = find_adapters()
    for name, adapter in sorted(found.adapters.items(), key=lambda pair: (pair[1].family, pair[0])):
        try:
            adapter().check()
            status = "runs here"
        except TouchstoneError as error:
            status = f"implemented; missing here: {error.fix or error.what}"
        paper = f"{adapter.paper.title} ({adapter.paper.year})" if adapter.paper else ""
        needs = ", ".join((*(f"{kind} task" for kind in sorted(adapter.kinds)), *adapter.extras))
        yield [name, adapter.family, paper, needs, status, adapter.about]
    for module, why in found.broken.items():
        yield [module, "", "", "", "does not import", why]


def _tasks(everything: bool) -> Iterator[list[str]]:
    from harness.catalog import Catalog
    from harness.data.sources import presence

    catalog = Catalog()
    for name, task in catalog.tasks.items():
        if task.group and not everything:
            continue
        dataset = catalog.dataset(task.dataset)
        counts = {} if task.group else dataset.counts
        items = counts.get("queries", counts.get("questions"))
        documents = counts.get("documents")
        yield [
            name,
            task.kind.value,
            f"{items:,}" if items else "",
            f"{documents:,}" if documents else "",
            task.main_measure,
            dataset.licence,
            presence(dataset),
        ]
    for error in catalog.broken:
        yield ["", "", "", "", "", "", f"broken: {error.line}"]


def _suites() -> Iterator[list[str]]:
    from harness.catalog import Catalog
    from harness.errors import TouchstoneError

    catalog = Catalog()
    for name in catalog.suite_files():
        try:
            suite = catalog.suite(name)
            yield [name, str(len(suite.tasks)), str(len(suite.methods)), suite.about]
        except TouchstoneError as error:
            yield [name, "", "", f"broken: {error.line}"]
