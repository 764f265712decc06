"""Bars of a running schedule: one for all runs, one for each that is at work."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from harness.schedule.crew import Event


class Bars:
    """Draws on standard error. names: of the runs, by job."""

    def __init__(self, names: Mapping[str, str]) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self.names = names
        self.progress = Progress(*columns, console=Console(stderr=True))
        self.whole = self.progress.add_task("runs", total=len(names), visible=len(names) > 1)
        self.bars: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def hear(self, event: Event) -> None:
        """Show what happened to a run."""
        if event.what == "heard":
            if event.job not in self.bars:
                self.bars[event.job] = self.progress.add_task(f"  {self.names[event.job]}", total=None)
            label = str(event.facts.get("label") or "")
            detail = f" ({label})" if label and not self.names[event.job].startswith(f"{label} on ") else ""
            self.progress.update(
                self.bars[event.job],
                description=f"  {self.names[event.job]}{detail}",
                completed=event.facts.get("done", 0),
                total=event.facts.get("total") or None,
            )
        else:
            if event.job in self.bars:
                self.progress.remove_task(self.bars.pop(event.job))
            self.progress.update(self.whole, advance=event.what == "done")
