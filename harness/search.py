"""Exact nearest-neighbour search by dot product, on a processor or an accelerator.

Every document is scored; documents pass through the device once, in blocks, and what is kept is queries x k.
Ties are broken as trec_eval breaks them, at the cut too. Blocks are padded to whole tiles of the matrix
product, so that on a processor the sizes of blocks, and the other queries asked, change no bit of a score.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from harness.answers import PAD, Floats, Ints
from harness.errors import TouchstoneError
from harness.gauges import free_bytes

if TYPE_CHECKING:
    import torch

CACHED = 1 << 12  # documents of a block on a processor: their scores stay in its cache
LARGEST = 1 << 18  # documents of a block on an accelerator
SHARE = 8  # a block of scores takes at most this part of what is free
QUERY_TILE, DOC_TILE = 16, 64  # multiples from which on a product's bits do not depend on its size
LOWEST = -(1 << 63)  # no candidate is as low
UNTOLD = 1 << 30  # bytes taken as free where the system does not say


@dataclass(frozen=True)
class SearchSpec:
    """How to search. queries, docs: rows of a block, 0: from the memory that is free. A block of scores
    takes queries x docs x 4 bytes.
    """

    k: int
    device: str = "cpu"
    queries: int = 0
    docs: int = 0


def top_k(
    queries: Floats, docs: npt.NDArray[np.float32], spec: SearchSpec, precedence: Ints | None = None
) -> tuple[Ints, Floats]:
    """(document numbers int32[q, k], dot products float32[q, k]), best first; PAD and -inf beyond n.

    queries float32[q, d]; docs float32[n, d], on disk or in memory. precedence int32[n], as
    ``Corpus.precedence``: of documents with the same score those with the lower number come first; without it
    the lower document number. A score that is NaN is a TouchstoneError.
    """
    if queries.ndim != 2 or docs.ndim != 2 or queries.shape[1] != docs.shape[1]:
        raise TouchstoneError("queries and documents differ in width", why=f"{queries.shape}, {docs.shape}")
    order = np.arange(len(docs), dtype=np.int32) if precedence is None else precedence
    found = np.full((len(queries), spec.k), PAD, np.int32)
    scores = np.full((len(queries), spec.k), -np.inf, np.float32)
    if found.size and len(docs):
        compiled = spec.device == "cpu" and find_spec("numba") is not None
        (_compiled if compiled else _on_device)(queries, docs, spec, order, (found, scores))
    return found, scores


def _compiled(
    queries: Floats, docs: npt.NDArray[np.float32], spec: SearchSpec, order: Ints, out: tuple[Ints, Floats]
) -> None:
    """torch multiplies, numba keeps the best: one comparison a score, and no sorting of a block.

    A document that holds NaN or inf shows in its product with any query, so one row of products is checked.
    """
    import torch

    from harness.search_numba import Best

    sizes = _block_sizes(spec, len(queries), len(docs))
    best = Best(len(queries), spec.k)
    with torch.inference_mode():
        padded = _padded(_finite(torch.tensor(queries)), QUERY_TILE)
        room = torch.empty(min(len(padded), sizes[0]), sizes[1])  # one for all blocks: fresh pages are slow
        for start in range(0, len(docs), sizes[1]):
            block = _block(docs, start, sizes[1])
            stop = min(start + sizes[1], len(docs))
            for first in range(0, len(queries), sizes[0]):
                last = min(first + sizes[0], len(queries))
                part = padded[first : first + sizes[0]]
                products = torch.mm(part, block.T, out=room[: len(part), : len(block)])
                if not first and not products[0].sum().isfinite():  # seldom
                    _finite(block)
                best.add(products.numpy()[: last - first, : stop - start], order[start:stop], first)
    best.write(order, *out)


def _on_device(
    queries: Floats, docs: npt.NDArray[np.float32], spec: SearchSpec, order: Ints, out: tuple[Ints, Floats]
) -> None:
    """All by torch: the best of each block and of those before, by one whole number for score and tie."""
    import torch

    sizes = _block_sizes(spec, len(queries), len(docs))
    with torch.inference_mode():
        padded = _padded(torch.tensor(queries, device=spec.device), QUERY_TILE)
        down = 0xFFFFFFFF - torch.tensor(order, device=spec.device).to(torch.int64)
        best = torch.full((len(queries), spec.k), LOWEST, device=spec.device)
        for start in range(0, len(docs), sizes[1]):
            block = _block(docs, start, sizes[1]).to(spec.device, non_blocking=True)
            stop = min(start + sizes[1], len(docs))
            for first in range(0, len(queries), sizes[0]):
                last = min(first + sizes[0], len(queries))
                products = (padded[first : first + sizes[0]] @ block.T)[: last - first, : stop - start]
                found = _best_of(products, down[start:stop], spec.k)
                best[first:last] = torch.cat((best[first:last], found), dim=1).topk(spec.k, dim=1).values
        by_order = torch.empty_like(down, dtype=torch.int32)
        by_order[0xFFFFFFFF - down] = torch.arange(len(docs), dtype=torch.int32, device=spec.device)
        held = best != LOWEST
        numbers = torch.where(held, by_order[torch.where(held, 0xFFFFFFFF - (best & 0xFFFFFFFF), 0)], PAD)
        out[0][:] = numbers.cpu().numpy()
        out[1][:] = torch.where(held, _scores_of(best), -np.inf).cpu().numpy()


def _best_of(products: torch.Tensor, down: torch.Tensor, k: int) -> torch.Tensor:
    """int64[q, min(k, n)]: the best candidates of a block. Rows with a tie at the cut are sorted whole."""
    k = min(k, products.shape[1])
    values, at = products.topk(k, dim=1)
    if values.isnan().any():  # topk takes NaN for the largest
        raise _nan_score()
    best = _candidates(values, down[at])
    tied = ((products >= values[:, -1:]).sum(dim=1) > k).nonzero().flatten()
    if len(tied):
        best[tied] = _candidates(products[tied], down.expand(len(tied), -1)).topk(k, dim=1).values
    return best


def _candidates(scores: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """The bits of scores, changed so that they order as the scores do, above the precedence counted down."""
    import torch

    bits = (scores + 0.0).contiguous().view(torch.int32)  # + 0.0: of -0.0 too
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return (ordered.to(torch.int64) << 32) | down


def _scores_of(candidates: torch.Tensor) -> torch.Tensor:
    import torch

    ordered = (candidates >> 32).to(torch.int32)
    return (ordered ^ ((ordered >> 31) & 0x7FFFFFFF)).view(torch.float32)


def _finite(vectors: torch.Tensor) -> torch.Tensor:
    """The vectors, unless one holds NaN or inf: their sum tells at once in nearly all cases."""
    if not vectors.sum().isfinite() and not vectors.isfinite().all():
        raise _nan_score()
    return vectors


def _nan_score() -> TouchstoneError:
    """The error for a dot product that is not a number."""
    return TouchstoneError(
        "NaN score", where="exact search", why="a query or document vector holds NaN or inf"
    )


def _padded(vectors: torch.Tensor, tile: int) -> torch.Tensor:
    """With rows of zeros up to a multiple of *tile*."""
    import torch

    return torch.nn.functional.pad(vectors, (0, 0, 0, -len(vectors) % tile))


def _block(docs: npt.NDArray[np.float32], start: int, size: int) -> torch.Tensor:
    """A block of documents, padded; not copied unless it is the last."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that nothing must be written to a read-only map: nothing is
        part = np.ascontiguousarray(docs[start : start + size], np.float32)
        return _padded(torch.from_numpy(part), DOC_TILE)


def _block_sizes(spec: SearchSpec, n_queries: int, n_docs: int) -> tuple[int, int]:
    """Queries and documents of a block, as asked for or from free memory, in whole tiles."""
    cells = (free_bytes(spec.device) or UNTOLD) // (4 * SHARE)
    most = CACHED if spec.device == "cpu" else LARGEST
    docs = spec.docs or max(DOC_TILE, min(most, n_docs, cells // max(1, min(n_queries, 1024))))
    queries = spec.queries or max(QUERY_TILE, min(n_queries, cells // docs))
    return -(-queries // QUERY_TILE) * QUERY_TILE, -(-docs // DOC_TILE) * DOC_TILE
