"""The lines of TREC files as columns: quick readers for regular files, a careful one for all others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from harness.answers import Ints
from harness.errors import TouchstoneError

LARGE = 1 << 25  # bytes from which loading a compiled reader pays
WHOLE = re.compile(rb"[+-]?\d{1,9}")
BLOCK = 1 << 16  # lines looked at together: their arrays stay in the cache
MIX = np.uint64(0x9E3779B97F4A7C15)  # odd, with bits all over: 2^64 over the golden ratio
DECIMAL = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Layout:
    """A kind of file: how many columns, and where the wanted ones stand.

    tag -1: there is none and values are grades; more: further columns are allowed and ignored;
    header: the first line is one; tabs: only tabs separate.
    """

    columns: int
    query: int
    doc: int
    value: int
    tag: int = -1
    more: bool = False
    header: bool = False
    tabs: bool = False


RUN = Layout(6, query=0, doc=2, value=4, tag=5, more=True)
QRELS = Layout(4, query=0, doc=2, value=3)
BEIR_QRELS = Layout(3, query=0, doc=1, value=2, tabs=True)


class Row(NamedTuple):
    """What one line says."""

    line: int
    query: str
    doc: str
    value: float
    tag: str


@dataclass(frozen=True, eq=False)
class Columns:
    """n lines: queries int32[n] (positions in query_ids), docs large_string[n] (Arrow), values float64[n]."""

    queries: Ints
    query_ids: tuple[str, ...]
    docs: Any
    values: npt.NDArray[np.float64]
    tag: str


def read_columns(path: Path, layout: Layout) -> Columns:
    """The wanted columns of a plain, .gz or .zst file; a TouchstoneError names the file and line at fault.

    Judgements in BEIR's three columns are recognised by their first line.
    """
    data = _bytes(path)
    if layout is QRELS:
        layout = _qrels_layout(data)
    compiled = layout is RUN and len(data) >= LARGE and find_spec("numba") is not None
    table = (_compiled(data) if compiled else None) or _quick(data, layout) or _careful(path, data, layout)
    if not len(table.queries):
        raise TouchstoneError("the file holds no lines", where=str(path))
    if pair := _repeated(table):
        raise _repeat(path, data, layout, pair)
    return table


def _compiled(data: bytes) -> Columns | None:
    """By the compiled reader; None for a file that is not regular enough."""
    from harness.trec_numba import parse_run

    return parse_run(data)


def _repeated(table: Columns) -> tuple[str, str] | None:
    """A query and a document that stand together on two lines."""
    prints = _fingerprints(table.queries, table.docs)
    ordered = np.sort(prints)
    suspects = np.flatnonzero(np.isin(prints, ordered[1:][ordered[1:] == ordered[:-1]]))
    seen = set()
    for query, doc in zip(
        table.queries[suspects].tolist(), table.docs.take(suspects).to_pylist(), strict=True
    ):
        if (query, doc) in seen:
            return table.query_ids[query], doc
        seen.add((query, doc))
    return None


def _fingerprints(queries: Ints, docs: Any) -> npt.NDArray[np.uint64]:
    """uint64[n]: the same for equal pairs of query and document, and hardly ever for others.

    Several times faster than numbering millions of distinct texts: eight bytes of all of them at a time.
    """
    ends = np.frombuffer(docs.buffers()[1], np.int64)[docs.offset : docs.offset + len(docs) + 1]
    text = np.concatenate((np.frombuffer(docs.buffers()[2], np.uint8)[: ends[-1]], np.zeros(8, np.uint8)))
    words = np.ndarray(len(text) - 7, "<u8", text, strides=(1,))
    keep = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)
    prints = np.empty(len(docs), np.uint64)
    for start in range(0, len(docs), BLOCK):
        block = slice(start, start + BLOCK)
        at, lengths = ends[:-1][block], np.diff(ends[start : start + BLOCK + 1])
        mixed = queries[block].astype(np.uint64) * MIX
        for begin in range(0, int(lengths.max(initial=0)), 8):
            word = words[np.minimum(at + begin, len(words) - 1)]
            mixed = (mixed ^ (word & keep[np.clip(lengths - begin, 0, 8)])) * MIX
            mixed ^= mixed >> np.uint64(29)
        prints[block] = mixed
    return prints


def _bytes(path: Path) -> bytes:
    """The whole file, decompressed by its suffix."""
    try:
        with pa.input_stream(str(path), compression="detect") as stream:
            data: bytes = stream.read()
    except FileNotFoundError:
        raise TouchstoneError("there is no such file", where=str(path)) from None
    except OSError as problem:
        raise TouchstoneError("the file cannot be read", where=str(path), why=str(problem)) from problem
    return data


def _qrels_layout(data: bytes) -> Layout:
    """BEIR's layout when the first line that holds something has three tab-separated columns."""
    first = next((line for _, line in _lines(data)), b"").rstrip(b"\r").split(b"\t")
    if len(first) != BEIR_QRELS.columns:
        return QRELS
    return replace(BEIR_QRELS, header=not WHOLE.fullmatch(first[BEIR_QRELS.value].strip()))


