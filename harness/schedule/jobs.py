"""What the scheduler knows of a run and of a device, and what it may decide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DeviceKind = Literal["cpu", "gpu", "fake"]


@dataclass(frozen=True)
class Device:
    """Something that runs are placed on. bytes: its memory; a cpu's is its node's.

    A fake device is a share of this machine's memory that is scheduled as if it were a card of its own.
    """

    id: str
    kind: DeviceKind
    bytes: int
    node: str = "here"


@dataclass(frozen=True)
class Job:
    """A run as the scheduler sees it.

    bytes: claimed on each of its *devices*; host_bytes: beside that, on the node. seconds: forecast when it
    is alone, its model loaded and its assets made. busy: the share of a device's compute that it takes.
    timed: it must have its device alone. model, corpus: what a worker keeps from run to run. assets: what it
    shares and makes unless it is there. after: runs that must have ended.
    """

    id: str
    kind: DeviceKind = "cpu"
    bytes: int = 0
    host_bytes: int = 0
    seconds: float = 1.0
    busy: float = 1.0
    devices: int = 1
    timed: bool = False
    priority: int = 0
    model: str = ""
    corpus: str = ""
    assets: tuple[str, ...] = ()
    after: tuple[str, ...] = ()

    @property
    def alone(self) -> bool:
        """Whether nothing else may run on its devices: timed runs, and those that take several."""
        return self.timed or self.devices > 1

    @property
    def keys(self) -> tuple[str, ...]:
        """What a worker may have kept for it, the most first."""
        return kept_keys(self.model, self.corpus)


def kept_keys(model: str, corpus: str) -> tuple[str, ...]:
    """Names of what a worker with a model and a corpus has loaded, the most first. A corpus alone counts only
    for methods without a model: it is mapped into memory, a model is read.
    """
    if model and corpus:
        return f"{model}\0{corpus}", model
    return (model or corpus,) if model or corpus else ()


@dataclass(frozen=True)
class Start:
    """Run a job now on these devices (by number)."""

    job: str
    devices: tuple[int, ...]


@dataclass(frozen=True)
class Reserve:
    """Keep devices for a job that fits nowhere yet; until *until* shorter runs may still use them."""

    job: str
    devices: tuple[int, ...]
    until: float


@dataclass(frozen=True)
class Requeue:
    """Try a job again, not before *at*, with a claim of *bytes* on each device."""

    job: str
    at: float
    bytes: int
    why: str


@dataclass(frozen=True)
class GiveUp:
    """A job has failed for good."""

    job: str
    why: str


@dataclass(frozen=True)
class Stop:
    """End a running job by force; kind says how that counts."""

    job: str
    kind: Ending
    why: str


Ending = Literal["done", "error", "transient", "crash", "hang", "lost", "memory", "disk", "timeout", "cancel"]
Action = Start | Reserve | Requeue | GiveUp | Stop
