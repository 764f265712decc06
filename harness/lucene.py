"""BM25 and impact indexes by Lucene: Anserini's own programs, run on the jar that pyserini carries.

They run as a subprocess; pyserini is never imported. Scores are Lucene's float32 as Anserini prints them,
with six decimals: scores that differ by less than 1e-6 may come back equal. By default Anserini rounds scores
to 1e-4 and lowers tied ones by 1e-6 a place, so that its own tie order (document id up) shows as score order;
it is told not to (``-arbitraryScoreTieBreak``), so equal scores here are Lucene's ties, which Lucene takes in
index order.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, get_args

import numpy as np

from harness.answers import PAD, Floats, Ints
from harness.errors import MissingExtra, TouchstoneError, unknown
from harness.java import Program, find_java, heap_bytes, run_java

Stemmer = Literal["porter", "krovetz", "none"]
Text = str | dict[str, int]

BATCH = 1_000
FILE_DOCUMENTS = 20_000
MOST_BUFFER_MB = 1_900  # Lucene flushes a thread's buffer at 1,945 MB whatever it is told


@dataclass(frozen=True)
class Anserini:
    """Anserini's jar and its version."""

    jar: Path
    version: str


@dataclass(frozen=True)
class IndexSpec:
    """How documents are indexed. doc_vectors: keep what RM3 needs (the index is about twice as large).
    impact: documents and queries are tokens with whole weights, whose products add up to the score.

    With one thread, documents stand in the index in the order given, so that of documents tied at the end of
    a ranking always the first are returned. More threads are faster, and leave to timing which are returned.
    """

    stemmer: Stemmer = "porter"
    keep_stopwords: bool = False
    doc_vectors: bool = False
    threads: int = 1
    impact: bool = False

    def __post_init__(self) -> None:
        if self.stemmer not in get_args(Stemmer):
            raise unknown("stemmer", self.stemmer, get_args(Stemmer))
        if self.impact and self.doc_vectors:
            raise TouchstoneError("an impact index holds no document vectors for RM3")


@dataclass(frozen=True)
class Index:
    """A finished index. documents: how many were given; empty: how many of them are blank and never found."""

    folder: Path
    spec: IndexSpec
    documents: int
    empty: int


@dataclass(frozen=True)
class Rm3:
    """RM3 query expansion: feedback documents and terms, and the weight of the original query."""

    documents: int = 10
    terms: int = 10
    original_weight: float = 0.5


@dataclass(frozen=True)
class SearchSpec:
    """k: documents a query; k1 and b of BM25; threads: 0 for one a core."""

    k: int = 1000
    k1: float = 0.9
    b: float = 0.4
    rm3: Rm3 | None = None
    threads: int = 0


def find_anserini() -> Anserini:
    """The jar inside the installed pyserini, found without importing it."""
    package = find_spec("pyserini")
    if package is None:
        raise MissingExtra("bm25-lucene", "pyserini", "lucene")
    for location in package.submodule_search_locations or ():
        for jar in sorted(Path(location).glob("resources/jars/anserini-*-fatjar.jar"), reverse=True):
            return Anserini(jar, jar.name.removeprefix("anserini-").removesuffix("-fatjar.jar"))
    raise TouchstoneError(
        "the installed pyserini has no Anserini jar",
        where=str(package.origin),
        fix="pip install --force-reinstall pyserini",
    )


def build_index(documents: Iterable[tuple[str, Text]], folder: Path, spec: IndexSpec) -> Index:
    """Index (id, text) pairs into *folder*; ids are whole numbers as text. Texts go by way of disk.

    For an impact index a text is a mapping of tokens to whole weights. An error when Anserini did not index
    every document that holds text.
    """
    for left_over in folder.glob(
        "work-*"
    ):  # of a builder that was killed; a child of it may still be writing there
        shutil.rmtree(left_over, ignore_errors=True)
    with TemporaryDirectory(prefix="work-", dir=folder) as name:
        work = Path(name)
        given = _write_documents(documents, work / "documents", spec.threads)
        if not given:
            raise TouchstoneError("there are no documents to index", where=str(folder))
        out = run_java(find_java(), Program(find_anserini().jar, *_index_program(spec), work))
        empty = _count_empty(out, given)
        shutil.rmtree(folder / "lucene", ignore_errors=True)
        (work / "lucene").rename(folder / "lucene")
    (folder / "index.json").write_text(json.dumps({"spec": asdict(spec), "documents": given, "empty": empty}))
    return Index(folder, spec, given, empty)


