"""Learned-sparse retrieval: vectors over a vocabulary, an inverted index of their weights, exact search.

A document's score is the sum over the query's terms of query weight x document weight, in float32 and in the
order of the query's terms, by the numba loop (``harness.sparse_numba``) as by the numpy one: equal to the
last bit. Documents that share no term with a query are not ranked.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Self

import numpy as np

from harness.answers import PAD, Floats, Ints
from harness.assets import Asset
from harness.errors import TouchstoneError
from harness.models.batching import Progress
from harness.qrels import Longs
from harness.spec import Json
from harness.vectors import GetOrMake, TextCorpus

SHARD = 4096  # documents encoded between two writes: what an interruption loses at most
POSTINGS = 1 << 25  # inverted at a time: about 1 GB of memory
INDEX_FORMAT = 1  # raise when the files or the order of their contents change


@dataclass(frozen=True, eq=False)
class SparseRows:
    """n vectors: row i has terms[starts[i]:starts[i+1]] (int32, from 0) with as many weights (float32 > 0).

    Terms that a row repeats count by the sum of their weights; ``starts`` begins with 0.
    """

    starts: Longs
    terms: Ints
    weights: Floats

    def __len__(self) -> int:
        return len(self.starts) - 1

    @classmethod
    def of(cls, rows: Iterable[Mapping[int, float]]) -> Self:
        """From a mapping of terms to weights a row."""
        listed = [([*row.keys()], [*row.values()]) for row in rows]
        sizes = [len(terms) for terms, _ in listed]
        terms = np.array([term for row, _ in listed for term in row], np.int32)
        weights = np.array([weight for _, row in listed for weight in row], np.float32)
        return cls(np.concatenate(([0], np.cumsum(sizes, dtype=np.int64))), terms, weights)

    @classmethod
    def from_dense(cls, matrix: Floats) -> Self:
        """From float32[n, v]: what is not 0."""
        rows, terms = np.nonzero(matrix)
        starts = np.searchsorted(rows, np.arange(len(matrix) + 1)).astype(np.int64)
        return cls(starts, terms.astype(np.int32), matrix[rows, terms].astype(np.float32))

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """The rows of all parts, in order."""
        sizes = np.concatenate([np.diff(part.starts) for part in parts])
        terms = np.concatenate([part.terms for part in parts])
        weights = np.concatenate([part.weights for part in parts])
        return cls(np.concatenate(([0], np.cumsum(sizes, dtype=np.int64))), terms, weights)

    def row(self, number: int) -> tuple[Ints, Floats]:
        """(terms, weights) of a row."""
        part = slice(int(self.starts[number]), int(self.starts[number + 1]))
        return self.terms[part], self.weights[part]

    def quantised(self, scale: float) -> Self:
        """Whole weights, round(weight x scale), without those that become 0: what Lucene's impacts are."""
        weights = np.rint(self.weights * np.float32(scale)).astype(np.float32)
        return type(self)(self.starts, self.terms, weights).checked("quantised weights")

    def merged(self) -> Self:
        """Every term at most once in a row, with the sum of its weights."""
        from scipy.sparse import csr_array

        shape = (len(self), int(self.terms.max(initial=-1)) + 1)
        matrix = csr_array((self.weights, self.terms, self.starts), shape=shape)
        if not matrix.has_canonical_format:
            matrix = matrix.copy()
            matrix.sum_duplicates()
        terms, weights = matrix.indices.astype(np.int32), matrix.data.astype(np.float32)
        return type(self)(matrix.indptr.astype(np.int64), terms, weights)

    def checked(self, where: str) -> Self:
        """Without weights of 0; one that is negative or not finite, or a negative term, is an error."""
        if len(self.terms) != len(self.weights) or (len(self.starts) and self.starts[-1] != len(self.terms)):
            raise TouchstoneError("terms and weights differ in number", where=where)
        bad = np.flatnonzero(~np.isfinite(self.weights) | (self.weights < 0) | (self.terms < 0))
        if len(bad):
            row = int(np.searchsorted(self.starts, bad[0], side="right")) - 1
            raise TouchstoneError(
                f"term {self.terms[bad[0]]} has weight {self.weights[bad[0]]}",
                where=f"{where}, row {row}",
                why=f"{len(bad)} weights or terms are negative or not finite",
            )
        keep = self.weights > 0
        if keep.all():
            return self
        starts = np.concatenate(([0], np.cumsum(keep)))[self.starts]
        return type(self)(starts.astype(np.int64), self.terms[keep], self.weights[keep])


