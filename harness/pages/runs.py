"""The pages of runs: what ran, what it scored and cost, and its files."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from harness.columns import TaskResults, competitors, hardware_of, item_scores
from harness.pages import terms
from harness.pages.cells import Cells, soft
from harness.pages.site import put
from harness.record import RECORD_FILE, Record
from harness.spec import Json, Published

if TYPE_CHECKING:
    from harness.pages.site import Site

LOWEST = 10  # items shown
SMALL = 1 << 20  # bytes of a file that is read whole


@dataclass(frozen=True, eq=False)
class Shared:
    """What the runs of a task share: published numbers by method and measure, their column, and its links."""

    column: TaskResults
    published: Mapping[str, Mapping[str, Published]]
    cells: Cells
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
    shared = Shared(column, published, site.renderer.cells("../"))
    made: dict[str, str] = {}
    (site.folder / "runs" / site.links.tasks[task]).mkdir()
    for record in site.by_task[task]:
        made |= _write(site, record, around.get(record.id, Around()), shared)
    return made


def _write(site: Site, record: Record, around: Around, shared: Shared) -> dict[str, str]:
    """The page of one run; a large site has a hundred thousand of them, so everything here is done once."""
    column = shared.column
    held = f"{site.store.folder_text(record)}/"
    told_files = record.provenance.get("files")
    named = told_files if isinstance(told_files, dict) else {}
    own = site.results.sizes[record.id], site.results.digests[record.id]
    hashes = {RECORD_FILE: own} | _hashes(held, named)
    others = [one for one in (around.above, around.below, around.newer) if one]
    numbers = shared.published.get(record.run.method.name, {})
    name, standing = site.results.methods[record.run.method.key].name, site.standing(record)
    inputs: Json = [
        site.digests([record]),
        [[file, size, found] for file, (size, found) in hashes.items()],
        [[one.id, site.results.methods[one.run.method.key].name] for one in others],
        [name, standing, column.task.title, site.links.tasks[column.task.name]],
        [str(one) for one in numbers.values()],
    ]
    path, target = site.links.run(record), site.links.files(record)
    for file in hashes:
        put(held + file, f"{site.folder}/{target}{file}")

    def text() -> bytes:
        rows = lowest(site, shared, record)
        values: dict[str, str] = {
            **_told(site, record, shared, around),
            "name": name,
            "standing": standing,
            "scores": terms.score_rows(record, numbers),
            "notes": terms.notes(record),
            "compared": shared.cells.compared(record, others),
            "cost": terms.cost_terms(record, hardware_of(record)),
            "ran": terms.ran_terms(record, shared.terms),
            "files": _files(named, hashes, "../" + target),
            "lowest": Markup("\n".join(rows)),
            "lowest_count": str(len(rows)),
        }
        flags = {
            "failed": record.status == "failed",
            "measured": record.origin == "measured",
            "superseded": bool(around.newer),
            "traced": bool(record.failure and record.failure.details),
            "scored": bool(record.scores),
            "beside": bool(numbers),
            "noted": bool(values["notes"]),
            "comparable": bool(others) and not around.newer,
            "itemised": bool(rows),
        }
        return site.renderer.skeleton("run.html", path, flags, values).filled(values)

    return site.made(path, inputs, text)


def _told(site: Site, record: Record, shared: Shared, around: Around) -> dict[str, str]:
    """What a page says of the run itself; Markup is HTML."""
    run, finished = record.run, record.finished
    newer = around.newer
    return {
        "id": record.id,
        "soft_name": soft(site.results.methods[run.method.key].name),
        "task": shared.column.task.title or run.task.name,
        "task_link": shared.cells.task_link(run.task),
        "method_link": shared.cells.method_of(record),
        "finished": f"{finished[:10]} {finished[11:16]}",
        "origin": record.origin,
        "newer": shared.cells.run_link(newer, newer.id) if newer else "",
        "command": run.command,
        "failure": record.failure.what if record.failure else "",
        "measure": run.task.main_measure,
        "items": f"{record.main.n:,}" if record.main else "",
    }


def _hashes(folder: str, names: Iterable[str]) -> dict[str, tuple[int, str]]:
    """Size and SHA-256 of the plain files in *folder* of some names, as a record gives them."""
    found = {}
    for name in sorted(names):
        path = Path(folder + name)
        if name != path.name or not _is_plain(path):
            continue
        with path.open("rb", buffering=0) as handle:
            size = os.fstat(handle.fileno()).st_size
            small = hashlib.sha256(handle.read()) if size < SMALL else hashlib.file_digest(handle, "sha256")
            found[name] = size, small.hexdigest()
    return found


def _is_plain(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


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


def _files(wanted: Mapping[str, Any], hashes: Mapping[str, tuple[int, str]], prefix: str) -> Markup:
    """What the store holds of a run; files that the record names and the store lacks are listed."""
    rows = [
        terms.file_row(name, held, name == RECORD_FILE or wanted.get(name) == held[1], prefix)
        for name, held in hashes.items()
    ]
    rows += [terms.missing_row(name, str(wanted[name])) for name in sorted(set(wanted) - set(hashes))]
    return Markup("\n".join(rows))
