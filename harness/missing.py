"""What a request needs and this machine lacks: data, candidate runs, models, packages. Nothing is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from harness.catalog import Catalog
from harness.data.dataset import DatasetSpec, roots
from harness.data.sources import is_whole, open_dataset
from harness.errors import TouchstoneError
from harness.registry import make_adapter, parse_method
from harness.spec import MethodSpec, TaskSpec


def missing(tasks: Iterable[TaskSpec], methods: Iterable[MethodSpec], catalog: Catalog) -> list[str]:
    """Everything that is missing, a line each, without repetition."""
    tasks = list(tasks)
    lines = [*_data(tasks, catalog)]
    for method in methods:
        lines += _needs(method)
    return list(dict.fromkeys(lines))


def lacking(tasks: Iterable[TaskSpec], catalog: Catalog) -> list[DatasetSpec]:
    """The datasets of *tasks* that are not here, or without the documents that the tasks need."""
    datasets = {task.dataset: catalog.dataset(task.dataset) for task in tasks}
    return [dataset for dataset in datasets.values() if _lack(dataset)]


def _data(tasks: list[TaskSpec], catalog: Catalog) -> Iterator[str]:
    for dataset in lacking(tasks, catalog):
        yield f"data: {_lack(dataset)}"
    for task in tasks:
        if task.candidates and not any((root / task.candidates).exists() for root in roots()):
            yield f"data: the candidate run {task.candidates} of {task.name}"


def _lack(dataset: DatasetSpec) -> str:
    """What of a dataset is missing here, '' when nothing is."""
    try:
        reader = open_dataset(dataset)
    except TouchstoneError as error:
        return error.line
    return "" if is_whole(reader) else f"the documents of '{dataset.name}' are not here"


def _needs(method: MethodSpec) -> Iterator[str]:
    """What a method and those it starts from lack: ``made_with`` names its models, and so finds them."""
    try:
        adapter = make_adapter(method)
        adapter.check()
        adapter.made_with()
    except TouchstoneError as error:
        yield f"{method.name}: {error.line}"
        return
    for part in adapter.part_methods():
        yield from _needs(parse_method(part))
