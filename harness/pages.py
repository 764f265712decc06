"""The leaderboard site: static pages rendered from stored results. The same results give the same bytes."""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from harness import __version__, format
from harness.adapter import Adapter, settings_doc
from harness.catalog import Catalog, shipped
from harness.leaderboard import (
    Board,
    Method,
    Results,
    Row,
    TaskResults,
    competitors,
    hardest,
    method_key,
    pool,
)
from harness.plots import Axis, Scatter, Spot, scatter, score_axis
from harness.ranking import compare_all
from harness.record import RECORD_FILE, Record
from harness.registry import find_adapters
from harness.spec import Published
from harness.store import Store, slug

HARDEST, PREVIEW, NEWEST = 15, 50, 12
WHISKER = 120.0  # width of the interval pictures in tables


@dataclass(frozen=True)
class File:
    """A stored file offered for download. sound: it is what the record says; missing files have no bytes."""

    name: str
    bytes: int
    sha256: str
    sound: bool


@dataclass(frozen=True)
class Beside:
    """A published number and our record of the same method, None when it was not measured."""

    published: Published
    record: Record | None


@dataclass(frozen=True)
class Setting:
    """A line of a method's settings."""

    name: str
    value: str
    default: str
    meaning: str


@dataclass(frozen=True, eq=False)
class Site:
    """One build: *results* rendered into *folder*."""

    results: Results
    store: Store
    catalog: Catalog
    folder: Path

    def write(self) -> int:
        """Write every page and file. Returns the number of pages."""
        shutil.copytree(shipped("site") / "static", self.folder / "static")
        self._render("index.html", "index.html", self._index())
        for board in self.results.boards:
            self._render("suite.html", self.links.suite(board.suite.name), self._suite(board))
        for column in self.results.tasks.values():
            self._render("task.html", self.links.task(column.task.name), self._task(column))
        for method in self.results.methods.values():
            self._render("method.html", self.links.method(method.key), self._method(method))
        for record in self.results.records:
            self._render("run.html", self.links.run(record), self._run(record))
        return sum(1 for _ in self.folder.glob("**/*.html"))

    @cached_property
    def links(self) -> Links:
        """Where every page is."""
        names = {key: method.name for key, method in self.results.methods.items()}
        tasks = {name: name for name in self.results.tasks}
        return Links(file_names(tasks), file_names(names))

    @cached_property
    def env(self) -> jinja2.Environment:
        """Everything is escaped; an unknown name in a template is an error."""
        env = jinja2.Environment(
            loader=jinja2.FileSystemLoader(shipped("site") / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        for function in (format.duration, format.size, format.rate, format.signed, format.probability):
            env.filters[function.__name__] = function
        env.filters |= {"interval": format.interval_text, "soft": soft, "shell": shlex.quote}
        env.tests["web"] = lambda text: str(text).startswith(("https://", "http://"))
        env.globals |= {
            "links": self.links,
            "results": self.results,
            "version": __version__,
            "method_of": lambda record: self.results.methods[method_key(record)],
            "adapter_of": adapter_of,
            "standing": self._standing,
            "whisker": WHISKER,
        }
        return env

    def _render(self, template: str, path: str, context: Mapping[str, Any]) -> None:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        text = self.env.get_template(template).render(context, root="../" * path.count("/"))
        target.write_text(text.rstrip() + "\n", encoding="utf-8", newline="\n")

    def _index(self) -> dict[str, Any]:
        tasks = self.results.tasks.values()
        return {
            "boards": sorted(self.results.boards, key=lambda board: not board.ranked),
            "columns": [(column, competitors(column, self.results.methods)) for column in tasks],
            "axes": {board.suite.name: whisker_axis(board.ranked) for board in self.results.boards},
            "newest": self.results.records[:NEWEST],
            "counts": Counter(method_key(r) for c in tasks for r in c.current.values()),
        }

    def _suite(self, board: Board) -> dict[str, Any]:
        rows = (*board.ranked, *board.bounds, *board.incomplete)
        return {
            "board": board,
            "axis": whisker_axis(board.ranked),
            "picture": picture(board),
            "records": [cell for row in rows for cell in row.cells if cell],
            "tier_one": [row for row in board.ranked[1:] if row.tier == 1],
        }

    def _task(self, column: TaskResults) -> dict[str, Any]:
        keys = competitors(column, self.results.methods)
        bounds = sorted(set(column.current) - set(keys), key=lambda key: self.results.methods[key].name)
        scores = pool([column], keys) if keys else None
        return {
            "column": column,
            "dataset": self.catalog.datasets.get(column.task.dataset),
            "ranked": [column.current[key] for key in keys],
            "bounds": [column.current[key] for key in bounds],
            "failed": list(column.failed.values()),
            "published": self._beside(column),
            "pairs": compare_all(scores, keys) if scores else [],
            "hardest": hardest(column, keys, HARDEST) if keys else [],
            "unsolved": int((scores.values.max(axis=1) == 0).sum()) if scores else 0,
            "records": [r for r in self.results.records if r.run.task.name == column.task.name],
            "suites": [
                b.suite
                for b in self.results.boards
                if column.task.name in {task.name for task in b.suite.tasks}
            ],
        }

    def _method(self, method: Method) -> dict[str, Any]:
        mine = [column for column in self.results.tasks.values() if method.key in column.current]
        adapter = adapter_of(method)
        return {
            "method": method,
            "adapter": adapter,
            "settings": settings_of(method, adapter),
            "current": [column.current[method.key] for column in mine],
            "published": [
                (column.task, beside)
                for column in self.results.tasks.values()
                for beside in self._beside(column)
                if beside.published.method == method.name
            ],
            "records": [r for r in self.results.records if method_key(r) == method.key],
        }

    def _run(self, record: Record) -> dict[str, Any]:
        column = self.results.tasks[record.run.task.name]
        current = column.current.get(method_key(record))
        names = list(record.scores)
        items = self.store.items(record) if record.status == "done" else None
        return {
            "record": record,
            "newer": current if current and current.id != record.id else None,
            "published": {p.measure: p for p in column.task.published if p.method == record.run.method.name},
            "files": self._files(record),
            "measures": names,
            "items": [] if items is None else items[["item", *names]].head(PREVIEW).values.tolist(),
            "count": 0 if items is None else len(items),
        }

    def _files(self, record: Record) -> list[File]:
        """Copy what the store holds of a run; files that the record names and the store lacks are listed."""
        held = self.store.folder(record)
        told = record.provenance.get("files")
        wanted = told if isinstance(told, dict) else {}
        target = self.folder / self.links.run(record).removesuffix(".html")
        target.mkdir(parents=True)
        files = []
        for path in sorted(held.iterdir()):
            if path.is_symlink() or not path.is_file():
                continue
            shutil.copyfile(path, target / path.name)
            with path.open("rb") as handle:
                found = hashlib.file_digest(handle, "sha256").hexdigest()
            sound = path.name == RECORD_FILE or wanted.get(path.name) == found
            files.append(File(path.name, path.stat().st_size, found, sound))
        missing = sorted(set(wanted) - {file.name for file in files})
        return files + [File(name, 0, str(wanted[name]), False) for name in missing]

    def _beside(self, column: TaskResults) -> list[Beside]:
        """The published numbers of a task, each with our current record of that method and measure."""
        ours = {self.results.methods[key].name: record for key, record in column.current.items()}
        found = []
        for published in column.task.published:
            record = ours.get(published.method)
            found.append(Beside(published, record if record and published.measure in record.scores else None))
        return found

    def _standing(self, record: Record) -> str:
        """What a run is among those of its task: current, or why it is not."""
        column = self.results.tasks[record.run.task.name]
        current = column.current.get(method_key(record))
        if record.status == "failed":
            return "FAILED"
        if record.run.limit:
            return f"first {record.run.limit:,} items"
        if record.run.seed:
            return f"seed {record.run.seed}"
        if current and current.id == record.id:
            return "current"
        version = next((r.provenance.get("data") for r in column.current.values()), None)
        return "superseded" if record.provenance.get("data") == version else "other data"


@dataclass(frozen=True)
class Links:
    """Paths of pages from the site's root. File names of tasks by name, methods by key, runs by id."""

    tasks: Mapping[str, str]
    methods: Mapping[str, str]

    def suite(self, name: str) -> str:
        """The page of a suite."""
        return f"suites/{slug(name)}.html"

    def task(self, name: str) -> str:
        """The page of a task."""
        return f"tasks/{self.tasks[name]}.html"

    def method(self, key: str) -> str:
        """The page of a method."""
        return f"methods/{self.methods[key]}.html"

    def run(self, record: Record) -> str:
        """The page of a run; its files are in the folder of the same name."""
        return f"runs/{slug(record.id)}.html"


def file_names(names: Mapping[str, str]) -> dict[str, str]:
    """A file name for each key of *names*; those that would share one get a digest of their key added."""
    slugs = {key: slug(name) for key, name in names.items()}
    shared = Counter(text.casefold() for text in slugs.values())
    return {
        key: text
        if shared[text.casefold()] == 1
        else f"{text}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"
        for key, text in slugs.items()
    }


def soft(name: str) -> Markup:
    """A long name that may break after its brackets, commas and the like; escaped."""
    return Markup("<wbr>").join(re.split(r"(?<=[(,+/:=])", name))


def adapter_of(method: Method) -> type[Adapter] | None:
    """The installed adapter of a method; ``package.module:Class`` is never imported for a page."""
    return find_adapters().adapters.get(method.spec.adapter)


def settings_of(method: Method, adapter: type[Adapter] | None) -> list[Setting]:
    """Every setting of a method beside its default; without the adapter, what the spec holds."""
    chosen = method.spec.settings
    if adapter is None:
        return [Setting(name, shown(value), "", "") for name, value in sorted(chosen.items())]
    return [
        Setting(name, shown(chosen.get(name, default)), shown(default), meaning)
        for name, default, meaning in settings_doc(adapter)
    ]


def shown(value: object) -> str:
    """A setting as typed after --method."""
    if isinstance(value, list | tuple):
        return "+".join(map(shown, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def whisker_axis(rows: Sequence[Row]) -> Axis | None:
    """One axis for the intervals of all rows of a table, None without any."""
    summaries = [row.score for row in rows if row.score]
    return score_axis(summaries, 3.0, WHISKER - 3.0) if summaries else None


def picture(board: Board) -> Scatter | None:
    """Quality against cost of the ranked methods, None when there is nothing to draw."""
    spots = [
        Spot(row.method.key, row.method.name, row.cost.cold_seconds, row.score)
        for row in board.ranked
        if row.score and row.cost
    ]
    return scatter(spots) if spots else None
