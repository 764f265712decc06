"""The answers of a run on disk: a shard a finished block, joined to one file when all items are answered."""

from __future__ import annotations

import json
import os
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import numpy as np

from harness.answers import Answers, Choices, Ints, Rankings, Texts, TokenLosses
from harness.meter import Spent
from harness.spec import Kind
from harness.tasks.base import Task


@dataclass(frozen=True)
class Segment:
    """What one shard says of the stretch of work that made it."""

    seconds: float
    spent: Spent
    peak_memory: int
    attempt: str
    peak_device: int | None = None
    joules: Mapping[str, float] | None = None

    def to_text(self) -> str:
        """As kept in a shard."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Segment:
        """The reverse of to_text."""
        body = json.loads(text)
        return cls(**{**body, "spent": Spent(**body["spent"])})


@dataclass(frozen=True)
class Shard:
    """A block of answers and what it cost."""

    answers: Answers
    segment: Segment


# What numpy and zipfile raise for a file that was cut or changed.
UNREADABLE = (
    ValueError,
    KeyError,
    TypeError,
    EOFError,
    NotImplementedError,
    struct.error,
    zipfile.BadZipFile,
)


class Shards:
    """The finished blocks in a run's partial folder.

    A shard that cannot be read back (cut, bit rot) is deleted, so that its items are answered again;
    *dropped* counts them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.held: list[Shard] = []
        self.dropped = 0
        for path in sorted(folder.glob("shard-*.npz")):
            try:
                self.held.append(Shard(*load_shard(path)))
            except UNREADABLE:
                path.unlink()
                self.dropped += 1

    def __len__(self) -> int:
        """Answered items."""
        return sum(len(shard.answers) for shard in self.held)

    @property
    def items(self) -> Ints:
        """int32[n]: the answered items."""
        return np.concatenate([np.empty(0, np.int32), *(shard.answers.items for shard in self.held)])

    def add(self, answers: Answers, segment: Segment) -> None:
        """Write one more block."""
        numbers = [int(path.stem.partition("-")[2]) for path in self.folder.glob("shard-*.npz")]
        write_shard(self.folder / f"shard-{max(numbers, default=-1) + 1:06d}.npz", answers, segment)
        self.held.append(Shard(answers, segment))


def write_shard(path: Path, answers: Answers, segment: Segment) -> None:
    """One block on disk, whole or not at all, synced."""
    partial = path.with_suffix(".tmp")
    with partial.open("wb") as handle:
        _save(handle, {**_arrays(answers), "segment": np.array(segment.to_text())})
    partial.rename(path)


def load_shard(path: Path) -> tuple[Answers, Segment]:
    """A block and what it cost."""
    with np.load(path) as held:
        answers = _from_arrays({name: held[name] for name in held.files if name != "segment"})
        return answers, Segment.from_text(str(held["segment"]))


def read_answers(folder: Path) -> Answers:
    """The joined answers of an asset folder."""
    with np.load(folder / "answers.npz") as held:
        return _from_arrays({name: held[name] for name in held.files})


def join_shards(shards: Shards, task: Task) -> None:
    """All blocks as the answers of *task*; the shards are gone then."""
    folder, parts = shards.folder, [shard.answers for shard in shards.held]
    rankings = [part for part in parts if isinstance(part, Rankings)]
    whole: Answers
    if task.spec.kind is Kind.RANK:
        whole = Rankings.concatenate(rankings) if rankings else Rankings.empty(1)
    elif task.spec.kind is Kind.GENERATE:
        whole = Texts.concatenate([part for part in parts if isinstance(part, Texts)])
    elif task.spec.kind is Kind.PERPLEXITY:
        whole = TokenLosses.concatenate([part for part in parts if isinstance(part, TokenLosses)])
    else:
        whole = Choices.concatenate([part for part in parts if isinstance(part, Choices)])
    with (folder / "answers.npz").open("wb") as handle:
        _save(handle, _arrays(whole))
    (folder / "segments.jsonl").write_text("".join(f"{shard.segment.to_text()}\n" for shard in shards.held))
    for path in folder.glob("shard-*.npz"):
        path.unlink()


def _save(handle: IO[bytes], arrays: dict[str, np.ndarray]) -> None:
    """As .npz, on the disk when this returns."""
    np.savez(handle, allow_pickle=False, **arrays)
    handle.flush()
    os.fsync(handle.fileno())


def _arrays(answers: Answers) -> dict[str, np.ndarray]:
    return answers.to_arrays() if isinstance(answers, Texts) else dict(answers.__dict__)


def _from_arrays(arrays: dict[str, np.ndarray]) -> Answers:
    if "texts" in arrays:
        return Texts.from_arrays(arrays)
    if "losses" in arrays:
        return TokenLosses(**arrays)
    return Rankings(**arrays) if "docs" in arrays else Choices(**arrays)
