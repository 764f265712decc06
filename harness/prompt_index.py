"""What a prompted language model makes of a corpus, and dense, sparse or hybrid search over it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from harness.adapter import Context, Need
from harness.answers import Floats, Ints, Rankings
from harness.assets import asset_name
from harness.fuse import minmax, summed
from harness.late_interaction import TokenIndex, best_rows, max_sim
from harness.models.late import TokenVectors
from harness.prompt_reps import MOST_TERMS, PromptEncoder, PromptSpec, Representations
from harness.search import SearchSpec, top_k
from harness.sparse import SparseIndex, SparseRows, build_sparse, open_sparse, search_sparse
from harness.spec import Json
from harness.tasks.base import Task
from harness.tasks.rank import RankTask

SHARD = 256  # texts: what an interruption loses at most


@dataclass(frozen=True, eq=False)
class PromptIndex:
    """A corpus: float32 vectors (several a document in the variants that end in reps) and sparse weights."""

    vectors: npt.NDArray[np.float32]
    starts: npt.NDArray[np.int64]
    sparse: SparseIndex

    @property
    def single(self) -> bool:
        """Whether every document has one vector."""
        return len(self.vectors) == len(self.starts) - 1


@dataclass(frozen=True)
class HybridSpec:
    """mode: what ranks; alpha: the share of the dense scores in hybrid; pool: documents of each run fused."""

    mode: Literal["dense", "sparse", "hybrid"] = "hybrid"
    alpha: float = 0.5
    pool: int = 1000
    device: str = "cpu"


def prompt_encoder(spec: PromptSpec, context: Context) -> PromptEncoder:
    """The encoder over the model of *spec*, which is loaded once a process."""
    return PromptEncoder(spec, context.language_model(replace(spec.model, device=context.device)))


def prompt_need(spec: PromptSpec, task: Task) -> Need:
    """The model, and vectors and weights of 4,096 dimensions and 128 terms a document."""
    need = Need.of_language_model(spec.model)
    if not isinstance(task, RankTask):
        return need
    vectors = len(task.corpus) * (4096 + 2 * MOST_TERMS) * 4
    return replace(need, bytes=need.bytes + vectors, assets=(asset_name("prompt-reps", _key(spec, task)),))


def _key(spec: PromptSpec, task: RankTask) -> dict[str, Json]:
    return {"prompt": spec.identity, "corpus": task.corpus.digest, "role": "document"}


def prompt_index(encoder: PromptEncoder, spec: PromptSpec, task: RankTask, context: Context) -> PromptIndex:
    """The representations of all documents, from the cache or made now, shard by shard."""
    asset = context.asset("prompt-reps", _key(spec, task), partial(_make, encoder, task, context.progress))
    held = np.load(asset.path / "vectors.npy", mmap_mode="r")
    return PromptIndex(held, np.load(asset.path / "starts.npy"), open_sparse(asset.path / "sparse"))


def _make(
    encoder: PromptEncoder, task: RankTask, progress: Callable[[str, int, int], None], folder: Path
) -> None:
    names = []
    for start in range(0, len(task.corpus), SHARD):
        stop = min(start + SHARD, len(task.corpus))
        names.append(folder / f"shard-{start:010}.npz")
        if not names[-1].exists():
            _write(names[-1], encoder.encode(task.corpus.texts(start, stop), "document"))
        progress("represent", stop, len(task.corpus))
    parts = [_read(name) for name in names]
    lengths = np.concatenate([np.diff(part.vectors.starts) for part in parts])
    np.save(folder / "vectors.npy", np.concatenate([part.vectors.values for part in parts]))
    np.save(folder / "starts.npy", np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
    (folder / "sparse").mkdir(exist_ok=True)
    build_sparse((part.sparse for part in parts), folder / "sparse")
    for name in names:
        name.unlink()


def _write(name: Path, found: Representations) -> None:
    rows = found.sparse
    with name.with_suffix(".tmp").open("wb") as handle:
        np.savez(handle, values=found.vectors.values, starts=found.vectors.starts,
                 terms=rows.terms, weights=rows.weights, rows=rows.starts)  # fmt: skip
        handle.flush()
        os.fsync(handle.fileno())
    name.with_suffix(".tmp").rename(name)


def _read(name: Path) -> Representations:
    with np.load(name) as held:
        sparse = SparseRows(held["rows"], held["terms"], held["weights"])
        return Representations(TokenVectors(held["values"], held["starts"]), sparse)


def prompt_rankings(
    task: RankTask, items: Ints, queries: Representations, index: PromptIndex, spec: HybridSpec
) -> Rankings:
    """*items* ranked by their representations. Scores of each run are min-max normalised over its documents
    before anything that the task hides is taken out, as the authors' code does.
    """
    pool = min(max(spec.pool, task.search_depth), len(task.corpus))
    parts = []
    if spec.mode != "sparse":
        parts.append(
            (spec.alpha, Rankings(items, *_dense(task, queries.vectors, index, replace(spec, pool=pool))))
        )
    if spec.mode != "dense":
        found = search_sparse(index.sparse, queries.sparse, pool, task.corpus.precedence)
        parts.append((1.0 - spec.alpha, Rankings(items, *found)))
    if len(parts) == 1:
        return task.check(parts[0][1])
    docs = np.concatenate([part.docs for _, part in parts], axis=1)
    points = np.concatenate([share * minmax(part) for share, part in parts], axis=1)
    return task.check(Rankings(items, *summed(docs, points, task.search_depth)))


def _dense(
    task: RankTask, queries: TokenVectors, index: PromptIndex, spec: HybridSpec
) -> tuple[Ints, Floats]:
    precedence, k = task.corpus.precedence, spec.pool
    if index.single and len(queries.values) == len(queries):
        return top_k(queries.values, index.vectors, SearchSpec(k, spec.device), precedence)
    whole = TokenIndex(index.vectors, index.starts)
    scores = max_sim(queries, whole, None, spec.device)
    every = np.arange(len(whole), dtype=np.int32)
    rows = [best_rows(row, every, precedence, k) for row in scores]
    return np.stack([docs for docs, _ in rows]), np.stack([values for _, values in rows])
