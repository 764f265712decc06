"""Corpora as memory-mapped Arrow: documents are integers, their texts are read when asked for."""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from harness.answers import Ints
from harness.errors import TouchstoneError
from harness.trec import unfit

BATCH = 8192
RELEASE = 1 << 28  # bytes of mapped pages read before they are given back to the system
READ_AHEAD = 1 << 17  # bytes that the system maps around a single read
SCHEMA = pa.schema([("id", pa.string()), ("title", pa.string()), ("text", pa.string())])


class Document(NamedTuple):
    """One document; where is the place it was read at, for messages."""

    id: str
    title: str
    text: str
    where: str


class MappedFile:
    """A file in the address space: what was read of it counts as the process's memory until given back."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as handle:
            self._map = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
        self._read = 0

    def table(self) -> pa.Table:
        """The Arrow file as a table over the mapped bytes."""
        return pa.ipc.open_file(pa.BufferReader(pa.py_buffer(self._map))).read_all()

    def read(self, size: int) -> None:
        """Book *size* bytes as read; give the pages back once RELEASE are reached. They can be read again."""
        self._read += size
        if self._read >= RELEASE and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
            self._read = 0


@dataclass(frozen=True, eq=False)
class Corpus:
    """n documents. digest covers ids, titles, texts and their order."""

    table: pa.Table
    digest: str
    file: MappedFile | None = None

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def ids(self, docs: Ints) -> list[str]:
        """The text ids of document numbers."""
        return self._taken(docs, "id")["id"]

    def all_ids(self) -> Iterator[str]:
        """Every id, in order, batch by batch."""
        for chunk in self.table.column("id").chunks:
            yield from chunk.to_pylist()

    def texts(self, start: int, stop: int) -> list[str]:
        """Title and text joined by a space, as BEIR joins them, of documents start..stop-1."""
        part = self.table.slice(start, stop - start)
        self._book(part.nbytes)
        return _joined(part.column("title").to_pylist(), part.column("text").to_pylist())

    def titles_and_texts(self, start: int, stop: int) -> list[tuple[str, str]]:
        """(title, text) of documents start..stop-1, apart."""
        part = self.table.slice(start, stop - start)
        self._book(part.nbytes)
        return list(zip(part.column("title").to_pylist(), part.column("text").to_pylist(), strict=True))

    def texts_of(self, docs: Ints) -> list[str]:
        """Title and text joined, of the given document numbers."""
        taken = self._taken(docs, "title", "text")
        return _joined(taken["title"], taken["text"])

    def find(self, ids: Sequence[str]) -> Ints:
        """Document numbers of text ids, -1 where there is none."""
        wanted = pa.array(ids, pa.string())
        found = np.full(len(ids), -1, np.int32)
        start = 0
        for chunk in self.table.column("id").chunks:
            rows = pc.index_in(wanted, value_set=chunk).to_numpy(zero_copy_only=False)
            hit = ~np.isnan(rows) if rows.dtype.kind == "f" else rows >= 0
            found[hit] = rows[hit].astype(np.int32) + start
            start += len(chunk)
        return found

    @cached_property
    def precedence(self) -> Ints:
        """int32[n]: the place of each document when all have the same score, by trec_eval's rule: the largest
        id (as text) comes first.
        """
        column = self.table.column("id")
        ids = pa.chunked_array([chunk.cast(pa.large_string()) for chunk in column.chunks], pa.large_string())
        places = np.empty(len(self), np.int32)
        order = pc.array_sort_indices(ids.combine_chunks(), order="descending").to_numpy()
        places[order] = np.arange(len(self), dtype=np.int32)
        return places

    @cached_property
    def _batches(self) -> list[pa.RecordBatch]:
        batches: list[pa.RecordBatch] = self.table.to_batches()
        return batches

    @cached_property
    def _starts(self) -> npt.NDArray[np.int64]:
        return np.cumsum([0, *(batch.num_rows for batch in self._batches)])[:-1]

    def _taken(self, docs: Ints, *names: str) -> dict[str, list[str]]:
        """Columns of the given documents. Batch by batch: Arrow's own take joins all batches first, which
        copies the whole column and fails beyond 2 GB of text.
        """
        order = np.argsort(docs, kind="stable")
        ends = np.searchsorted(docs[order], np.append(self._starts[1:], np.iinfo(np.int32).max), side="left")
        found: dict[str, list[str]] = {name: [""] * len(docs) for name in names}
        begin = 0
        for number in np.flatnonzero(np.diff(ends, prepend=0)).tolist():
            places = order[begin : ends[number]]
            begin = int(ends[number])
            batch = self._batches[number]
            part = batch.select(names).take(pa.array(docs[places] - self._starts[number]))
            self._book(min(len(places) * READ_AHEAD, batch.nbytes))
            for name in names:
                for place, value in zip(places.tolist(), part.column(name).to_pylist(), strict=True):
                    found[name][place] = value
        return found

    def _book(self, size: int) -> None:
        if self.file is not None:
            self.file.read(size)


def _joined(titles: list[str], texts: list[str]) -> list[str]:
    return [f"{title} {text}".strip() if title else text for title, text in zip(titles, texts, strict=True)]


def write_corpus(documents: Iterable[Document], folder: Path) -> None:
    """Stream *documents* to ``folder/corpus.arrow``; a repeated id is an error with both
    places, one that no run file could hold an error with its place.

    Memory is bounded: besides a batch, eight bytes a document are held to find repeated ids.
    """
    hasher = hashlib.sha256()
    hashes: list[np.ndarray[tuple[int], np.dtype[np.uint64]]] = []
    with pa.OSFile(str(folder / "corpus.arrow"), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
        for batch in _batches(documents):
            _refuse_ids(batch)
            for document in batch:
                hasher.update(b"\x1e".join(part.encode() for part in document[:3]) + b"\x1d")
            hashes.append(np.fromiter((_hash64(d.id) for d in batch), np.uint64, len(batch)))
            columns = [pa.array([d[i] for d in batch], pa.string()) for i in range(3)]
            writer.write_batch(pa.record_batch(columns, schema=SCHEMA))
    every = np.concatenate(hashes) if hashes else np.empty(0, np.uint64)
    if not len(every):
        raise TouchstoneError("the corpus holds no documents")
    values, counts = np.unique(every, return_counts=True)
    suspects = set(values[counts > 1].tolist())
    meta = {"digest": hasher.hexdigest()[:32], "documents": len(every), "suspects": sorted(suspects)}
    (folder / "corpus.json").write_text(json.dumps(meta))


def _refuse_ids(batch: list[Document]) -> None:
    """An id that no run file could hold is an error at import, not after hours of searching."""
    bad = np.flatnonzero(unfit(pa.array([document.id for document in batch], pa.string())))
    if len(bad):
        document = batch[bad[0]]
        raise TouchstoneError(
            f"document id '{document.id}' is empty, holds white space or begins with #",
            where=document.where,
            why="it could not stand in a run file",
            fix="give the document another id, there and in the judgements",
        )


def refuse_repeated(read: Callable[[], Iterable[Document]], folder: Path) -> None:
    """Second pass over the source, only when two ids share a hash: name the first id that comes twice."""
    meta = json.loads((folder / "corpus.json").read_text())
    suspects = set(meta["suspects"])
    if not suspects:
        return
    seen: dict[str, str] = {}
    for document in read():
        if _hash64(document.id) in suspects:
            if document.id in seen:
                first = seen[document.id]
                raise TouchstoneError(
                    f"document id '{document.id}' comes twice", where=document.where, why=f"first at {first}"
                )
            seen[document.id] = document.where


def read_corpus(folder: Path) -> Corpus:
    """The corpus of an asset folder, memory-mapped."""
    meta = json.loads((folder / "corpus.json").read_text())
    file = MappedFile(folder / "corpus.arrow")
    return Corpus(file.table(), meta["digest"], file)


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    for document in documents:
        batch.append(document)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _hash64(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
