"""The pages of runs: what ran, what it scored and cost, and its files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.columns import TaskResults, competitors, hardware_of, item_scores
from harness.pages.links import folder_of
from harness.pages.render import told
from harness.pages.site import put
from harness.record import RECORD_FILE, Record, read_bytes, record_of
from harness.spec import Json

if TYPE_CHECKING:
    from harness.pages.site import Site

LOWEST = 10  # items shown
OWN = ("command", "files", "finished")  # provenance that has a place of its own on the page


@dataclass(frozen=True)
class File:
    """A stored file offered for download. sound: it is what the record says; missing files have no bytes."""

    name: str
    bytes: int
    sha256: str
    sound: bool


@dataclass(frozen=True)
class Around:
    """The runs to compare one with: the current results above and below it, or the one that is current."""

    above: Record | None = None
    below: Record | None = None
    newer: Record | None = None  # only for one that is not current


def write(site: Site, task: str) -> dict[str, str]:
    """The pages of all runs of one task."""
    column = site.results.tasks[task]
    around = neighbours(site, column)
    published: dict[str, dict[str, Any]] = {}
    for one in column.task.published:
        published.setdefault(one.method, {})[one.measure] = one
    made: dict[str, str] = {}
    for header in site.by_task[task]:
        made |= _write(site, header, around.get(header.id, Around()), published)
    return made


def _write(site: Site, header: Record, around: Around, published: Mapping[str, Any]) -> dict[str, str]:
    """The page of one run; a large site has a hundred thousand of them, so everything here is done once."""
    column = site.results.tasks[header.run.task.name]
    held = f"{site.store.folder(header)}/"
    text = read_bytes(Path(held + RECORD_FILE))
    record = record_of(text, held)
    told_files = record.provenance.get("files")
    named = told_files if isinstance(told_files, dict) else {}
    hashes = {RECORD_FILE: (len(text), hashlib.sha256(text).hexdigest())} | _hashes(held, named)
    others = [one for one in (around.above, around.below, around.newer) if one]
    numbers = published.get(header.run.method.name, {})
    name, standing = site.results.methods[header.run.method.key].name, site.standing(header)
    inputs: Json = [
        site.digests([header]),
        [[file, size, found] for file, (size, found) in hashes.items()],
        [[one.id, site.results.methods[one.run.method.key].name] for one in others],
        [name, standing, column.task.title, site.links.tasks[column.task.name]],
        [str(one) for one in numbers.values()],
    ]
    path = site.links.run(header)

    def context() -> dict[str, Any]:
        target = f"{site.folder}/{folder_of(path)}/"
        Path(target).mkdir()
        for file in hashes:
            put(held + file, target + file)
        return {
            "record": record,
            "method": site.results.methods[header.run.method.key],
            "standing_of_it": standing,
            "folder": folder_of(path),
            "around": around,
            "others": others,
            "published": numbers,
            "files": _files(named, hashes),
            "lowest": lowest(site, column, record),
            "hardware": hardware_of(record),
            "provenance": [
                (file.replace("_", " ").capitalize(), told(file, value))
                for file, value in record.provenance.items()
                if file not in OWN
            ],
        }

    return site.page("run.html", path, inputs, context)


def _hashes(folder: str, names: Iterable[str]) -> dict[str, tuple[int, str]]:
    """Size and SHA-256 of the plain files in *folder* of some names, as a record gives them."""
    found = {}
    for name in sorted(names):
        path = Path(folder + name)
        if name != path.name or path.is_symlink() or not path.is_file():
            continue
        with path.open("rb") as handle:
            found[name] = path.stat().st_size, hashlib.file_digest(handle, "sha256").hexdigest()
    return found


def neighbours(site: Site, column: TaskResults) -> dict[str, Around]:
    """For each current result of a task the ones that rank above and below it, by run id."""
    order = [column.current[key] for key in competitors(column, site.results.methods)]
    triples = zip([None, *order], order, [*order[1:], None], strict=False)
    around = {record.id: Around(above, below) for above, record, below in triples}
    for record in site.by_task[column.task.name]:
        newer = column.current.get(record.run.method.key)
        if newer and newer.id != record.id:
            around[record.id] = Around(newer=newer)
    return around


def lowest(site: Site, column: TaskResults, record: Record) -> list[tuple[str, float]]:
    """The items with the lowest score of the main measure: (item, score), lowest first."""
    measure = record.run.task.main_measure
    if record.status != "done" or measure not in record.scores:
        return []
    key = record.run.method.key
    if key in column.current and column.current[key].id == record.id and measure == column.task.main_measure:
        items: Sequence[str] = column.items
        values = column.values[:, column.places[key]]
    else:
        table = item_scores(site.store, record, ["item", measure])
        items, values = table.column("item").to_pylist(), table.column(measure).to_numpy()
    order = np.argsort(values, kind="stable")[:LOWEST]
    return [(items[place], float(values[place])) for place in order]


def _files(wanted: Mapping[str, Any], hashes: Mapping[str, tuple[int, str]]) -> list[File]:
    """What the store holds of a run; files that the record names and the store lacks are listed."""
    files = [
        File(name, size, text, name == RECORD_FILE or wanted.get(name) == text)
        for name, (size, text) in hashes.items()
    ]
    missing = sorted(set(wanted) - set(hashes))
    return files + [File(name, 0, str(wanted[name]), False) for name in missing]
