"""The page of a method: what it does, its settings, its results beside published numbers, their history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from harness.adapter import Adapter, settings_doc
from harness.columns import Method, is_whole
from harness.model_cards import card_of
from harness.pages.site import adapter_of
from harness.pages.tasks import beside
from harness.record import Record
from harness.spec import Json, TaskSpec

if TYPE_CHECKING:
    from harness.pages.site import Site

NOTES = 12  # shown
ADAPTED = "adapted"  # what a method's own words or a run's notes say of one that departs from its paper


@dataclass(frozen=True)
class Setting:
    """A line of a method's settings."""

    name: str
    value: str
    default: str
    meaning: str


@dataclass(frozen=True)
class History:
    """A method's whole runs of one task, oldest first, and the picture of their main measure."""

    task: TaskSpec
    records: Sequence[Record]
    picture: Markup


def write(site: Site, keys: Sequence[str]) -> dict[str, str]:
    """The pages of some methods."""
    made: dict[str, str] = {}
    for key in keys:
        method = site.results.methods[key]
        records = site.by_method[key]
        found = adapter_of(method)
        columns = [site.results.tasks[record.run.task.name] for record in records]
        inputs: Json = [
            site.digests(records),
            [
                method.name,
                method.bound,
                method.family,
                str(found.about if found else ""),
                str(found.paper if found else ""),
            ],
            [[one.name, one.value, one.default, one.meaning] for one in settings_of(method, found)],
            [
                [str(column.task), site.standing(record)]
                for record, column in zip(records, columns, strict=True)
            ],
            [str(card_of(model, site.cards)) for model in method.models],
        ]
        made |= site.page("method.html", site.links.method(key), inputs, lambda m=method: _context(site, m))  # type: ignore[misc]
    return made


def _context(site: Site, method: Method) -> dict[str, Any]:
    records = site.by_method[method.key]
    names = list(dict.fromkeys(record.run.task.name for record in records))
    columns = [site.results.tasks[name] for name in sorted(names)]
    current = [column.current[method.key] for column in columns if method.key in column.current]
    notes = list(dict.fromkeys(note for record in current for note in record.notes))
    found = adapter_of(method)
    return {
        "method": method,
        "adapter": found,
        "adapted": is_adapted(found, current),
        "settings": settings_of(method, found),
        "models": [(name, card_of(name, site.cards)) for name in method.models],
        "notes": notes[:NOTES],
        "more_notes": max(0, len(notes) - NOTES),
        "current": current,
        "published": [
            (column.task, one)
            for column in site.published_columns
            for one in beside(site, column)
            if one.published.method == method.name
        ],
        "histories": histories(records),
        "records": records,
    }


def is_adapted(adapter: type[Adapter] | None, records: Sequence[Record]) -> bool:
    """Whether a method departs from its paper, by its own words or by the notes of its runs."""
    words = [adapter.about if adapter else "", *(note for record in records for note in record.notes)]
    return any(ADAPTED in text.lower() for text in words)


def histories(records: Sequence[Record]) -> list[History]:
    """For each task with several whole runs of a method their history; *records* come newest first."""
    by_task: dict[str, list[Record]] = {}
    for record in reversed(records):
        if is_whole(record) and record.main:
            by_task.setdefault(record.run.task.name, []).append(record)
    return [_history(number, held) for number, held in enumerate(by_task.values()) if len(held) > 1]


def _history(number: int, records: Sequence[Record]) -> History:
    from harness.drawing import Words, history

    task = records[-1].run.task
    points = [(record.finished, record.main) for record in records if record.main]
    said = "; ".join(f"{day[:10]}: {summary.value:.4f}" for day, summary in points)
    words = Words(
        f"history-{number}", f"{task.main_measure} on {task.title or task.name} over runs", f"{said}."
    )
    return History(task, records, history(points, words))


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
