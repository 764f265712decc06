"""TREC run and judgement files: read, joined to arrays, written.

Rankings are ordered as trec_eval 9 orders them, whatever the rank column says: float32 score down, then
document id down by its bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from harness.answers import PAD, Floats, Ints, Rankings
from harness.errors import TouchstoneError
from harness.qrels import Longs, Qrels
from harness.trec_lines import QRELS, RUN, Columns, read_columns

CELLS = 1 << 20  # ranking cells written at once


@dataclass(frozen=True, eq=False)
class RunFile:
    """A run: query i's documents are docs[starts[i]:starts[i+1]], best first.

    starts int64[q+1]; docs large_string[n], an Arrow array of document ids; scores float32[n].
    """

    query_ids: tuple[str, ...]
    starts: Longs
    docs: Any
    scores: Floats
    tag: str


@dataclass(frozen=True, eq=False)
class QrelsFile:
    """Judgements, with the texts that its query and document numbers stand for."""

    query_ids: tuple[str, ...]
    doc_ids: Any
    qrels: Qrels


@dataclass(frozen=True, eq=False)
class Joined:
    """A run beside judgements: what ``score_rankings`` takes, and the name of each row.

    Judged documents keep the numbers they have in the QrelsFile; all others have a number of their own after
    those, another one for each query.
    """

    query_ids: tuple[str, ...]
    qrels: Qrels
    rankings: Rankings


def read_run(path: str | Path) -> RunFile:
    """Read a run (``query Q0 document rank score tag``), plain, .gz or .zst.

    White space of any kind separates; text after the tag, blank lines and lines that start with # are
    skipped. A malformed line, a score that is no finite float32, a repeated document or an empty file is a
    TouchstoneError.
    """
    table = read_columns(Path(path), RUN)
    queries, docs, scores = _best_first(table)
    starts = np.searchsorted(queries, np.arange(len(table.query_ids) + 1)).astype(np.int64)
    return RunFile(table.query_ids, starts, docs, scores, table.tag)


def read_qrels(path: str | Path) -> QrelsFile:
    """Read judgements, plain, .gz or .zst: TREC's ``query 0 document grade`` or BEIR's three columns.

    Errors are those of ``read_run``; a grade is a whole number.
    """
    table = read_columns(Path(path), QRELS)
    docs, grades = table.docs.dictionary_encode(), table.values.astype(np.int32)
    qrels = Qrels.build(len(table.query_ids), table.queries, docs.indices.to_numpy(), grades)
    return QrelsFile(table.query_ids, docs.dictionary.cast(pa.string()), qrels)


def join(run: RunFile, judged: QrelsFile, retrieved_only: bool = False) -> Joined:
    """One row for each judged query; those that the run lacks have no ranking and score 0.

    retrieved_only: rows only for the judged queries that the run holds (trec_eval without -c). Queries of the
    run without judgements are left out.
    """
    rows = {name: row for row, name in enumerate(judged.query_ids)}
    if retrieved_only:
        there = np.sort(np.array([rows[name] for name in run.query_ids if name in rows], np.int64))
        names = tuple(judged.query_ids[row] for row in there)
        return join(run, QrelsFile(names, judged.doc_ids, judged.qrels.select(there)))
    judged_ids = judged.doc_ids.cast(pa.large_string())
    known = pc.index_in(run.docs, value_set=judged_ids).fill_null(PAD).to_numpy()
    beyond = len(judged_ids) + np.arange(len(known))
    numbers = np.where(known == PAD, beyond, known).astype(np.int32)
    items = np.array([rows.get(name, PAD) for name in run.query_ids], np.int32)
    return Joined(judged.query_ids, judged.qrels, _rankings(run, items, numbers))


def rankings_against(
    run: RunFile, query_ids: Sequence[str], doc_numbers: Callable[[Sequence[str]], Ints]
) -> tuple[Rankings, int]:
    """The run over a task's own numbers, and how many of its queries the task does not have.

    doc_numbers gives the numbers of document ids, PAD for an unknown one: that is a TouchstoneError here.
    """
    rows = {name: row for row, name in enumerate(query_ids)}
    items = np.array([rows.get(name, PAD) for name in run.query_ids], np.int32)
    used = np.repeat(items != PAD, np.diff(run.starts))
    coded = run.docs.filter(pa.array(used)).dictionary_encode()
    names = coded.dictionary.to_pylist()
    found = doc_numbers(names)
    strange = np.flatnonzero(found == PAD)
    if len(strange):
        what = f"the run holds document '{names[strange[0]]}', which is not in the corpus"
        raise TouchstoneError(what, why=f"{len(strange)} of its {len(names)} documents are not")
    numbers = np.full(len(run.docs), PAD, np.int32)
    numbers[used] = found[coded.indices.to_numpy()]
    return _rankings(run, items, numbers), int((items == PAD).sum())


def write_run(
    path: str | Path,
    query_ids: Sequence[str],
    rankings: Rankings,
    doc_ids: Callable[[Ints], Sequence[str]],
    tag: str,
) -> None:
    """Write a run that reads back to the same order and float32 scores; .zst and .gz are compressed.

    query_ids[item] and doc_ids(numbers) give the texts; one that is empty or holds white space is a
    TouchstoneError.
    """
    _fit_for_a_column(pa.array([tag, *(query_ids[item] for item in rankings.items)], pa.string()))
    with pa.output_stream(str(path), compression="detect") as out:
        step = max(1, CELLS // max(1, rankings.depth))
        for start in range(0, len(rankings), step):
            rows = slice(start, start + step)
            docs, held = rankings.docs[rows], rankings.docs[rows] != PAD
            row, rank = np.nonzero(held)
            names = pa.array([query_ids[item] for item in rankings.items[rows]], pa.string())
            found = pa.array(doc_ids(docs[held]), pa.string())
            _fit_for_a_column(found)
            scores = pa.array(rankings.scores[rows][held].astype(np.float32)).cast(pa.string())
            ranks = pa.array(rank + 1).cast(pa.string())
            lines = pc.binary_join_element_wise(
                names.take(pa.array(row)), "Q0", found, ranks, scores, f"{tag}\n", " "
            )
            out.write(_text(lines))


def _text(lines: Any) -> Any:
    """All strings of an Arrow array one after the other, as bytes, without a copy."""
    offsets = np.frombuffer(lines.buffers()[1], np.int32)[lines.offset : lines.offset + len(lines) + 1]
    return memoryview(lines.buffers()[2])[offsets[0] : offsets[-1]]


def unfit(names: Any) -> Any:
    """Which of a string array's names cannot be one column of a run file: bool[n]."""
    return pc.match_substring_regex(names, r"^#|^$|\s").to_numpy(zero_copy_only=False)


