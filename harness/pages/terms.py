"""The lists and rows of a run's page as HTML: a large site has a hundred thousand of them.

What a record holds is escaped; numbers are formatted here and need no escaping.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import quote

from markupsafe import Markup, escape

from harness import format
from harness.pages.cells import safe
from harness.record import Record
from harness.spec import Json, Kind, Published, TaskSpec

OWN = ("command", "files", "finished")  # provenance that has a place of its own on the page


def terms(told_here: Mapping[str, str]) -> str:
    """Terms with what is told of them, both HTML."""
    return "\n".join([f"<dt>{name}</dt><dd>{text}</dd>" for name, text in told_here.items()])


def score_rows(record: Record, published: Mapping[str, Published]) -> Markup:
    """A row a measure; published: others' numbers by measure, {} leaves their columns out."""
    rows = []
    for measure, summary in record.scores.items():
        first = ' class="first"' if measure == record.run.task.main_measure else ""
        rows.append(
            f'<tr{first}><th scope="row">{safe(measure)}</th><td class="num strong">{summary.value:.4f}</td>'
            f'<td class="num">{format.interval_text(summary)}</td><td class="num">{summary.n:,}</td>'
            + (_beside(published.get(measure)) if published else "")
            + "</tr>"
        )
    return Markup("\n".join(rows))


def _beside(one: Published | None) -> str:
    value, source = (f"{one.value:.4f}", safe(one.source)) if one else ("–", "")
    return f'\n<td class="num">{value}</td><td class="text">{source}</td>\n'


def notes(record: Record) -> Markup:
    """What was counted and noted while a run was made, as items of a list."""
    lines = [f"{safe(name.replace('_', ' '))}: {number:,}" for name, number in record.counts.items()]
    lines += [safe(note) for note in record.notes]
    return Markup("\n".join([f"<li>{line}</li>" for line in lines]))


def cost_terms(record: Record, hardware: str) -> Markup:
    """What a run cost, and on what."""
    cost, latency, duration = record.cost, record.latency, format.duration
    spent = ", ".join([f"{safe(phase)} {duration(seconds)}" for phase, seconds in cost.phases.items()])
    device = (
        "" if cost.peak_device_bytes is None else f"; on the device {format.size(cost.peak_device_bytes)}"
    )
    found = {
        "Time from nothing": duration(cost.cold_seconds),
        "Spent by this run": duration(cost.seconds) + (f", of it {spent}" if spent else ""),
        "Found ready": f"what had taken {duration(cost.reused_seconds)}"
        if cost.reused_seconds
        else "nothing",
        "Items a second": format.rate(cost.items_per_second) if cost.items_per_second else "not measured",
    }
    if latency:
        without = f", without {safe(', '.join(latency.excludes))}" if latency.excludes else ""
        p50, p95, p99 = map(format.latency, (latency.p50, latency.p95, latency.p99))
        found["Latency"] = f"{p50} median of {latency.count:,} single queries; p95 {p95}, p99 {p99}{without}"
    found["Peak memory"] = format.size(cost.peak_memory_bytes) + device
    if cost.joules:
        found["Energy"] = ", ".join([f"{safe(part)} {joules:,.1f} J" for part, joules in cost.joules.items()])
    found["Index"] = format.size(cost.index_bytes) if cost.index_bytes else "none"
    if cost.segments > 1:
        found["Stretches of work"] = f"{cost.segments}: it was interrupted and went on"
    return Markup(terms(found | {"Hardware": safe(hardware)}))


def ran_terms(record: Record, known: dict[tuple[str, str], str]) -> Markup:
    """What ran: the method and the task as specified, and what the record tells of how it came about.

    known: terms of other runs by name and value, which grow: machines and versions are those of many runs.
    """
    run = record.run
    found = {
        "Method": f"<code>{safe(run.method.expression)}</code>",
        "Task": f"<code>{safe(run.task.name)}</code>: {safe(_asked(run.task))}",
        "Seed": str(run.seed),
        "Items": f"the first {run.limit:,}" if run.limit else "all",
    }
    more = [
        _known(name, value, known) if isinstance(value, dict | list) else _term(name, value)
        for name, value in record.provenance.items()
        if name not in OWN
    ]
    return Markup("\n".join([terms(found), *more]))


def _asked(task: TaskSpec) -> str:
    words = [f"{task.kind.value}, data {task.dataset}"]
    words += [f"depth {task.depth:,}"] if task.kind is Kind.RANK else []
    words += [f"{task.shots} shots"] if task.kind is Kind.CHOOSE else []
    words += [f"group {task.group}"] if task.group else []
    return ", ".join(words)


def _known(name: str, value: Json, known: dict[tuple[str, str], str]) -> str:
    key = name, repr(value)
    if key not in known:
        known[key] = _term(name, value)
    return known[key]


def _term(name: str, value: Json) -> str:
    return f"<dt>{safe(name.replace('_', ' ').capitalize())}</dt><dd>{escape(told(name, value))}</dd>"


def told(name: str, value: Json) -> str:
    """A piece of provenance in words: sizes as sizes, what is inside after its name."""
    if isinstance(value, dict):
        return ", ".join(f"{key.removesuffix('_bytes')} {told(key, inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(told(name, inner) for inner in value)
    if name.endswith("_bytes") and isinstance(value, int | float):
        return format.size(value)
    return str(value)


def file_row(name: str, held: tuple[int, str], sound: bool, prefix: str) -> str:
    """The row of a stored file. held: its bytes and SHA-256; prefix: what its path begins with."""
    size, sha256 = held
    differs = "" if sound else " <strong>differs from the record</strong>"
    return (
        f'<tr><th scope="row"><a href="{prefix}{safe(quote(name))}" download>{safe(name)}</a></th>'
        f'<td class="num">{format.size(size)}</td><td><code class="hash">{sha256}</code>{differs}</td></tr>'
    )


def missing_row(name: str, sha256: str) -> str:
    """The row of a file that the record names and the store lacks."""
    return (
        f'<tr><th scope="row">{safe(name)}</th><td class="num none">–</td><td><code class="hash">'
        f"{escape(sha256)}</code> <strong>missing from the store</strong></td></tr>"
    )


def item_head(item: str) -> str:
    """The row of an item up to its score."""
    return f'<tr><th scope="row">{escape(item)}</th><td class="num">'


def item_rows(heads: Iterable[str], scores: Iterable[float]) -> list[str]:
    """The rows of some items."""
    return [f"{head}{score:.4f}</td></tr>" for head, score in zip(heads, scores, strict=True)]
