"""Token vectors of a corpus as an asset, and MaxSim over them: the sum over query tokens of the best document
token's cosine (Khattab & Zaharia 2020, equation 3).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.answers import PAD, Floats, Ints
from harness.assets import Make
from harness.models.late import LateEncoder, TokenVectors
from harness.spec import Json
from harness.vectors import PickedCorpus

SHARD = 512  # documents: what an interruption loses at most
CELLS = 1 << 25  # scores of query tokens by document tokens held at once

Values = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class TokenIndex:
    """values float16[tokens, d] on disk (or float32); starts int64[n + 1]."""

    values: Values
    starts: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts) - 1


def token_index(
    encoder: LateEncoder,
    corpus: PickedCorpus,
    get: Callable[[str, dict[str, Json], Make], object],
    progress: Callable[[int, int], None],
) -> TokenIndex:
    """The token vectors of all documents, from the cache or made now, shard by shard."""
    key: dict[str, Json] = {"encoder": encoder.identity, "corpus": corpus.digest, "role": "document"}
    asset = get("token-vectors", key, partial(_make, encoder, corpus, progress))
    folder: Path = asset.path  # type: ignore[attr-defined]
    return TokenIndex(np.load(folder / "values.npy", mmap_mode="r"), np.load(folder / "starts.npy"))


def _make(
    encoder: LateEncoder, corpus: PickedCorpus, progress: Callable[[int, int], None], folder: Path
) -> None:
    shards = folder / "shards"
    shards.mkdir(exist_ok=True)
    names = []
    for start in range(0, len(corpus), SHARD):
        stop = min(start + SHARD, len(corpus))
        names.append(shards / f"{start:010}-{stop:010}.npz")
        if not names[-1].exists():
            found = encoder.encode(corpus.texts(start, stop), "document")
            _write(names[-1], found)
        progress(stop, len(corpus))
    _join(names, encoder.dimension, folder)
    shutil.rmtree(shards)


def _write(name: Path, found: TokenVectors) -> None:
    with name.with_suffix(".tmp").open("wb") as handle:
        np.savez(handle, values=found.values.astype(np.float16), lengths=np.diff(found.starts))
        handle.flush()
        os.fsync(handle.fileno())
    name.with_suffix(".tmp").rename(name)


def _join(names: list[Path], dimension: int, folder: Path) -> None:
    lengths = []
    for name in names:
        with np.load(name) as held:
            lengths.append(held["lengths"])
    starts = np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64)
    shape = (int(starts[-1]), dimension)
    out = np.lib.format.open_memmap(folder / "values.npy", mode="w+", dtype=np.float16, shape=shape)
    place = 0
    for name in names:
        with np.load(name) as held:
            values = held["values"]
        out[place : place + len(values)] = values
        place += len(values)
    out.flush()
    np.save(folder / "starts.npy", starts)


def max_sim(queries: TokenVectors, index: TokenIndex, docs: Ints | None, device: str) -> Floats:
    """float32[queries, docs]: MaxSim of every query with the given documents (None: all, in order).

    A document without a token scores -inf. Blocks of documents pass through the device once.
    """
    import torch

    wanted = np.arange(len(index), dtype=np.int32) if docs is None else docs
    found = np.full((len(queries), len(wanted)), -np.inf, np.float32)
    lengths = np.diff(index.starts)[wanted]
    real = np.flatnonzero(lengths > 0)
    block = max(1, CELLS // max(1, len(queries.values)))
    owners = np.cumsum(lengths[real]) // block
    tokens = torch.tensor(queries.values, device=device)
    for number in np.unique(owners).tolist():
        part = real[owners == number]
        rows = _rows(index.starts, wanted[part])
        values = torch.tensor(np.asarray(index.values[rows], np.float32), device=device)
        scores = (tokens @ values.T).cpu().numpy()  # [query tokens, document tokens]
        starts = np.concatenate([[0], np.cumsum(lengths[part])[:-1]])
        best = np.maximum.reduceat(scores, starts, axis=1)
        found[:, part] = np.add.reduceat(best, queries.starts[:-1], axis=0)
    return found


def _rows(starts: npt.NDArray[np.int64], docs: Ints) -> npt.NDArray[np.int64] | slice:
    """The token rows of documents; a slice where they are neighbours."""
    if len(docs) and (np.diff(docs) == 1).all():
        return slice(int(starts[docs[0]]), int(starts[docs[-1] + 1]))
    lengths = starts[docs + 1] - starts[docs]
    offsets = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    found: npt.NDArray[np.int64] = np.repeat(starts[docs], lengths) + offsets
    return found


def best_rows(scores: Floats, docs: Ints, precedence: Ints, k: int) -> tuple[Ints, Floats]:
    """(documents int32[k], scores float32[k]) of one query's scores: score down, then precedence up."""
    order = np.lexsort((precedence[docs], -scores))[:k]
    order = order[np.isfinite(scores[order])]
    best, values = np.full(k, PAD, np.int32), np.full(k, -np.inf, np.float32)
    best[: len(order)], values[: len(order)] = docs[order], scores[order]
    return best, values
