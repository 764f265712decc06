"""Vectors of a whole corpus as an asset."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from harness.assets import Asset, Make
from harness.models.batching import Progress
from harness.models.encoder import Encoder
from harness.spec import Json

# Documents of a shard: what an interruption loses at most. Sorting by length inside a shard instead of over
# the whole corpus costs 0.2 % more padding on a processor (SciFact) and needs no second pass over the texts.
SHARD = 2048

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


def vectors_key(encoder: Mapping[str, Json], corpus: TextCorpus) -> dict[str, Json]:
    """The key of the vectors of a corpus: an encoder's identity without what it puts before queries, which
    changes no document's vector.
    """
    used = {name: value for name, value in encoder.items() if name != "query_prompt"}
    return {"encoder": used, "corpus": corpus.digest, "role": "document"}


def corpus_vectors(
    encoder: Encoder, corpus: TextCorpus, get: GetOrMake, progress: Progress | None = None
) -> tuple[Vectors, Asset]:
    """(float32[n, d] on disk, asset) of all documents, from the cache or encoded now.

    get: ``Assets.get_or_make`` or ``Context.asset``. The asset's seconds cover all attempts; an
    interrupted one loses the shard it was at.
    """
    key = vectors_key(encoder.identity, corpus)
    asset = get("vectors", key, lambda folder: _encode_shards(encoder, corpus, folder, progress))
    return cast(Vectors, np.load(asset.path / "vectors.npy", mmap_mode="r")), asset


def _encode_shards(encoder: Encoder, corpus: TextCorpus, folder: Path, progress: Progress | None) -> float:
    shards, joined, total = folder / "shards", folder / "vectors.npy", folder / "seconds.json"
    if not joined.exists():
        shards.mkdir(exist_ok=True)
        starts = range(0, len(corpus), SHARD)
        names = [shards / f"{start:010}-{min(start + SHARD, len(corpus)):010}.npy" for start in starts]
        for start, name in zip(starts, names, strict=True):
            stop = min(start + SHARD, len(corpus))
            if not name.exists():
                _encode_shard(encoder, corpus.texts(start, stop), name)
            if progress is not None:
                progress(stop, len(corpus))
        begin = time.perf_counter()
        _join(names, (len(corpus), encoder.dimension), joined.with_suffix(".tmp"))
        seconds = sum(_read_seconds(name.with_suffix(".json")) for name in names)
        _write_seconds(total, seconds + time.perf_counter() - begin)
        joined.with_suffix(".tmp").rename(joined)
    shutil.rmtree(shards, ignore_errors=True)
    return _read_seconds(total)


def _encode_shard(encoder: Encoder, texts: Sequence[str], name: Path) -> None:
    """Write one shard; its name appears last, so that a shard that is there is complete."""
    begin = time.perf_counter()
    vectors = encoder.encode(texts, "document")
    partial = name.with_suffix(".tmp")
    with partial.open("wb") as handle:
        np.save(handle, vectors)
        handle.flush()
        os.fsync(handle.fileno())
    _write_seconds(name.with_suffix(".json"), time.perf_counter() - begin)
    partial.rename(name)


def _join(names: Sequence[Path], shape: tuple[int, int], path: Path) -> None:
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    start = 0
    for name in names:
        shard = np.load(name, mmap_mode="r")
        out[start : start + len(shard)] = shard
        start += len(shard)
    out.flush()


def _write_seconds(path: Path, seconds: float) -> None:
    path.write_text(json.dumps({"seconds": round(seconds, 4)}))


def _read_seconds(path: Path) -> float:
    return float(json.loads(path.read_text())["seconds"])
