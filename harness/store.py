"""Stored results: ``<root>/<task>/<method>/<run id>/`` with record.json, items.parquet and the answers.

A run's folder is written beside and renamed in, so that it is there whole or not at all.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.answers import Answers, Choices, Rankings, Texts, TokenLosses
from harness.errors import TouchstoneError, unknown
from harness.record import RECORD_FILE, Latency, Record, read_record, to_text
from harness.registry import make_adapter
from harness.scores import Scores
from harness.tasks.base import Task
from harness.tasks.choose import ChooseTask
from harness.tasks.generate import GenerateTask
from harness.tasks.perplexity import PerplexityTask
from harness.tasks.rank import RankTask
from harness.walk import REPORTED, parts_of, records_below

if TYPE_CHECKING:
    import pandas as pd

RUN_FILE, ANSWERS_FILE, ITEMS_FILE = "run.trec.zst", "answers.parquet", "items.parquet"


@lru_cache(maxsize=1 << 16)
def slug(name: str) -> str:
    """A folder name for a method or task: what is not a letter, digit, dot or dash becomes a dash."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "unnamed"


@dataclass(frozen=True)
class Store:
    """The results below a root folder."""

    root: Path

    def require_writable(self) -> None:
        """Fail before any work when results could not be stored."""
        try:
            partial = self.root / ".partial"
            partial.mkdir(parents=True, exist_ok=True)
            probe = partial / f"probe-{os.getpid()}"
            probe.write_text("")
            probe.unlink()
        except OSError as error:
            raise TouchstoneError(
                "cannot write results",
                where=str(self.root),
                why=error.strerror or str(error),
                fix="choose another --results",
            ) from error

    def folder(self, record: Record) -> Path:
        """Where a record is kept."""
        return Path(self.folder_text(record))

    def folder_text(self, record: Record) -> str:
        """The same as text: a large site asks for it several hundred thousand times."""
        return self._folder(record.id, record.run.task.name, record.run.method.name)

    def _folder(self, record_id: str, task: str, method: str) -> str:
        return f"{self.root}/{'/'.join(map(slug, task.split('/')))}/{slug(method)}/{record_id}"

    def put(
        self, record: Record, task: Task | None, answers: Answers | None, scores: Scores | None
    ) -> Record:
        """Write a run once, whole; an earlier failed record of the same run is replaced. Returns it with
        its file hashes.
        """

        def fill(folder: Path) -> None:
            if task is not None and answers is not None and scores is not None:
                _write_items(folder / ITEMS_FILE, task, scores)
                _write_answers(folder, task, answers, record)

        return self._put(record, fill)

    def adopt(self, folder: Path, record: Record) -> Record:
        """Store *record* with the files of *folder*, which is left alone; it replaces one of its id."""

        def fill(into: Path) -> None:
            for path in sorted(folder.iterdir()):
                if path.name != RECORD_FILE:
                    shutil.copyfile(path, into / path.name)

        return self._put(record, fill)

    def _put(self, record: Record, fill: Callable[[Path], None]) -> Record:
        final = self.folder(record)
        partial = self.root / ".partial" / f"{record.id}-{os.getpid()}"
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            fill(partial)
            files = {path.name: _sha256(path) for path in sorted(partial.iterdir())}
            record = replace(record, provenance={**record.provenance, "files": dict(files)})
            (partial / RECORD_FILE).write_text(to_text(record), encoding="utf-8")
            for path in partial.iterdir():
                _sync(path)
            _swap_in(partial, final)
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise TouchstoneError(
                "cannot store the result",
                where=str(final),
                why=error.strerror or str(error),
                fix="the answers are kept: run again",
            ) from error
        return record

    def add_latency(self, record: Record, latency: Latency) -> Record:
        """The stored *record* with a timed measurement, which replaces an earlier one. Returns it."""
        return self.amend(replace(record, latency=latency))

    def amend(self, record: Record) -> Record:
        """Write *record* in the place of the stored one of the same run; its files stay. Returns it."""
        folder = self.folder(record)
        partial = folder / f".{RECORD_FILE}.{os.getpid()}"
        try:
            partial.write_text(to_text(record), encoding="utf-8")
            _sync(partial)
            partial.rename(folder / RECORD_FILE)
        except OSError as error:
            raise TouchstoneError(
                "cannot change the record", where=str(folder), why=error.strerror or str(error)
            ) from error
        return record

    def remove(self, record: Record) -> None:
        """Take a run out of the store."""
        try:
            shutil.rmtree(self.folder(record))
        except OSError as error:
            raise TouchstoneError(
                "cannot remove the run", where=str(self.folder(record)), why=error.strerror or str(error)
            ) from error

    @property
    def reported(self) -> Store:
        """The area of runs that others report. It is a store of its own: what was run or verified here never
        stands beside them.
        """
        return Store(self.root / REPORTED)

    def get(self, run_id: str) -> Record:
        """The record whose id starts with *run_id*."""
        return read_record(self.path(run_id) / RECORD_FILE)

    def path(self, run_id: str) -> Path:
        """The folder of the one run whose id starts with *run_id*."""
        every = {path.parent.name: path.parent for path in self.record_files()}
        found = [name for name in every if name.startswith(run_id)]
        if len(found) > 1:
            raise TouchstoneError(f"'{run_id}' begins {len(found)} run ids", fix="give more digits")
        if not found:
            raise unknown("run", run_id, every, str(self.root))
        return every[found[0]]

    def find(self, task: str = "", method: str = "") -> list[Record]:
        """All records of a task and a method (by name; '' for any), newest last."""
        records = [read_record(path) for path in self.record_files()]
        kept = [r for r in records if task in ("", r.run.task.name) and method in ("", r.run.method.name)]
        return sorted(kept, key=lambda record: (record.finished, record.id))

    def done(self, record_id: str, task: str, method: str) -> Record | None:
        """The finished record of exactly this run, None when there is none."""
        file = Path(self._folder(record_id, task, method)) / RECORD_FILE
        if not file.exists():
            return None
        record = read_record(file)
        return record if record.status == "done" else None

    def items(self, record: Record) -> pd.DataFrame:
        """Per-item scores: a row an item, with its id, group and one column a measure."""
        import pandas as pd

        path = self.folder(record) / ITEMS_FILE
        try:
            return pd.read_parquet(path)
        except (OSError, ValueError) as error:
            raise TouchstoneError(
                "cannot read the per-item scores", where=str(path), why=str(error)
            ) from error

    def answers(self, record: Record, task: Task) -> Answers:
        """The stored answers, as arrays over *task*."""
        folder = self.folder(record)
        if isinstance(task, RankTask):
            from harness.trec import rankings_against, read_run

            if _is_empty(folder / RUN_FILE):  # nothing was found for any query
                return Rankings.empty(1)
            rankings, _unknown = rankings_against(
                read_run(folder / RUN_FILE), task.query_ids, task.corpus.find
            )
            return rankings
        import pyarrow.parquet as pq

        table = pq.read_table(folder / ANSWERS_FILE)
        rows = {name: row for row, name in enumerate(task.item_ids)}
        items = np.array([rows[name] for name in table.column("item").to_pylist()], np.int32)
        if isinstance(task, GenerateTask):
            texts, pages = (table.column(name).to_pylist() for name in ("text", "pages"))
            return Texts(items, tuple(texts), tuple(map(tuple, pages)))
        if isinstance(task, PerplexityTask):
            return TokenLosses.of(
                items, [np.array(row, np.float32) for row in table.column("losses").to_pylist()]
            )
        columns = [
            table.column(name).to_numpy() for name in table.column_names if name.startswith("logprob_")
        ]
        return Choices(items, np.stack(columns, axis=1).astype(np.float32))

    def verify(self, record: Record, task: Task) -> list[str]:
        """What is wrong with a stored run: changed files, or scores that its answers do not give. Empty
        when sound.
        """
        folder = self.folder(record)
        files = record.provenance.get("files")
        problems = []
        for name, wanted in (files if isinstance(files, dict) else {}).items():
            path = folder / name
            if not path.exists():
                problems.append(f"{name} is missing")
            elif _sha256(path) != wanted:
                problems.append(f"{name} was changed")
        if problems:
            return problems
        view = limited(task, record.run.limit)  # a method may score columns of its own
        fresh = make_adapter(record.run.method).score(view, self.answers(record, task)).summary()
        for measure, summary in record.scores.items():
            if measure not in fresh or not np.isclose(fresh[measure].value, summary.value, rtol=0, atol=1e-9):
                problems.append(f"{measure}: the answers do not give {summary.value:.6f}")
        return problems

    def index(self) -> pd.DataFrame:
        """One row a run, also written to index.parquet. It is derived: rebuilt from the records at every
        call.
        """
        import pandas as pd

        rows = []
        for record in self.find():
            main = record.main
            rows.append(
                {
                    "id": record.id,
                    "status": record.status,
                    "task": record.run.task.name,
                    "method": record.run.method.name,
                    "seed": record.run.seed,
                    "limit": record.run.limit,
                    "measure": record.run.task.main_measure,
                    "value": main.value if main else np.nan,
                    "seconds": record.cost.cold_seconds,
                    "finished": record.finished,
                }
            )
        frame = pd.DataFrame(rows)
        partial = self.root / f"index.parquet.{os.getpid()}"
        frame.to_parquet(partial)
        partial.rename(self.root / "index.parquet")
        return frame

    def record_files(self) -> Iterator[Path]:
        """Every record's file, in the order of the paths."""
        return (Path(path) for part in parts_of(self.root) for path in records_below(part))