def open_index(folder: Path) -> Index:
    """The index that ``build_index`` left in *folder*."""
    try:
        meta = json.loads((folder / "index.json").read_text())
        return Index(folder, IndexSpec(**meta["spec"]), int(meta["documents"]), int(meta["empty"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TouchstoneError("not a finished Lucene index", where=str(folder), why=str(error)) from error


def _write_documents(documents: Iterable[tuple[str, Text]], folder: Path, threads: int) -> int:
    """Write JSON lines and count them: one file for one thread, which keeps the order, else many to share."""
    folder.mkdir()
    given, remaining = 0, iter(documents)
    per_file = FILE_DOCUMENTS if threads > 1 else sys.maxsize
    for number in range(sys.maxsize):
        written = _write_file(islice(remaining, per_file), folder / f"{number:06d}.jsonl")
        given += written
        if written < per_file:
            break
    return given


def _write_file(documents: Iterator[tuple[str, Text]], path: Path) -> int:
    # A lone surrogate becomes '?': at the end of a text it makes Lucene's tokenizer lose the whole text.
    written = 0
    with path.open("w", encoding="utf-8", errors="replace", newline="\n") as sink:
        while batch := list(islice(documents, BATCH)):
            sink.writelines(
                _line({"id": name, "contents" if isinstance(text, str) else "vector": text})
                for name, text in batch
            )
            written += len(batch)
    return written


def _line(fields: dict[str, Text]) -> str:
    return json.dumps(fields, ensure_ascii=False) + "\n"


def _index_program(spec: IndexSpec) -> tuple[str, tuple[str, ...]]:
    buffer = min(MOST_BUFFER_MB, heap_bytes() // 2 >> 20)
    collection = "JsonVectorCollection" if spec.impact else "JsonCollection"
    arguments = ["-collection", collection, "-generator", "DefaultLuceneDocumentGenerator"]
    arguments += ["-input", "documents", "-index", "lucene", "-stemmer", spec.stemmer]
    arguments += ["-threads", str(spec.threads), "-memoryBuffer", str(buffer)]
    arguments += ["-keepStopwords"] if spec.keep_stopwords else []
    arguments += ["-storeDocvectors"] if spec.doc_vectors else []
    arguments += ["-impact", "-pretokenized"] if spec.impact else []
    return "io.anserini.index.IndexCollection", tuple(arguments)


def _count_empty(out: str, given: int) -> int:
    """How many documents Anserini left out for being blank, from the counters at the end of its log."""
    found = re.findall(r" - (indexed|unindexable|empty|skipped|errors): +([\d,]+)$", out, re.MULTILINE)
    counts = {name: int(number.replace(",", "")) for name, number in found}
    indexed, empty = counts.get("indexed", 0), counts.get("empty", 0)
    if indexed + empty != given:
        told = ", ".join(f"{name} {number}" for name, number in counts.items()) or "no counts"
        raise TouchstoneError(f"Anserini indexed {indexed} of {given} documents", why=told)
    return empty


def search(index: Index, queries: Sequence[str], spec: SearchSpec) -> tuple[Ints, Floats]:
    """The best documents of every query in one start of Java: docs int32[q, k] and scores float32[q, k].

    Best first, tied documents in index order, padded with PAD and -inf; a query of which nothing is left
    without stop words has an empty row. docs are the ids given to ``build_index``.
    """
    if spec.rm3 is not None and not index.spec.doc_vectors:
        raise TouchstoneError(
            "RM3 needs document vectors", where=str(index.folder), fix="build with doc_vectors=True"
        )
    if not queries:
        return np.empty((0, spec.k), np.int32), np.empty((0, spec.k), np.float32)
    with TemporaryDirectory(prefix="touchstone-lucene-") as name:
        work = Path(name)
        with (work / "queries.jsonl").open("w", encoding="utf-8", errors="replace", newline="\n") as sink:
            sink.writelines(_line({"id": str(row), "title": query}) for row, query in enumerate(queries))
        try:
            run_java(find_java(), Program(find_anserini().jar, *_search_program(index, spec), work))
        except TouchstoneError as error:
            raise _named(error, queries) from error
        return _read_run(work / "run.txt", len(queries), spec.k)


def _named(error: TouchstoneError, queries: Sequence[str]) -> TouchstoneError:
    """Lucene's limit of 1,024 terms a query, told with the query; any other error as it is."""
    if "TooManyClauses" not in error.why:
        return error
    longest = max(queries, key=lambda query: len(set(query.split())))
    where = f"query '{longest[:60]}...'"
    return TouchstoneError(
        "more than 1,024 different terms, which Lucene refuses", where=where, fix="shorten the query"
    )


def _search_program(index: Index, spec: SearchSpec) -> tuple[str, tuple[str, ...]]:
    arguments = ["-index", str((index.folder / "lucene").resolve()), "-topics", "queries.jsonl"]
    arguments += ["-topicReader", "JsonString", "-output", "run.txt", "-runtag", "t", "-quiet"]
    arguments += ["-hits", str(spec.k), "-arbitraryScoreTieBreak", "-threads", str(spec.threads or _cores())]
    arguments += ["-stemmer", index.spec.stemmer]
    arguments += ["-keepStopwords"] if index.spec.keep_stopwords else []
    if index.spec.impact:
        return "io.anserini.search.SearchCollection", (*arguments, "-impact", "-pretokenized")
    arguments += ["-bm25", "-bm25.k1", str(spec.k1), "-bm25.b", str(spec.b)]
    if spec.rm3 is not None:
        arguments += ["-rm3", "-rm3.fbDocs", str(spec.rm3.documents), "-rm3.fbTerms", str(spec.rm3.terms)]
        arguments += ["-rm3.originalQueryWeight", str(spec.rm3.original_weight)]
        arguments += [
            "-rerankCutoff",
            str(max(50, spec.rm3.documents)),
        ]  # what feedback documents are taken from
    return "io.anserini.search.SearchCollection", tuple(arguments)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _read_run(path: Path, n_queries: int, k: int) -> tuple[Ints, Floats]:
    """Rows in the order of the file: Lucene's, which the printed scores follow."""
    from pyarrow import csv, float32, int32

    docs, scores = np.full((n_queries, k), PAD, np.int32), np.full((n_queries, k), -np.inf, np.float32)
    if not path.stat().st_size:
        return docs, scores
    names = ["query", "q0", "doc", "rank", "score", "tag"]
    wanted = {"query": int32(), "doc": int32(), "rank": int32(), "score": float32()}
    table = csv.read_csv(
        path,
        csv.ReadOptions(column_names=names),
        csv.ParseOptions(delimiter=" ", quote_char=False),
        csv.ConvertOptions(column_types=wanted, include_columns=list(wanted)),
    )
    query, doc, rank, score = (table[name].to_numpy() for name in wanted)
    docs[query, rank - 1] = doc
    scores[query, rank - 1] = score
    return docs, scores
