"""The pages of runs: what ran, what it scored and cost, and its files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from harness.columns import TaskResults, competitors, hardware_of, item_scores
from harness.leaderboard import whole
from harness.pages import terms
from harness.pages.links import folder_of
from harness.pages.site import put
from harness.record import RECORD_FILE, Record, read_bytes, record_of
from harness.spec import Json, Published

if TYPE_CHECKING:
    from harness.pages.site import Site

LOWEST = 10  # items shown
SMALL = 1 << 20  # bytes of a file that is read whole


@dataclass(frozen=True, eq=False)
class Shared:
    """What the runs of a task share: published numbers by method and measure, and their column."""

    column: TaskResults
    published: Mapping[str, Mapping[str, Published]]
    terms: dict[tuple[str, str], str] = field(default_factory=dict)  # told of several runs

    @cached_property
    def heads(self) -> list[str]:
        """The rows of items up to their scores."""
        return [terms.item_head(item) for item in self.column.items]

    @cached_property
    def lowest(self) -> tuple[list[list[int]], list[list[float]]]:
        """For each column the places of its lowest items, and their scores."""
        values = self.column.values
        places = np.argsort(values, axis=0, kind="stable")[:LOWEST]
        return places.T.tolist(), np.take_along_axis(values, places, 0).T.tolist()


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
    published: dict[str, dict[str, Published]] = {}
    for one in column.task.published:
        published.setdefault(one.method, {})[one.measure] = one
    shared = Shared(column, published)
    made: dict[str, str] = {}
    for header in site.by_task[task]:
        made |= _write(site, header, around.get(header.id, Around()), shared)
    return made


def _write(site: Site, header: Record, around: Around, shared: Shared) -> dict[str, str]:
    """The page of one run; a large site has a hundred thousand of them, so everything here is done once."""
    column = shared.column
    held = f"{site.store.folder(header)}/"
    text = read_bytes(Path(held + RECORD_FILE))
    sha256 = hashlib.sha256(text).hexdigest()
    same = sha256.startswith(site.results.digests[header.id])
    record = whole(header, text) if same else record_of(text, held)
    told_files = record.provenance.get("files")
    named = told_files if isinstance(told_files, dict) else {}
    hashes = {RECORD_FILE: (len(text), sha256)} | _hashes(held, named)
    others = [one for one in (around.above, around.below, around.newer) if one]
    numbers = shared.published.get(header.run.method.name, {})
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
        rows = lowest(site, shared, record)
        return {
            "record": record,
            "method": site.results.methods[header.run.method.key],
            "standing_of_it": standing,
            "around": around,
            "others": others,
            "published": numbers,
            "scores": terms.score_rows(record, numbers),
            "notes": terms.notes(record),
            "cost": terms.cost_terms(record, hardware_of(record)),
            "ran": terms.ran_terms(record, shared.terms),
            "files": _files(named, hashes, "../" + folder_of(path)),
            "lowest": Markup("\n".join(rows)),
            "lowest_count": len(rows),
        }

    return site.page("run.html", path, inputs, context)


def _hashes(folder: str, names: Iterable[str]) -> dict[str, tuple[int, str]]:
    """Size and SHA-256 of the plain files in *folder* of some names, as a record gives them."""
    found = {}
    for name in sorted(names):
        path = Path(folder + name)
        if name != path.name or path.is_symlink() or not path.is_file():
            continue
        with path.open("rb", buffering=0) as handle:
            size = os.fstat(handle.fileno()).st_size
            small = hashlib.sha256(handle.read()) if size < SMALL else hashlib.file_digest(handle, "sha256")
            found[name] = size, small.hexdigest()
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


def lowest(site: Site, shared: Shared, record: Record) -> list[str]:
    """A row for each of the items with the lowest score of the main measure, lowest first."""
    measure, column = record.run.task.main_measure, shared.column
    if record.status != "done" or measure not in record.scores:
        return []
    key = record.run.method.key
    if key in column.current and column.current[key].id == record.id and measure == column.task.main_measure:
        places, lows = shared.lowest
        scores = lows[column.places[key]]
        heads = [shared.heads[place] for place in places[column.places[key]]]
    else:
        table = item_scores(site.store, record, ["item", measure])
        values = table.column(measure).to_numpy()
        order = np.argsort(values, kind="stable")[:LOWEST]
        heads = [terms.item_head(table.column("item")[place].as_py()) for place in order.tolist()]
        scores = values[order].tolist()
    return terms.item_rows(heads, scores)


def _files(wanted: Mapping[str, Any], hashes: Mapping[str, tuple[int, str]], folder: str) -> Markup:
    """What the store holds of a run; files that the record names and the store lacks are listed."""
    rows = [
        terms.file_row(name, held, name == RECORD_FILE or wanted.get(name) == held[1], folder)
        for name, held in hashes.items()
    ]
    rows += [terms.missing_row(name, str(wanted[name])) for name in sorted(set(wanted) - set(hashes))]
    return Markup("\n".join(rows))