def limited(task: Task, limit: int) -> Task:
    """The first *limit* items of a task, all for 0."""
    return task.select(task.items[:limit]) if limit else task


def _write_items(path: Path, task: Task, scores: Scores) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, object] = {"item": [task.item_ids[item] for item in scores.items]}
    if isinstance(task, ChooseTask):
        columns["group"] = [task.question(int(item)).group for item in scores.items]
    columns |= {measure: scores.column(measure) for measure in scores.measures}
    pq.write_table(pa.table(columns), path, compression="zstd")


def _write_answers(folder: Path, task: Task, answers: Answers, record: Record) -> None:
    if isinstance(answers, Rankings) and isinstance(task, RankTask):
        from harness.trec import write_run

        write_run(folder / RUN_FILE, task.query_ids, answers, task.corpus.ids, slug(record.run.method.name))
    elif isinstance(answers, Choices | Texts | TokenLosses):
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns: dict[str, object] = {"item": [task.item_ids[item] for item in answers.items]}
        if isinstance(answers, TokenLosses):
            columns["losses"] = pa.LargeListArray.from_arrays(
                pa.array(answers.starts), pa.array(answers.losses)
            )
        elif isinstance(answers, Texts):
            columns |= {"text": pa.array(answers.texts, pa.string())}
            columns |= {"pages": pa.array(answers.pages, pa.list_(pa.string()))}
        else:
            columns |= {f"logprob_{i}": answers.logprobs[:, i] for i in range(answers.logprobs.shape[1])}
        pq.write_table(pa.table(columns), folder / ANSWERS_FILE, compression="zstd")


def _is_empty(path: Path) -> bool:
    import pyarrow as pa

    with pa.input_stream(str(path), compression="detect") as stream:
        return not stream.read(1)


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _swap_in(partial: Path, final: Path) -> None:
    final.parent.mkdir(parents=True, exist_ok=True)
    old = partial.with_suffix(".old")
    if final.exists():
        final.rename(old)
    partial.rename(final)
    _sync(final.parent)
    shutil.rmtree(old, ignore_errors=True)
