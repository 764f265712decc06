"""Vectors of texts as assets: every distinct text encoded once, longest first over the whole corpus.

Work goes shard by shard, and a shard that is on disk is never encoded again: an attempt that was cut, by an
error or by ``kill -9``, loses the shard it was at. Memory holds one shard and 28 bytes a text.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from harness.answers import Ints
from harness.assets import Asset, Make
from harness.models.batching import Progress
from harness.models.encoder import Encoder
from harness.models.profile import Role
from harness.spec import Json, digest

CODE_VERSION = 2  # raise when a change here can move a vector
SHARD = 2048  # distinct texts: what an interruption loses at most
READ = 50_000  # texts read at once
TEXT_DIGEST = 16  # bytes

GetOrMake = Callable[[str, dict[str, Json], Make], Asset]
Vectors = np.memmap[Any, np.dtype[np.float32]]


class TextCorpus(Protocol):
    """What is needed of a corpus."""

    @property
    def digest(self) -> str:
        """Digest of ids, texts and order."""

    def __len__(self) -> int:
        """Number of documents."""

    def texts(self, start: int, stop: int) -> Sequence[str]:
        """Title and text joined, of documents start..stop-1."""


class PickedCorpus(TextCorpus, Protocol):
    """A corpus that can be read in any order."""

    def texts_of(self, docs: Ints) -> Sequence[str]:
        """The same of the given documents."""


@dataclass(frozen=True)
class ListedTexts:
    """Texts in memory, as a corpus."""

    listed: Sequence[str]

    @property
    def digest(self) -> str:
        """Of the texts in their order."""
        return digest(list(self.listed), 32)

    def __len__(self) -> int:
        return len(self.listed)

    def texts(self, start: int, stop: int) -> Sequence[str]:
        """Texts start..stop-1."""
        return self.listed[start:stop]

    def texts_of(self, docs: Ints) -> Sequence[str]:
        """The given texts."""
        return [self.listed[doc] for doc in docs.tolist()]


def vectors_key(encoder: Mapping[str, Json], corpus: TextCorpus, role: Role = "document") -> dict[str, Json]:
    """The key of the vectors of a corpus in a role: the whole identity of an encoder except what it puts
    before texts of the other role, which changes none of these.
    """
    other = "query_prompt" if role == "document" else "document_prompt"
    used = {name: value for name, value in encoder.items() if name != other}
    return {"encoder": used, "corpus": corpus.digest, "role": role, "code": CODE_VERSION}


def corpus_vectors(
    encoder: Encoder, corpus: PickedCorpus, get: GetOrMake, progress: Progress | None = None
) -> tuple[Vectors, Asset]:
    """(float32[n, d] on disk, asset) of all documents, from the cache or encoded now.

    get: ``Assets.get_or_make`` or ``Context.asset``. The asset's seconds cover all attempts. progress gets
    distinct texts: done, all.
    """
    return _vectors(encoder, corpus, "document", get, progress)


def query_vectors(encoder: Encoder, queries: Sequence[str], get: GetOrMake) -> tuple[Vectors, Asset]:
    """The same of queries: float32[len(queries), d]."""
    return _vectors(encoder, ListedTexts(queries), "query", get, None)


def _vectors(
    encoder: Encoder, corpus: PickedCorpus, role: Role, get: GetOrMake, progress: Progress | None
) -> tuple[Vectors, Asset]:
    def make(folder: Path) -> float:
        return _Encoding(encoder, corpus, role, folder).make(progress)

    asset = get("vectors", vectors_key(encoder.identity, corpus, role), make)
    return cast(Vectors, np.load(asset.path / "vectors.npy", mmap_mode="r")), asset


@dataclass(frozen=True)
class _Encoding:
    """The making of one asset in its folder."""

    encoder: Encoder
    corpus: PickedCorpus
    role: Role
    folder: Path

    def make(self, progress: Progress | None) -> float:
        """Write ``vectors.npy``, going on from what is there. Returns the seconds of all attempts."""
        joined, total = self.folder / "vectors.npy", self.folder / "seconds.json"
        if not joined.exists():
            begin = time.perf_counter()
            order = self._order()
            seconds = time.perf_counter() - begin
            names = [self._shard(order, start, progress) for start in range(0, len(order.first), SHARD)]
            begin = time.perf_counter()
            self._join(order, names, joined.with_suffix(".tmp"))
            seconds += sum(_read_seconds(name.with_suffix(".json")) for name in names)
            _write_seconds(total, seconds + time.perf_counter() - begin)
            joined.with_suffix(".tmp").rename(joined)
        shutil.rmtree(self.folder / "shards", ignore_errors=True)
        (self.folder / "order.npz").unlink(missing_ok=True)
        return _read_seconds(total)

    def _order(self) -> _Order:
        """As an earlier attempt found it, or found now."""
        path = self.folder / "order.npz"
        if not path.exists():
            found = _find_order(self.corpus)
            with path.with_suffix(".tmp").open("wb") as handle:
                np.savez(handle, first=found.first, place=found.place)
                handle.flush()
                os.fsync(handle.fileno())
            path.with_suffix(".tmp").rename(path)
        with np.load(path) as held:
            return _Order(held["first"], held["place"])

    def _shard(self, order: _Order, start: int, progress: Progress | None) -> Path:
        """Encode texts start..start+SHARD-1 of the order; the shard's name appears last, whole."""
        shards = self.folder / "shards"
        stop = min(start + SHARD, len(order.first))
        name = shards / f"{start:010}-{stop:010}.npy"
        if not name.exists():
            begin = time.perf_counter()
            shards.mkdir(exist_ok=True)
            vectors = self.encoder.encode(self.corpus.texts_of(order.first[start:stop]), self.role)
            with name.with_suffix(".tmp").open("wb") as handle:
                np.save(handle, vectors)
                handle.flush()
                os.fsync(handle.fileno())
            _write_seconds(name.with_suffix(".json"), time.perf_counter() - begin)
            name.with_suffix(".tmp").rename(name)
        if progress is not None:
            progress(stop, len(order.first))
        return name

    def _join(self, order: _Order, names: Sequence[Path], path: Path) -> None:
        """Every shard's vectors to the places of the texts that they are of."""
        shape = (len(self.corpus), self.encoder.dimension)
        out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
        by_place = np.argsort(order.place, kind="stable")
        ends = np.searchsorted(order.place[by_place], np.arange(len(names) + 1) * SHARD)
        for number, name in enumerate(names):
            # Document order: rows of the file are written forwards.
            docs = np.sort(by_place[ends[number] : ends[number + 1]])
            shard = np.load(name)
            for part in np.array_split(docs, 1 + len(docs) // READ):
                out[part] = shard[order.place[part] - number * SHARD]
        out.flush()


@dataclass(frozen=True, eq=False)
class _Order:
    """In which order distinct texts are encoded: first int32[m], a document that has the text, longest first;
    place int32[n]: each document's text in that order.
    """

    first: Ints
    place: Ints


def _find_order(corpus: PickedCorpus) -> _Order:
    """Equal texts are found by digest; the length is that in characters, which needs no tokenizer."""
    digests = np.empty(len(corpus), f"V{TEXT_DIGEST}")
    lengths = np.empty(len(corpus), np.int32)
    for start in range(0, len(corpus), READ):
        texts = corpus.texts(start, min(start + READ, len(corpus)))
        kept = b"".join(
            blake2b(text.encode("utf-8", "surrogatepass"), digest_size=TEXT_DIGEST).digest() for text in texts
        )
        digests[start : start + len(texts)] = np.frombuffer(kept, digests.dtype)
        lengths[start : start + len(texts)] = [len(text) for text in texts]
    halves = digests.view(np.uint64).reshape(-1, 2)
    by_text = np.lexsort((halves[:, 0], halves[:, 1]))  # stable: equal texts in document order
    ordered = halves[by_text]
    new = np.ones(len(corpus), bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    first = by_text[new]
    longest = np.lexsort((first, -lengths[first]))
    place_of = np.empty(len(first), np.int32)
    place_of[longest] = np.arange(len(first), dtype=np.int32)
    place = np.empty(len(corpus), np.int32)
    place[by_text] = place_of[np.cumsum(new) - 1]
    return _Order(first[longest].astype(np.int32), place)


def _write_seconds(path: Path, seconds: float) -> None:
    path.write_text(json.dumps({"seconds": round(seconds, 4)}))


def _read_seconds(path: Path) -> float:
    return float(json.loads(path.read_text())["seconds"])