@dataclass(frozen=True, eq=False)
class SparseIndex:
    """Term t stands in docs[starts[t]:starts[t+1]] (int32, ascending) with weights float32."""

    n_docs: int
    starts: Longs
    docs: Ints
    weights: Floats

    @property
    def n_terms(self) -> int:
        """One more than the largest term."""
        return len(self.starts) - 1

    def rows(self, start: int, stop: int) -> SparseRows:
        """The vectors of documents start..stop-1; one pass over the whole index."""
        from scipy.sparse import csc_array

        use = (self.docs >= start) & (self.docs < stop)
        starts = np.concatenate(([0], np.cumsum(use)))[self.starts]
        parts = (self.weights[use], self.docs[use] - start, starts)
        matrix = csc_array(parts, shape=(stop - start, self.n_terms)).tocsr()
        return SparseRows(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), matrix.data)


class Vocabulary(dict[str, int]):
    """Numbers of terms that are strings, in order of appearance."""

    def numbers(self, terms: Iterable[str]) -> list[int]:
        """A number for each term; new terms get the next ones."""
        return [self.setdefault(term, len(self)) for term in terms]

    def known(self, terms: Iterable[str]) -> list[int]:
        """The numbers of the terms that have one."""
        return [self[term] for term in terms if term in self]


def corpus_index(
    encode: Callable[[Sequence[str]], SparseRows],
    corpus: TextCorpus,
    key: dict[str, Json],
    get: GetOrMake,
    progress: Progress | None = None,
) -> tuple[SparseIndex, Asset]:
    """The index of a corpus from the cache, or made now from what *encode* says of SHARD texts at a time.

    key: all that can change a weight (model, revision, precision, scale...); the corpus is added. get:
    ``Assets.get_or_make`` or ``Context.asset``. An interrupted attempt loses the shard it was at.
    """
    full: dict[str, Json] = {**key, "corpus": corpus.digest, "format": INDEX_FORMAT}

    def make(folder: Path) -> float:
        shards = folder / "shards"
        shards.mkdir(exist_ok=True)
        names = []
        for start in range(0, len(corpus), SHARD):
            stop = min(start + SHARD, len(corpus))
            names.append(shards / f"{start:010}-{stop:010}.npz")
            if not names[-1].exists():
                begin = time.perf_counter()
                rows = encode(corpus.texts(start, stop))
                if len(rows) != stop - start:
                    raise TouchstoneError(f"{len(rows)} sparse vectors of {stop - start} texts")
                _write_shard(names[-1], rows.checked(f"documents {start} to {stop - 1}"), begin)
            if progress is not None:
                progress(stop, len(corpus))
        begin = time.perf_counter()
        _invert(names, folder)
        seconds = time.perf_counter() - begin
        seconds += sum(float(np.load(name)["seconds"]) for name in names)
        shutil.rmtree(shards)
        return seconds

    asset = get("sparse", full, make)
    return open_sparse(asset.path), asset


def build_sparse(rows: Iterable[SparseRows], folder: Path) -> SparseIndex:
    """Index blocks of documents, numbered in the order they come; memory is that of a block and POSTINGS."""
    shards, names = folder / "shards", list[Path]()
    shutil.rmtree(shards, ignore_errors=True)
    shards.mkdir(parents=True)
    for number, block in enumerate(rows):
        names.append(shards / f"{number:010}.npz")
        _write_shard(names[-1], block.checked(f"block {number}"), time.perf_counter())
    _invert(names, folder)
    shutil.rmtree(shards)
    return open_sparse(folder)


def open_sparse(folder: Path) -> SparseIndex:
    """The index that ``build_sparse`` left in *folder*, memory-mapped."""
    try:
        meta = json.loads((folder / "sparse.json").read_text())
        starts, docs, weights = (
            np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r"))
            for name in ("starts", "docs", "weights")
        )
    except (OSError, ValueError) as error:
        raise TouchstoneError("not a finished sparse index", where=str(folder), why=str(error)) from error
    return SparseIndex(int(meta["documents"]), starts, docs, weights)