def _fit_for_a_column(names: Any) -> None:
    """Refuse a name that would not read back as one column."""
    bad = names.filter(pa.array(unfit(names)))
    if len(bad):
        raise TouchstoneError(
            f"'{bad[0].as_py()}' cannot stand in a run file", why="empty, white space or # in front"
        )


def _rankings(run: RunFile, items: Ints, numbers: Ints) -> Rankings:
    """Rankings of the queries whose item is not PAD, by item; numbers int32[n] are those of run.docs."""
    use = np.argsort(items, kind="stable")
    use = use[items[use] != PAD]
    sizes = np.diff(run.starts)[use]
    held = np.arange(sizes.max(initial=0)) < sizes[:, None]
    first = np.cumsum(sizes) - sizes
    at = np.arange(sizes.sum()) + np.repeat(run.starts[use] - first, sizes)
    docs, scores = np.full(held.shape, PAD, np.int32), np.full(held.shape, -np.inf, np.float32)
    docs[held], scores[held] = numbers[at], run.scores[at]
    return Rankings(items[use], docs, scores)


def _best_first(table: Columns) -> tuple[Ints, Any, Floats]:
    """Queries, documents and float32 scores of all lines, by query, score down and document text down."""
    queries, scores = table.queries, table.values.astype(np.float32)
    order = np.arange(len(queries))
    same = queries[1:] == queries[:-1]
    if not ((queries[1:] > queries[:-1]) | (same & (scores[1:] <= scores[:-1]))).all():
        order = np.lexsort((-scores, queries))
        queries, scores = queries[order], scores[order]
    after = np.concatenate(([False], (queries[1:] == queries[:-1]) & (scores[1:] == scores[:-1])))
    if after.any():
        tied = np.flatnonzero(after | np.append(after[1:], False))
        place = np.empty(len(tied), np.int64)
        place[pc.array_sort_indices(table.docs.take(order[tied])).to_numpy()] = np.arange(len(tied))
        order[tied] = order[tied[np.lexsort((-place, np.cumsum(~after)[tied]))]]
    docs = table.docs if (np.diff(order) == 1).all() else table.docs.take(order)
    return queries, docs, scores