def _lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and text of the lines that are neither blank nor comments."""
    start = number = 0
    while start < len(data):
        end = data.find(b"\n", start)
        line = data[start:] if end < 0 else data[start:end]
        start, number = start + len(line) + 1, number + 1
        if line.strip() and not line.lstrip().startswith(b"#"):
            yield number, line


def _quick(data: bytes, layout: Layout) -> Columns | None:
    """Arrow's parallel reader, for a file with one and the same delimiter throughout; None for any other."""
    tabs = layout.tabs or b"\t" in data[: data.find(b"\n")]
    delimiter, other = (b"\t", b" ") if tabs else (b" ", b"\t")
    comments = data[:1] == b"#" or (b"#" in data and b"\n#" in data)
    if (
        comments
        or delimiter * 2 in data
        or (not layout.tabs and any(c in data for c in (other, b"\v", b"\f")))
    ):
        return None
    names = [str(column) for column in range(layout.columns)]
    text = pa.dictionary(pa.int32(), pa.string())
    types = {str(layout.query): text, str(layout.doc): pa.large_string()}
    types[str(layout.value)] = pa.int32() if layout.tag < 0 else pa.float64()
    if layout.tag >= 0:
        types[str(layout.tag)] = text
    try:
        table = pacsv.read_csv(
            pa.BufferReader(data),
            pacsv.ReadOptions(column_names=names, skip_rows=int(layout.header), block_size=1 << 24),
            pacsv.ParseOptions(delimiter=delimiter.decode(), quote_char=False),
            pacsv.ConvertOptions(column_types=types, include_columns=list(types), null_values=[]),
        )
    except pa.ArrowInvalid:
        return None
    columns = _from_arrow(*(table[name] for name in types))
    empty = "" in columns.query_ids or pc.any(pc.equal(columns.docs, "")).as_py()
    usable = not empty and (columns.tag or layout.tag < 0) and _representable(columns.values)
    return columns if usable else None


def _careful(path: Path, data: bytes, layout: Layout) -> Columns:
    """Line by line: any white space, comments, text after the last column; the first bad line is an error."""
    rows = list(_rows(path, data, layout))
    queries, docs, tags = (pa.array([row[i] for row in rows], pa.large_string()) for i in (1, 2, 4))
    values = pa.array([row.value for row in rows], pa.float64())
    coded = [pa.chunked_array([column.dictionary_encode()]) for column in (queries, tags)]
    return _from_arrow(coded[0], pa.chunked_array([docs]), pa.chunked_array([values]), coded[1])


def _from_arrow(queries: Any, docs: Any, values: Any, tags: Any = None) -> Columns:
    """Chunked columns as numbers; queries and tags come dictionary-encoded."""
    if not len(queries):
        return Columns(np.empty(0, np.int32), (), pa.array([], pa.large_string()), np.empty(0), "")
    queries = queries.unify_dictionaries().combine_chunks()
    return Columns(
        queries.indices.to_numpy(),
        tuple(queries.dictionary.to_pylist()),
        docs.combine_chunks(),
        values.to_numpy().astype(np.float64),
        "" if tags is None else str(tags[-1].as_py()),
    )


def _representable(values: npt.NDArray[np.float64]) -> bool:
    """Whether all are finite as float32."""
    with np.errstate(over="ignore"):
        return bool(np.isfinite(values.astype(np.float32)).all())


def _rows(path: Path, data: bytes, layout: Layout) -> Iterator[Row]:
    """Every line that holds something, checked."""
    lines = _lines(data)
    if layout.header:
        next(lines)
    for number, line in lines:
        where = f"{path}:{number}"
        fields = line.rstrip(b"\r").split(b"\t") if layout.tabs else line.split()
        if len(fields) < layout.columns or (len(fields) > layout.columns and not layout.more):
            raise TouchstoneError(f"{len(fields)} columns where {layout.columns} are expected", where=where)
        value = fields[layout.value]
        if layout.tag < 0 and not WHOLE.fullmatch(value):
            raise TouchstoneError(
                f"grade '{value.decode(errors='replace')}' is not a whole number", where=where
            )
        if layout.tag >= 0 and not (DECIMAL.fullmatch(value) and _representable(np.array(float(value)))):
            raise TouchstoneError(
                f"score '{value.decode(errors='replace')}' is not a finite number", where=where
            )
        try:
            query, doc = fields[layout.query].decode(), fields[layout.doc].decode()
            tag = fields[layout.tag].decode() if layout.tag >= 0 else ""
        except UnicodeDecodeError as problem:
            raise TouchstoneError("the line is not UTF-8", where=where) from problem
        if not query or not doc:
            raise TouchstoneError("the query or document id is empty", where=where)
        yield Row(number, query, doc, float(value), tag)


def _repeat(path: Path, data: bytes, layout: Layout, pair: tuple[str, str]) -> TouchstoneError:
    """The error for a document that a query holds twice."""
    lines = [row.line for row in _rows(path, data, layout) if (row.query, row.doc) == pair]
    what = f"query '{pair[0]}' holds document '{pair[1]}' more than once"
    return TouchstoneError(what, where=f"{path}:{lines[1]}", why=f"first on line {lines[0]}")
