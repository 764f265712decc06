"""Terminal tables of results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from harness.format import duration, latency, score_text, size
from harness.plan import Cell
from harness.record import Latency
from harness.spec import RunSpec

if TYPE_CHECKING:
    from harness.execute import Planned
    from harness.schedule.start import Ended
    from harness.schedule.status import JobStatus, ScheduleStatus


def console(stderr: bool = False) -> Console:
    """Writes to standard output or error; as wide as needed when that is not a terminal."""
    found = Console(stderr=stderr)
    return found if found.is_terminal else Console(width=160, stderr=stderr)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A plain table; columns whose name starts with '>' are right-aligned."""
    drawn = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        drawn.add_column(
            column.lstrip(">"), justify="right" if column.startswith(">") else "left", overflow="fold"
        )
    for row in rows:
        drawn.add_row(*row)
    return drawn


def latency_rows(timed: Latency) -> Iterable[list[str]]:
    """What a timed measurement says, a row a fact."""
    for name in ("p50", "p95", "p99"):
        yield [name, latency(getattr(timed, name))]
    yield ["queries, one at a time", f"{timed.count:,} after {timed.warm_up:,} to warm up"]
    if timed.excludes:
        yield ["not in it", f"the rankings of {', '.join(timed.excludes)}"]
    yield ["on", ", ".join(f"{key} {value}" for key, value in timed.hardware.items())]


def published_text(run: RunSpec) -> str:
    """The published number of the same method and the task's main measure, '' when there is none."""
    task = run.task
    found = [p for p in task.published if (p.method, p.measure) == (run.method.name, task.main_measure)]
    return f"{found[0].value:.4f}" if found else ""


def result_tables(cells: Sequence[Cell]) -> Iterable[Table | str]:
    """One table a task: best first, with intervals and costs; then a line for each cell without a result."""
    for task in dict.fromkeys(cell.run.task for cell in cells):
        mine = [cell for cell in cells if cell.run.task == task]
        mine.sort(key=lambda cell: -(cell.record.main.value if cell.record and cell.record.main else -1.0))
        first, *others = task.measures[:3]
        scores = [f"{first} [95 %]", *(f">{name}" for name in others), ">published"]
        columns = [
            "method",
            *scores,
            ">time",
            ">reused",
            ">items/s",
            ">p50",
            ">p95",
            ">p99",
            ">index",
            ">memory",
            "run",
        ]
        yield table(f"{task.title}  ({task.name})", columns, (_row(cell, others) for cell in mine))
        yield from _notes(mine)
        for cell in mine:
            if cell.problem:
                yield f"{cell.run.method.name}: {cell.problem.line}"


def _notes(cells: Sequence[Cell]) -> Iterable[str]:
    """What the records say beside their numbers; a note that all share is given once, without names."""
    records = [cell.record for cell in cells if cell.record]
    for note in dict.fromkeys(note for record in records for note in record.notes):
        names = [record.run.method.name for record in records if note in record.notes]
        yield f"note: {note}" if len(names) == len(records) else f"note on {', '.join(names)}: {note}"


def _row(cell: Cell, others: Sequence[str]) -> list[str]:
    record = cell.record
    if record is None or record.status == "failed":
        return [cell.run.method.name, "not here" if cell.state == "not here" else "FAILED"]
    cost, timed = record.cost, record.latency
    return [
        cell.run.method.name,
        score_text(record.main),
        *(f"{record.scores[name].value:.4f}" for name in others),
        published_text(cell.run),
        duration(cost.seconds),
        duration(cost.reused_seconds) if cost.reused_seconds else "",
        f"{cost.items_per_second:,.0f}",
        *((latency(t) for t in (timed.p50, timed.p95, timed.p99)) if timed else ("", "", "")),
        size(cost.index_bytes) if cost.index_bytes else "",
        size(cost.peak_memory_bytes),
        record.id,
    ]


def forecast_table(ended: Ended, jobs: Mapping[str, Planned]) -> Table:
    """What was forecast of each run, and what it took."""
    columns = ["method", "task", ">forecast", ">took", ">claimed", ">held", "forecast from", "end"]
    return table("Forecast and outcome", columns, _outcomes(ended, jobs))


def _outcomes(ended: Ended, jobs: Mapping[str, Planned]) -> Iterable[list[str]]:
    last = {event["job"]: event for event in ended.desk.events() if event["what"] in ("done", "failed")}
    for job, planned in jobs.items():
        event, forecast = last.get(job, {}), ended.forecasts[job]
        yield [
            planned.run.method.name,
            planned.run.task.name,
            duration(forecast.job.seconds),
            duration(event["seconds"]) if "seconds" in event else "",
            size(forecast.job.bytes),
            size(event["used"]) if event.get("used") else "",
            forecast.basis,
            str(event.get("kind", "done")) if event else "",
        ]


def status_tables(status: ScheduleStatus) -> Iterable[Table | str]:
    """The running runs, those that failed, and a line that counts all."""
    columns = ["run", "method", "task", "devices", ">for", ">forecast", ">items", ">holds", "at"]
    if running := status.of("running"):
        yield table("Running", columns, map(_running_row, running))
    if trouble := [*status.of("failed"), *status.of("cancelled")]:
        rows = ([job.job, job.method, job.task, job.state, job.why] for job in trouble)
        yield table("Failed", ["run", "method", "task", "state", "why"], rows)
    states = ("running", "waiting", "done", "failed", "cancelled")
    counts = ", ".join(f"{len(status.of(state))} {state}" for state in states)
    who = f"at work: {status.at_work}" if status.at_work else "no scheduler is at work"
    left = f"; {duration(status.left)} of one device left" if status.left else ""
    full = "; waits for room on the disk" if status.disk_full else ""
    yield f"{counts}{left}{full}; {who}"


def _running_row(job: JobStatus) -> list[str]:
    items = f"{job.done:,} of {job.total:,}" if job.total else ""
    return [
        job.job,
        job.method,
        job.task,
        job.devices,
        duration(job.seconds),
        duration(job.forecast),
        items,
        size(job.used) if job.used else "",
        "" if job.label == job.method else job.label,
    ]
