"""Links and cells that large pages hold by the thousand: as functions, since a macro costs ten times as much.

What a record holds goes through ``safe``; numbers are formatted here and need no escaping.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from markupsafe import Markup, escape

from harness import format
from harness.columns import Method
from harness.pages.links import Links
from harness.record import Cost, Latency, Record
from harness.spec import TaskSpec

UNKNOWN = '<td class="num" data-value="">–</td>'
EMPTY = '<td class="num none" data-value="">–</td>'
NOT_RUN = Markup('<td class="num none" data-value="">not run</td>')
FORMATS = {3: "%.3f", 4: "%.4f"}


@lru_cache(maxsize=1 << 16)
def safe(text: str) -> str:
    """A text with what means something in HTML escaped; names and commands come again on many pages."""
    return str(escape(text))


@lru_cache(maxsize=1 << 16)
def soft(name: str) -> Markup:
    """A long name that may break after its brackets, commas and the like; escaped."""
    return Markup("<wbr>").join(re.split(r"(?<=[(,+/:=])", name)) if len(name) > 12 else escape(name)


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells of pages from which *root* leads to the site's top."""

    root: str
    links: Links
    methods: Mapping[str, Method]
    made: dict[str, Markup] = field(default_factory=dict)  # links to methods, by key

    def method_link(self, method: Method) -> Markup:
        """A method's name, linked to its page."""
        held = self.made.get(method.key)
        if held is None:
            href = self.root + self.links.method(method.key)  # of slugs, as all paths of pages
            held = self.made[method.key] = Markup(f'<a href="{href}">{soft(method.name)}</a>')
        return held

    def method_of(self, record: Record) -> Markup:
        """The link to the method of a run."""
        return self.method_link(self.methods[record.run.method.key])

    def task_link(self, task: TaskSpec) -> Markup:
        """A task's title, linked to its page."""
        href = self.root + self.links.task(task.name)
        return Markup(f'<a href="{href}">{safe(task.title or task.name)}</a>')

    def run_link(self, record: Record, text: str) -> Markup:
        """A text linked to the page of a run."""
        return Markup(f"<a {self._to(record)}>{safe(text)}</a>")

    def compared(self, record: Record, others: Sequence[Record]) -> Markup:
        """Links to the comparisons of a run with others, by the names of their methods."""
        links = [
            f'<a href="{self.root}{safe(self.links.compare(record, other))}">'
            f"{safe(self.methods[other.run.method.key].name)}</a>"
            for other in others
        ]
        return Markup(",\n".join(links))

    def _to(self, record: Record, more: str = "") -> str:
        """The attributes of a link to a run: its page, and its command as what is shown on it."""
        href = self.root + self.links.run(record)
        return f'href="{href}" title="{safe(record.run.command)}{more}"'

    def score(self, record: Record | None, measure: str, digits: int = 4) -> Markup:
        """A score of a run, linked to the run, with its interval below; digits: 3 or 4."""
        if record is None:
            return NOT_RUN
        if record.status == "failed":
            return Markup(
                f'<td class="num" data-value=""><a class="failed" {self._to(record)}>FAILED</a></td>'
            )
        if measure not in record.scores:
            return Markup(EMPTY)
        s = record.scores[measure]
        return Markup(
            f'<td class="num" data-value="{s.value}"><a {self._to(record)}>{FORMATS[digits] % s.value}</a> '
            f"<small>{format.interval_text(s)}</small></td>"
        )

    def result(
        self, record: Record, measures: Sequence[str], shown: Mapping[str, bool], timed: bool
    ) -> Markup:
        """The row of a run on the page of its task; shown and timed as for ``costs``."""
        cells = [self.score(record, measure) for measure in measures]
        cost = record.cost if record.status == "done" else None
        cells.append(self.costs(cost, record.latency, shown, timed))
        head = f'<tr>\n<th scope="row">{self.method_of(record)}</th>\n'
        return Markup(head + "\n".join(cells) + "\n</tr>")

    def measured(self, record: Record) -> Markup:
        """The rows of a run on the page of its method: one a measure."""
        head = f'<tr>\n<th scope="row">{self.task_link(record.run.task)}</th>\n<td>'
        seconds, memory = record.cost.cold_seconds, record.cost.peak_memory_bytes
        tail = f"{value(seconds, format.duration(seconds))}\n{value(memory, format.size(memory))}\n</tr>"
        rows = [
            f"{head}{safe(measure)}</td>\n{self.score(record, measure)}\n{value(s.n, f'{s.n:,}')}\n{tail}"
            for measure, s in record.scores.items()
        ]
        return Markup("\n".join(rows))

    def heat(self, record: Record, shade: str) -> Markup:
        """A cell of a heat map: the main measure of a finished run."""
        assert record.main
        to = self._to(record, f" {format.interval_text(record.main)}")
        value = record.main.value
        return Markup(f'<td class="num h{shade}" data-value="{value}"><a {to}>{value:.3f}</a></td>')

    def costs(
        self, cost: Cost | None, latency: Latency | None, shown: Mapping[str, bool], timed: bool
    ) -> Markup:
        """What a run cost. shown: which costs any row has (device, energy); timed: any row has a latency."""
        cells = []
        if timed:
            cells.append(
                value(
                    latency.p50,
                    f"{format.latency(latency.p50)} <small>p95 {format.latency(latency.p95)}</small>",
                )
                if latency
                else EMPTY
            )
        if cost is None:
            return Markup("\n".join([*cells, *[EMPTY] * (4 + shown["device"] + shown["energy"])]))
        rate, index = cost.items_per_second, cost.index_bytes
        cells += [
            value(cost.cold_seconds, format.duration(cost.cold_seconds)),
            value(rate, format.rate(rate) if rate else "–"),
            value(cost.peak_memory_bytes, format.size(cost.peak_memory_bytes)),
        ]
        if shown["device"]:
            device = cost.peak_device_bytes
            cells.append(UNKNOWN if device is None else value(device, format.size(device)))
        if shown["energy"]:
            joules = sum(cost.joules.values()) if cost.joules else None
            cells.append(UNKNOWN if joules is None else value(joules, f"{joules:,.0f} J"))
        return Markup("\n".join([*cells, value(index, format.size(index) if index else "–")]))


def value(number: float, text: str) -> str:
    """A cell that sorts by *number* and shows *text*."""
    return f'<td class="num" data-value="{number}">{text}</td>'
