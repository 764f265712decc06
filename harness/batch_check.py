"""Whether a method's answers depend on the batches they were computed in."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from harness.answers import PAD, Answers, Choices, Rankings, Texts
from harness.errors import TouchstoneError
from harness.execute import Planned, Progress, Session
from harness.meter import machine
from harness.modes import Mode, in_mode
from harness.record import Record
from harness.spec import Json
from harness.store import limited
from harness.strict import from_plain
from harness.tasks.base import Task

FILE = "batching.json"
SCHEMA = 1


@dataclass(frozen=True)
class BatchCheck:
    """One sample of items answered twice: row by row, and in the batches of a run.

    largest_difference: of the scores of the same document or choice; None for texts. changed_ranks: ranks
    that hold another document. changed_items: items with another document at some rank, another best choice
    or another text. What is kept from before (document vectors, indexes, other methods' rankings) is the
    same on both sides.
    """

    run: str
    items: int
    largest_difference: float | None
    changed_ranks: int
    changed_items: int
    hardware: dict[str, Json]
    measured: str
    schema: int = SCHEMA


def check_batching(
    session: Session, record: Record, planned: Planned, count: int, progress: Progress
) -> BatchCheck:
    """Answer a seeded sample of *count* items both ways, and keep what differs as ``batching.json`` beside
    the stored *record*.
    """
    task = limited(planned.task, planned.run.limit)
    sample = task.select(np.sort(np.random.default_rng(0).permutation(task.items)[:count]))
    batched = _answers(session, planned, sample, Mode(), progress)
    single = _answers(session, planned, sample, Mode(single_items=True, single_rows=True), progress)
    largest, ranks, items = compare_answers(batched, single)
    check = BatchCheck(
        record.id,
        len(sample.items),
        largest,
        ranks,
        items,
        {**machine(), "device": session.device},
        datetime.now(UTC).isoformat(timespec="seconds"),
    )
    path = session.store.folder(record) / FILE
    partial = path.with_suffix(".tmp")
    try:
        partial.write_text(json.dumps(asdict(check), indent=1) + "\n")
        partial.rename(path)
    except OSError as error:
        raise TouchstoneError("cannot store the check", where=str(path), why=str(error)) from error
    return check


def read_batch_check(folder: Path) -> BatchCheck | None:
    """The check kept in a run's folder, None when there is none."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        return from_plain(json.loads(path.read_text()), BatchCheck, str(path))
    except (OSError, ValueError) as error:
        raise TouchstoneError("cannot read the check of batches", where=str(path), why=str(error)) from error


def _answers(session: Session, planned: Planned, task: Task, mode: Mode, progress: Progress) -> Answers:
    """All answers of *task*, by item, computed now."""
    parts: list[Answers] = []
    with in_mode(mode):
        for part in planned.adapter.run(task, session.context(planned, progress)):
            parts.append(task.check(part))
            progress("single" if mode.single_rows else "batches", sum(map(len, parts)), len(task.items))
    kind: Any = type(parts[0])
    whole: Answers = kind.concatenate(parts)
    return whole


def compare_answers(left: Answers, right: Answers) -> tuple[float | None, int, int]:
    """(largest difference of scores, ranks that changed, items that changed) of answers to the same items."""
    if isinstance(left, Rankings) and isinstance(right, Rankings):
        depth = max(left.depth, right.depth)
        left, right = left.resized(depth), right.resized(depth)
        moved = left.docs != right.docs
        largest = max((_row_difference(left, right, row) for row in range(len(left))), default=0.0)
        return largest, int(moved.sum()), int(moved.any(axis=1).sum())
    if isinstance(left, Choices) and isinstance(right, Choices):
        held = np.isfinite(left.logprobs) & np.isfinite(right.logprobs)
        gaps = np.abs(left.logprobs[held] - right.logprobs[held])
        other = left.logprobs.argmax(axis=1) != right.logprobs.argmax(axis=1)
        return float(gaps.max(initial=0.0)), 0, int(other.sum())
    assert isinstance(left, Texts) and isinstance(right, Texts)
    return None, 0, sum(a != b for a, b in zip(left.texts, right.texts, strict=True))


def _row_difference(left: Rankings, right: Rankings, row: int) -> float:
    """The largest difference of the scores of documents that both rankings hold."""
    _, here, there = np.intersect1d(left.docs[row], right.docs[row], return_indices=True)
    kept = left.docs[row][here] != PAD
    gaps = np.abs(left.scores[row][here][kept].astype(float) - right.scores[row][there][kept])
    return float(gaps.max(initial=0.0))