def _write_shard(name: Path, rows: SparseRows, begin: float) -> None:
    """Write a shard; its name appears last, so that a shard that is there is complete."""
    rows, partial = rows.merged(), name.with_suffix(".tmp")
    with partial.open("wb") as sink:
        seconds = time.perf_counter() - begin
        np.savez(sink, starts=rows.starts, terms=rows.terms, weights=rows.weights, seconds=np.array(seconds))
    partial.rename(name)


def _groups(names: Sequence[Path]) -> Iterator[SparseRows]:
    """The shards' rows, as many together as hold about POSTINGS weights."""
    held: list[SparseRows] = []
    for name in names:
        with np.load(name) as shard:
            held.append(SparseRows(shard["starts"], shard["terms"], shard["weights"]))
        if sum(len(rows.terms) for rows in held) >= POSTINGS:
            yield SparseRows.concatenate(held)
            held = []
    if held:
        yield SparseRows.concatenate(held)


def _invert(names: Sequence[Path], folder: Path) -> None:
    """From shards of documents to the lists of terms: group by group into files as large as the whole."""
    from scipy.sparse import csr_array

    sizes, documents = np.zeros(0, np.int64), 0
    for rows in _groups(names):
        found = np.bincount(rows.terms, minlength=len(sizes))
        found[: len(sizes)] += sizes
        sizes, documents = found, documents + len(rows)
    if not documents:
        raise TouchstoneError("there are no documents to index", where=str(folder))
    starts = np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))
    docs = np.lib.format.open_memmap(folder / "docs.npy", "w+", np.int32, (int(starts[-1]),))
    weights = np.lib.format.open_memmap(folder / "weights.npy", "w+", np.float32, docs.shape)
    place, first = starts[:-1].copy(), 0
    for rows in _groups(names):
        parts = (rows.weights, rows.terms, rows.starts)
        by_term = csr_array(parts, shape=(len(rows), len(sizes))).tocsc()
        at = np.repeat(place - by_term.indptr[:-1], np.diff(by_term.indptr))
        at += np.arange(len(at))
        docs[at], weights[at] = by_term.indices + first, by_term.data
        place += np.diff(by_term.indptr)
        first += len(rows)
    docs.flush()
    weights.flush()
    np.save(folder / "starts.npy", starts)
    (folder / "sparse.json").write_text(json.dumps({"documents": documents}))


def search_sparse(
    index: SparseIndex, queries: SparseRows, k: int, precedence: Ints | None = None
) -> tuple[Ints, Floats]:
    """(document numbers int32[q, k], scores float32[q, k]), best first; PAD and -inf where fewer match.

    precedence int32[n_docs], as ``Corpus.precedence``: of documents with the same score those with the lower
    number come first, at the cut too; without it the lower document number. Query terms that no document has
    are ignored. Uses numba when it is installed.
    """
    queries = queries.checked("queries")
    order = np.arange(index.n_docs, dtype=np.int32) if precedence is None else precedence
    if find_spec("numba") is None:
        return search_plain(index, queries, k, order)
    from harness.sparse_numba import search_compiled

    return search_compiled(index, queries, k, order)


def search_plain(index: SparseIndex, queries: SparseRows, k: int, precedence: Ints) -> tuple[Ints, Floats]:
    """``search_sparse`` by numpy alone: what the compiled loop is held to."""
    docs = np.full((len(queries), k), PAD, np.int32)
    found = np.full((len(queries), k), -np.inf, np.float32)
    for row in range(len(queries)):
        scores = np.zeros(index.n_docs, np.float32)
        for term, weight in zip(*queries.row(row), strict=True):
            if term < index.n_terms:
                part = slice(int(index.starts[term]), int(index.starts[term + 1]))
                scores[index.docs[part]] += weight * index.weights[part]
        best = _best(scores, k, precedence)
        docs[row, : len(best)], found[row, : len(best)] = best, scores[best]
    return docs, found


def _best(scores: Floats, k: int, precedence: Ints) -> Longs:
    """At most k documents of a score above 0: score down, then precedence up."""
    matched = np.flatnonzero(scores > 0)
    if len(matched) > k:
        least = np.partition(scores[matched], len(matched) - k)[len(matched) - k]
        matched = matched[scores[matched] >= least]
    order: Longs = matched[np.lexsort((precedence[matched], -scores[matched]))][:k]
    return order
