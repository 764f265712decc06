"""One build of the site: what its pages share, and the writing of all of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from harness import __version__
from harness.adapter import Adapter
from harness.catalog import Catalog, shipped
from harness.columns import Method, TaskResults
from harness.exchange.reported import Reported
from harness.leaderboard import WORTH, Results
from harness.model_cards import ModelCard, licence_of, read_cards, size_class
from harness.pages.cells import Cells
from harness.pages.links import Links, file_names, folder_of
from harness.pages.render import Renderer, code_digest
from harness.parallel import each
from harness.record import Record
from harness.registry import find_adapters
from harness.spec import Json, digest
from harness.store import Store

# What writes pages, and of what: the task, the methods.
Job = tuple[tuple[Callable[["Site", Any], dict[str, str]], ...], Any]


@dataclass(frozen=True, eq=False)
class Site:
    """*results* rendered into *folder*.

    before: the pages of an earlier build, whose unchanged ones are taken over; manifest: digests of what
    each of its pages was made from. reported: numbers of others, by task. url: where the site will be, ''
    when that is not known.
    """

    results: Results
    store: Store
    catalog: Catalog
    folder: Path
    before: Path | None = None
    manifest: Mapping[str, str] = field(default_factory=dict)
    reported: Mapping[str, Sequence[Reported]] = field(default_factory=dict)
    url: str = ""
    ranges: dict[str, tuple[float, float]] = field(
        default_factory=dict
    )  # of each task's scores, when asked for

    def write(self) -> dict[str, str]:
        """Write every page and file. Returns the digest of what each page was made from."""
        from harness.pages import fronts, methods, runs, suites, tasks

        shutil.copytree(shipped("site") / "static", self.folder / "static")
        for name in ("suites", "tasks", "methods", "runs"):
            (self.folder / name).mkdir()
        jobs: list[Job] = [((fronts.write,), None)]
        jobs += [((suites.write,), board) for board in range(len(self.results.boards))]
        jobs += [((tasks.write, runs.write), name) for name in self.results.tasks]
        keys = list(self.results.methods)
        jobs += [((methods.write,), keys[start : start + 20]) for start in range(0, len(keys), 20)]
        processes = 0 if len(self.results.records) >= WORTH else 1
        made: dict[str, str] = {}
        for part in each(_write, self, jobs, processes):
            made |= part
        return dict(sorted(made.items()))

    def page(
        self, template: str, path: str, inputs: Json, context: Callable[[], Mapping[str, Any]]
    ) -> dict[str, str]:
        """Write the page at *path*, or take over the earlier one when *inputs* are what it was made from.

        context: called only when the page is made anew; it writes the files of the page's own folder too.
        """
        return self.made(path, inputs, lambda: self.renderer.page(template, path, context()))

    def made(self, path: str, inputs: Json, text: Callable[[], bytes]) -> dict[str, str]:
        """The same of a page whose bytes are *text*."""
        found = digest([code_digest(), self.url, inputs], 24)
        if not (self.before and self.manifest.get(path) == found and self.take_over(path)):
            write_new(f"{self.folder}/{path}", text())
        return {path: found}

    def take_over(self, path: str) -> bool:
        """Take the page at *path* with its folder from the earlier build; False when it is not there."""
        assert self.before
        old, folder = self.before / path, self.before / folder_of(path)
        if not old.is_file():
            return False
        put(old, self.folder / path)
        for file in sorted(folder.rglob("*")) if folder.is_dir() else ():
            if file.is_file():
                target = self.folder / file.relative_to(self.before)
                target.parent.mkdir(parents=True, exist_ok=True)
                put(file, target)
        return True

    @cached_property
    def links(self) -> Links:
        """Where every page is."""
        names = {key: method.name for key, method in self.results.methods.items()}
        return Links(file_names({name: name for name in self.results.tasks}), file_names(names))

    @cached_property
    def by_task(self) -> dict[str, list[Record]]:
        """All runs of each task, newest first."""
        found: dict[str, list[Record]] = {name: [] for name in self.results.tasks}
        for record in self.results.records:
            found[record.run.task.name].append(record)
        return found

    @cached_property
    def by_method(self) -> dict[str, list[Record]]:
        """All runs of each method by its key, newest first."""
        found: dict[str, list[Record]] = {key: [] for key in self.results.methods}
        for record in self.results.records:
            found[record.run.method.key].append(record)
        return found

    @cached_property
    def published_columns(self) -> list[TaskResults]:
        """The tasks with published numbers."""
        return [column for column in self.results.tasks.values() if column.task.published]

    @cached_property
    def cards(self) -> dict[str, ModelCard]:
        """What is known of models."""
        return read_cards(self.catalog.folders)

    @cached_property
    def renderer(self) -> Renderer:
        """The templates with what all of them use."""
        methods = self.results.methods
        return Renderer(
            lambda root: Cells(root, self.links, methods),
            {
                "links": self.links,
                "results": self.results,
                "version": __version__,
                "method_of": lambda record: methods[record.run.method.key],
                "adapter_of": adapter_of,
                "size_of": lambda method: size_class(method.models, self.cards),
                "licence_of": lambda method: licence_of(method.models, self.cards),
                "standing": self.standing,
            },
        )

    def standing(self, record: Record) -> str:
        """What a run is among those of its task: current, or why it is not."""
        column = self.results.tasks[record.run.task.name]
        current = column.current.get(record.run.method.key)
        if record.status == "failed":
            return "FAILED"
        if record.run.limit:
            return f"first {record.run.limit:,} items"
        if record.run.seed:
            return f"seed {record.run.seed}"
        if current and current.id == record.id:
            return "current"
        return "superseded" if record.provenance.get("data") == column.version else "other data"

    def digests(self, records: Iterable[Record]) -> list[Json]:
        """What identifies some records and the names and places of their methods."""
        return [
            [record.id, self.results.digests[record.id], self.links.methods[record.run.method.key]]
            for record in records
        ]


def _write(site: Site, job: Job) -> dict[str, str]:
    writes, what = job
    made: dict[str, str] = {}
    for write in writes:
        made |= write(site, what)
    return made


def adapter_of(method: Method) -> type[Adapter] | None:
    """The installed adapter of a method; ``package.module:Class`` is never imported for a page."""
    return find_adapters().adapters.get(method.spec.adapter)


def write_new(path: str, content: bytes) -> None:
    """Write a file. As ``Path.write_bytes``, at half its cost: there may be a hundred thousand."""
    with open(path, "wb", buffering=0) as file:  # noqa: PTH123
        left = memoryview(content)
        while left:  # a full disk takes a part, and refuses the rest
            left = left[file.write(left) :]


def put(source: Path | str, target: Path | str) -> None:
    """A second name for a file, or a copy where file systems differ. Neither side is ever written again."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
