"""Verification: scores from the answers, and a sample of the items really run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from harness import __version__
from harness.answers import PAD, Answers, Choices, Ints, Rankings, Texts
from harness.errors import ExitCode, TouchstoneError
from harness.execute import Session
from harness.meter import machine
from harness.record import Record
from harness.scores import Scores
from harness.spec import Json
from harness.store import Store, limited
from harness.submission.archive import MANIFEST, Limits, refused, unpack
from harness.submission.claims import check_files, claimed, rescore
from harness.tasks.base import Task

Progress = Callable[[str, int, int], None]
TOP = 10  # documents of a ranking that are compared


@dataclass(frozen=True)
class SpotCheck:
    """sample: items that are run again, 0 for none. agree: the share of them whose score must come out within
    *close* of the stored one; other hardware moves some last digits.
    """

    sample: int = 20
    agree: float = 0.9
    close: float = 1e-3


@dataclass(frozen=True)
class Verified:
    """A run whose scores follow from its answers. run_items, agreeing: of the sample; overlap: the mean share
    of equal answers in it (of the ten best documents, of choices, of texts). Nothing was run when run_items
    is 0, and then the run is not marked.
    """

    record: Record
    run_items: int
    agreeing: int
    overlap: float


def verify_archive(
    path: Path, session: Session, spec: SpotCheck, progress: Progress, limits: Limits | None = None
) -> Verified:
    """Verify a submission; when it holds, store it as verified. A refusal stores nothing."""
    limits = limits or Limits()
    with tempfile.TemporaryDirectory(prefix="touchstone-verify-") as scratch:
        folder = Path(scratch) / "files"
        folder.mkdir()
        manifest = unpack(path, folder, limits)
        check_files(folder, limits, path.name)
        record = claimed(folder, session.catalog, path.name)
        if manifest.run != record.id:
            raise refused("manifest and record name two runs", path.name, manifest.run[:40])
        (folder / MANIFEST).unlink()
        record = replace(record, run=replace(record.run, task=session.catalog.task(record.run.task.name)))
        held = Store(Path(scratch) / "store")
        record = held.adopt(folder, replace(record, origin="reported"))
        _, scores = rescore(held, record, session.task(record.run.task))
        # Only what the answers give is kept: intervals, counts and further scores are not believed.
        record = replace(record, scores=scores.summary(), counts=dict(scores.counts))
        found = _verify(held, record, session, spec, progress)
        if not found.run_items:
            return found
        notes = tuple(dict.fromkeys((*record.notes, "submitted; its costs are its maker's")))
        stored = session.store.adopt(
            held.folder(record), replace(found.record, origin="verified", notes=notes)
        )
        return replace(found, record=stored)


def verify_run(run: str, session: Session, spec: SpotCheck, progress: Progress) -> Verified:
    """Verify a stored run by its id, and note that in its record."""
    record = session.store.get(run)
    if record.status != "done":
        raise TouchstoneError(f"the run {record.id} failed", fix=record.run.command)
    problems = session.store.verify(record, session.task(record.run.task))
    if problems:
        raise TouchstoneError(
            f"the run {record.id} does not verify", why="; ".join(problems), exit_code=ExitCode.WORSE
        )
    found = _verify(session.store, record, session, spec, progress)
    return replace(found, record=session.store.amend(found.record)) if found.run_items else found


def _verify(store: Store, record: Record, session: Session, spec: SpotCheck, progress: Progress) -> Verified:
    task = session.task(record.run.task)
    answers, scores = rescore(store, record, task)
    if not spec.sample:
        return Verified(record, 0, 0, 0.0)
    items = _sample(scores, spec.sample)
    again = _run(record, task, items, session, progress)
    agreeing = _agreeing(task.select(items), again, scores, record, spec)
    overlap = _overlap(answers, again)
    if agreeing < spec.agree * len(items):
        raise TouchstoneError(
            f"running {len(items)} items again gives other scores for {len(items) - agreeing}",
            where=f"{record.run.method.name} on {task.spec.name}",
            why=f"{spec.agree:.0%} must agree; {overlap:.0%} of their answers are equal",
            exit_code=ExitCode.WORSE,
        )
    said: dict[str, Json] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "touchstone": __version__,
        "rescored_items": len(scores.items),
        "run_items": len(items),
        "agreeing_items": agreeing,
        "equal_answers": round(overlap, 4),
        "machine": machine(),
    }
    marked = replace(record, provenance={**record.provenance, "verified": said})
    return Verified(marked, len(items), agreeing, overlap)


def _sample(scores: Scores, count: int) -> Ints:
    """A sample that nobody could foresee: its seed is drawn anew each time."""
    generator = np.random.default_rng()
    chosen = generator.choice(scores.items, min(count, len(scores.items)), replace=False)
    return np.sort(chosen).astype(np.int32)


def _run(record: Record, task: Task, items: Ints, session: Session, progress: Progress) -> Answers:
    planned = session.plan(record.run)
    part = limited(task, record.run.limit).select(items)
    blocks = [part.check(block) for block in planned.adapter.run(part, session.context(planned, progress))]
    if not blocks:
        raise TouchstoneError("the method gives no answers", where=record.run.method.name)
    if isinstance(blocks[0], Rankings):
        return Rankings.concatenate([one for one in blocks if isinstance(one, Rankings)])
    if isinstance(blocks[0], Choices):
        return Choices.concatenate([one for one in blocks if isinstance(one, Choices)])
    return Texts.concatenate([one for one in blocks if isinstance(one, Texts)])


def _agreeing(part: Task, again: Answers, scores: Scores, record: Record, spec: SpotCheck) -> int:
    measure = record.run.task.main_measure
    fresh = part.score(again)
    stored = scores.column(measure)[np.isin(scores.items, fresh.items)]
    return int((np.abs(fresh.column(measure) - stored) <= spec.close).sum())


def _overlap(answers: Answers, again: Answers) -> float:
    """The mean share of equal answers over the items of *again*."""
    rows = {item: row for row, item in enumerate(answers.items.tolist())}
    shares = []
    for row, item in enumerate(again.items.tolist()):
        old = rows.get(item)
        if old is None:
            shares.append(0.0)
        elif isinstance(answers, Rankings) and isinstance(again, Rankings):
            before, now = (docs[:TOP][docs[:TOP] != PAD] for docs in (answers.docs[old], again.docs[row]))
            shares.append(len(np.intersect1d(before, now)) / max(len(before), len(now), 1))
        elif isinstance(answers, Choices) and isinstance(again, Choices):
            shares.append(float(answers.logprobs[old].argmax() == again.logprobs[row].argmax()))
        elif isinstance(answers, Texts) and isinstance(again, Texts):
            shares.append(float(answers.texts[old] == again.texts[row]))
    return float(np.mean(shares)) if shares else 0.0
