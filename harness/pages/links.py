"""Where every page of the site is."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from harness.record import Record
from harness.store import slug


@dataclass(frozen=True)
class Links:
    """Paths of pages from the site's root. File names of tasks by name, methods by key, runs by id.

    The files that belong to a page are in the folder of its name.
    """

    tasks: Mapping[str, str]
    methods: Mapping[str, str]

    def suite(self, name: str) -> str:
        """The page of a suite."""
        return f"suites/{slug(name)}.html"

    def heat(self, name: str, part: int) -> str:
        """One of the pages with all cells of a large suite, counted from 1."""
        return f"{folder_of(self.suite(name))}/tasks-{part}.html"

    def task(self, name: str) -> str:
        """The page of a task."""
        return f"tasks/{self.tasks[name]}.html"

    def method(self, key: str) -> str:
        """The page of a method."""
        return f"methods/{self.methods[key]}.html"

    def run(self, record: Record) -> str:
        """The page of a run."""
        return f"runs/{slug(record.id)}.html"

    def files(self, record: Record) -> str:
        """What the paths of a run's files begin with: one folder a task, since a folder costs as much as ten
        files.
        """
        return f"runs/{self.tasks[record.run.task.name]}/{slug(record.id)}."

    def compare(self, a: Record, b: Record) -> str:
        """The page that compares two runs of a task; it reads which from its fragment."""
        return f"compare.html#task={self.tasks[a.run.task.name]}&a={slug(a.id)}&b={slug(b.id)}"


def folder_of(page: str) -> str:
    """The folder with the files of a page."""
    return page.removesuffix(".html")


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
