"""Sides of a comparison timed in turn: A B A B, the least wall time and processor time of each."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.meter import machine, package_version


@dataclass(frozen=True)
class Taken:
    """The least of several rounds, in seconds. cpu: of this process and its children, on all cores."""

    wall: float
    cpu: float


def alternated(sides: Mapping[str, Callable[[], Any]], rounds: int = 3) -> dict[str, Taken]:
    """Run every side once a round, in order."""
    walls: dict[str, list[float]] = {name: [] for name in sides}
    cpus: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            begin, used = time.perf_counter(), _cpu()
            side()
            walls[name].append(time.perf_counter() - begin)
            cpus[name].append(_cpu() - used)
    return {name: Taken(min(walls[name]), min(cpus[name])) for name in sides}


def _cpu() -> float:
    spent = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in spent)


def report(title: str, taken: Mapping[str, Taken], ours: str, items: int = 0) -> None:
    """A table row a side: seconds, items/s, and how many times as long as ours it took."""
    print(f"\n{title}\n| side | s | CPU s | {'items/s | ' if items else ''}wall / ours | CPU / ours |")
    print("|---|---|---|---|---|" + ("---|" if items else ""))
    for name, side in taken.items():
        rate = f"{items / side.wall:,.0f} | " if items else ""
        print(
            f"| {name} | {side.wall:.3f} | {side.cpu:.3f} | {rate}{side.wall / taken[ours].wall:.2f} "
            f"| {side.cpu / taken[ours].cpu:.2f} |",
            flush=True,
        )


def heading(*packages: str) -> None:
    """The machine and the versions that a table stands for."""
    here = machine()
    versions = ", ".join(f"{name} {package_version(name) or 'absent'}" for name in packages)
    print(f"{here['cpu']}, {here['cores']} cores; {versions}", flush=True)
