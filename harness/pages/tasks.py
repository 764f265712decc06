"""The page of a task: its data, its results, how they spread, and the files that hold them item by item."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from harness.columns import Before, TaskResults, competitors, hardest, pool, write_items
from harness.pages.links import folder_of
from harness.record import Record
from harness.spec import Json, Kind, Published
from harness.standings import pairs_of_best
from harness.store import ITEMS_FILE, slug

if TYPE_CHECKING:
    from harness.pages.site import Site

HARDEST, PAIRED, SPREAD = 15, 12, 8
STEPS = ("0", "to 0.25", "to 0.5", "to 0.75", "to 1")  # how scores of items are told apart in the picture
EDGES = (1e-9, 0.25 + 1e-9, 0.5 + 1e-9, 0.75 + 1e-9)


@dataclass(frozen=True)
class Beside:
    """A published number and our record of the same method, None when it was not measured."""

    published: Published
    record: Record | None


def write(site: Site, name: str) -> dict[str, str]:
    """The page of one task."""
    column = site.results.tasks[name]
    dataset = site.catalog.datasets.get(column.task.dataset)
    records = records_of(site, name)
    inputs: Json = [
        site.digests(records),
        [str(column.task), str(dataset), [[suite.name, suite.title] for suite in suites_of(site, name)]],
        [str(one) for one in site.reported.get(name, ())],
        [[site.results.methods[record.run.method.key].name, site.standing(record)] for record in records],
    ]
    return site.page("task.html", site.links.task(name), inputs, lambda: _context(site, column))


def records_of(site: Site, name: str) -> Sequence[Record]:
    """All runs of a task, newest first."""
    return site.by_task[name]


def suites_of(site: Site, name: str) -> list[Any]:
    """The suites that hold a task."""
    return [b.suite for b in site.results.boards if name in {task.name for task in b.suite.tasks}]


def _context(site: Site, column: TaskResults) -> dict[str, Any]:
    methods = site.results.methods
    keys = competitors(column, methods)
    bounds = sorted(set(column.current) - set(keys), key=lambda key: methods[key].name)
    scores = pool([column], keys) if keys else None
    ranked = [column.current[key] for key in keys]
    bound_records = [column.current[key] for key in bounds]
    costs = [record.cost for record in (*ranked, *bound_records)]
    write_files(site, column)
    return {
        "column": column,
        "dataset": site.catalog.datasets.get(column.task.dataset),
        "ranked": ranked,
        "bounds": bound_records,
        "failed": list(column.failed.values()),
        "reported": site.reported.get(column.task.name, ()),
        "published": beside(site, column),
        "pairs": pairs_of_best(scores, keys, PAIRED) if scores else [],
        "paired": min(PAIRED, len(keys)),
        "hardest": hardest(column, keys, HARDEST) if keys else [],
        "unsolved": int((scores.values.max(axis=1) == 0).sum()) if scores else 0,
        "spread": spread(column, keys[:SPREAD], [methods[key].name for key in keys[:SPREAD]]),
        "steps": STEPS,
        "records": records_of(site, column.task.name),
        "suites": suites_of(site, column.task.name),
        "shown": {
            "device": any(c.peak_device_bytes is not None for c in costs),
            "energy": any(c.joules for c in costs),
        },
        "timed": any(record.latency for record in ranked),
        "folder": folder_of(site.links.task(column.task.name)),
    }


def beside(site: Site, column: TaskResults) -> list[Beside]:
    """The published numbers of a task, each with our current record of that method and measure."""
    ours = {site.results.methods[key].name: record for key, record in column.current.items()}
    found = []
    for published in column.task.published:
        record = ours.get(published.method)
        found.append(Beside(published, record if record and published.measure in record.scores else None))
    return found


@dataclass(frozen=True)
class Spread:
    """How the items of some methods spread over STEPS: shares by name, and their picture."""

    shares: dict[str, list[float]]
    picture: Markup


def spread(column: TaskResults, keys: Sequence[str], names: Sequence[str]) -> Spread | None:
    """The spread of the best methods' items; None when scores leave 0 to 1 or there is nothing to show."""
    values = column.values[:, [column.places[key] for key in keys]] if keys else np.empty((0, 0))
    if not values.size or values.min() < 0.0 or values.max() > 1.0:
        return None
    from harness.drawing import Words, shares

    found = {}
    for place, name in enumerate(names):
        counts = np.bincount(np.searchsorted(EDGES, values[:, place], "right"), minlength=len(STEPS))
        found[name] = (counts / len(values)).tolist()
    said = "; ".join(
        f"{name}: " + ", ".join(f"{share:.0%}" for share in parts) for name, parts in found.items()
    )
    words = Words(
        "spread", f"Items by {column.task.main_measure}", f"Share of items at {', '.join(STEPS)}. {said}."
    )
    return Spread(found, shares(found, STEPS, words))


def write_files(site: Site, column: TaskResults) -> None:
    """Per-item scores of the current results: a Parquet file, and scripts that the comparing page loads."""
    if not column.current:
        return
    folder = site.folder / folder_of(site.links.task(column.task.name))
    folder.mkdir()
    names = [site.results.methods[key].name for key in column.current]
    write_items(folder / ITEMS_FILE, column, names, Before(folder, site.results.digests))
    chunks: dict[str, dict[str, list[float]]] = {}
    for place, record in enumerate(column.current.values()):
        values = column.values[:, place].round(4).tolist()
        chunks.setdefault(chunk_of(record), {})[slug(record.id)] = values
    for name, chunk in chunks.items():
        _script(folder / f"{name}.js", "scores", chunk)
    runs = {
        slug(record.id): [name, chunk_of(record)]
        for name, record in zip(names, column.current.values(), strict=True)
    }
    told: Json = {
        "title": column.task.title or column.task.name,
        "measure": column.task.main_measure,
        "right": column.task.kind is Kind.CHOOSE,
        "items": list(column.items),
        "groups": column.groups.tolist() if column.groups.any() else [],
        "runs": runs,  # type: ignore[dict-item]
    }
    _script(folder / "runs.js", "task", told)


def chunk_of(record: Record) -> str:
    """The script that holds a run's scores: one of 16, by the first digit of its id."""
    return slug(record.id)[:1].lower()


def _script(path: Any, name: str, value: Any) -> None:
    """A script that hands *value* over: pages opened from disk may load scripts, and nothing else."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    path.write_text(f"touchstone.{name}({text});\n".replace("</", "<\\/"), encoding="ascii")
