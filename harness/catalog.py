"""The suite definitions: datasets, tasks and suites, read from YAML when asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from harness.data.dataset import FILES, DatasetSpec, Source
from harness.errors import TouchstoneError, unknown
from harness.registry import parse_method, spec_of
from harness.spec import Json, Kind, MethodSpec, Published, TaskSpec
from harness.strict import read_yaml, read_yaml_list

T = TypeVar("T")

PACKAGE = Path(__file__).parent


@dataclass(frozen=True)
class TaskEntry:
    """A task as written. by_group: also one task for each group of the dataset and for each
    category of groups, named task/group. candidates: a run file whose documents alone are ranked.
    """

    name: str
    kind: Kind
    dataset: str
    measures: tuple[str, ...]
    title: str = ""
    depth: int = 1000
    shots: int = 0
    by_group: bool = False
    candidates: str = ""
    published: tuple[Published, ...] = ()


@dataclass(frozen=True)
class MethodEntry:
    """A method as written in a suite: an adapter with settings, under a name of its own."""

    name: str
    adapter: str
    settings: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True)
class SuiteEntry:
    """A suite as written. A method is an expression such as ``bm25(k1=0.9)``, or an entry with a name.

    tasks: by name; ``*`` stands for every task defined in the same folder, but those of single groups.
    combined: tasks that count together as one in the mean, by the name of the whole (BEIR's CQADupStack).
    datasets and define: definitions of its own; their paths are relative to the suite's file.
    """

    name: str
    title: str
    about: str
    tasks: tuple[str, ...]
    methods: tuple[str | MethodEntry, ...]
    aggregate: Literal["mean", "none"] = "mean"
    combined: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    datasets: tuple[DatasetSpec, ...] = ()
    define: tuple[TaskEntry, ...] = ()


@dataclass(frozen=True)
class Suite:
    """A named set of tasks, the methods that run on them, and how they are aggregated."""

    name: str
    title: str
    about: str
    tasks: tuple[TaskSpec, ...]
    methods: tuple[MethodSpec, ...]
    aggregate: Literal["mean", "none"]
    combined: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def shipped(folder: str) -> Path:
    """A folder of the distribution: inside the installed package, or beside it in a checkout."""
    inside = PACKAGE / f"_{folder}"
    return inside if inside.is_dir() else PACKAGE.parent / folder


def roots() -> list[Path]:
    """Folders with definitions: the shipped one, then those of ``$TOUCHSTONE_SUITES`` (separated as in
    PATH).
    """
    extra = os.environ.get("TOUCHSTONE_SUITES", "")
    return [shipped("suites"), *(Path(part).expanduser() for part in extra.split(os.pathsep) if part)]


class Catalog:
    """Definitions by name. A broken file is an error only when what is asked for may be in it."""

    def __init__(self, folders: list[Path] | None = None) -> None:
        self.folders = roots() if folders is None else folders
        self.broken: list[TouchstoneError] = []
        self.datasets: dict[str, DatasetSpec] = {}
        self.tasks: dict[str, TaskSpec] = {}
        self._folders: dict[str, Path] = {}
        for path in self._files("datasets/*.yaml"):
            for dataset in self._entries(path, DatasetSpec):
                self._once(self.datasets, dataset.name, dataset, path)
        for path in self._files("tasks/*.yaml"):
            for entry in self._entries(path, TaskEntry):
                for task in self._expanded(entry):
                    self._once(self.tasks, task.name, task, path)
                    self._folders.setdefault(task.name, path.parent.parent)

    def task(self, name: str) -> TaskSpec:
        """The task of a name."""
        if name not in self.tasks:
            raise self._absent("task", name, self.tasks)
        return self.tasks[name]

    def dataset(self, name: str) -> DatasetSpec:
        """The dataset of a name."""
        if name not in self.datasets:
            raise self._absent("dataset", name, self.datasets)
        return self.datasets[name]

    def suite_files(self) -> dict[str, Path]:
        """Suite definitions by name (the file's name)."""
        return {path.stem: path for path in self._files("*.yaml")}

    def suite(self, name: str) -> Suite:
        """The suite of a name, or of a YAML file."""
        files = self.suite_files()
        if name.endswith((".yaml", ".yml")):
            path = Path(name)
        elif name in files:
            path = files[name]
        else:
            raise unknown("suite", name, files)
        entry = read_yaml(path, SuiteEntry)
        if entry.name != path.stem:
            raise TouchstoneError(
                f"the suite is named '{entry.name}'", where=str(path), fix="name it as its file"
            )
        self._define(entry, path)
        methods = tuple(_method(method, str(path)) for method in entry.methods)
        names = [method.name for method in methods]
        for label in names:
            if names.count(label) > 1:
                raise TouchstoneError(f"two methods are named '{label}'", where=str(path))
        tasks = tuple(self.task(task) for task in self._named(entry.tasks, path.parent))
        for name in (name for names in entry.combined.values() for name in names):
            if name not in entry.tasks:
                raise unknown("task to combine", name, entry.tasks, str(path))
        return Suite(
            entry.name, entry.title, entry.about, tasks, methods, entry.aggregate, dict(entry.combined)
        )

    def _named(self, names: tuple[str, ...], folder: Path) -> list[str]:
        """*names*, with every task of the folder that is not of a single group in the place of ``*``."""
        own = (name for name in self.tasks if self._folders.get(name) == folder)
        whole = [name for name in own if not self.tasks[name].group]
        return [task for name in names for task in (whole if name == "*" else [name])]

    def _define(self, entry: SuiteEntry, path: Path) -> None:
        """Add a suite's own datasets and tasks; a name that is taken is an error."""
        for dataset in entry.datasets:
            sources = tuple(_beside(source, path.parent) for source in dataset.sources)
            if self.datasets.setdefault(dataset.name, replace(dataset, sources=sources)).sources != sources:
                raise TouchstoneError(f"the dataset '{dataset.name}' is defined already", where=str(path))
        for task in (task for one in entry.define for task in self._expanded(_with_run(one, path.parent))):
            if self.tasks.setdefault(task.name, task) != task:
                raise TouchstoneError(f"the task '{task.name}' is defined already", where=str(path))

    def _files(self, pattern: str) -> list[Path]:
        return [path for folder in self.folders for path in sorted(folder.glob(pattern))]

    def _entries(self, path: Path, into: type[T]) -> list[T]:
        try:
            return read_yaml_list(path, into)
        except TouchstoneError as error:
            self.broken.append(error)
            return []

    def _once(self, into: dict[str, T], name: str, value: T, path: Path) -> None:
        if name in into:
            self.broken.append(TouchstoneError(f"'{name}' is defined twice", where=str(path)))
        into.setdefault(name, value)

    def _absent(self, kind: str, name: str, known: Mapping[str, object]) -> TouchstoneError:
        return self.broken[0] if self.broken else unknown(kind, name, known)

    def _expanded(self, entry: TaskEntry) -> Iterator[TaskSpec]:
        task = TaskSpec(
            name=entry.name,
            kind=entry.kind,
            dataset=entry.dataset,
            measures=entry.measures,
            title=entry.title or entry.name,
            depth=entry.depth,
            shots=entry.shots,
            candidates=entry.candidates,
            published=entry.published,
        )
        yield task
        dataset = self.datasets.get(entry.dataset)
        groups = dataset.groups if dataset and entry.by_group else {}
        for part in (*dict.fromkeys(groups.values()), *groups):
            title = f"{task.title}: {part.replace('_', ' ')}"
            measures = ("Acc",) if part in groups else task.measures
            yield replace(
                task, name=f"{task.name}/{part}", group=part, title=title, published=(), measures=measures
            )


def _beside(source: Source, folder: Path) -> Source:
    """A source of a suite's own data: its files are named relative to the suite's file."""
    if source.format in ("hub", "ir_datasets", "pydoc"):
        return source
    named = {name: getattr(source, name) for name in FILES}
    beside: dict[str, Any] = {name: str((folder / value).resolve()) for name, value in named.items() if value}
    return replace(source, **beside)


def _with_run(entry: TaskEntry, folder: Path) -> TaskEntry:
    """A task of a suite's own, its candidate run named relative to the suite's file."""
    if not entry.candidates:
        return entry
    return replace(entry, candidates=str((folder / entry.candidates).resolve()))


def _method(method: str | MethodEntry, where: str) -> MethodSpec:
    if isinstance(method, str):
        return parse_method(method)
    return spec_of(method.adapter, method.settings, f"{where}: {method.name}", method.name)
