"""Mixtures over clusters of vectors: who has what share of which cluster, and what each share retrieves.

Formulas after kNN-Embed (El-Kishky et al. 2022): maximum-likelihood shares, smoothing over neighbours, and
centroids weighted by the neighbours' shares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.answers import PAD, Floats, Ints

ROUNDS = 25  # of k-means
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Mixture:
    """One searcher: clusters int32[m], heaviest first, shares [m] (sum 1), centroids float32[m, d]."""

    clusters: Ints
    shares: Doubles
    centroids: Floats


def spherical_k_means(vectors: npt.NDArray[np.float32], count: int, seed: int = 0) -> tuple[Floats, Ints]:
    """(centres float32[count, d] of length 1, cluster int32[n] of each vector) by cosine.

    A centre that loses all its vectors takes the one farthest from its own centre.
    """
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    centres = unit[np.random.default_rng(seed).choice(len(unit), count, replace=False)]
    cluster = np.full(len(unit), -1, np.int32)
    for _ in range(ROUNDS):
        cosines = unit @ centres.T
        before, cluster = cluster, cosines.argmax(axis=1).astype(np.int32)
        if np.array_equal(before, cluster):
            break
        sums = np.zeros_like(centres)
        np.add.at(sums, cluster, unit)
        empty = np.flatnonzero(np.bincount(cluster, minlength=count) == 0)
        sums[empty] = unit[np.argsort(cosines.max(axis=1), kind="stable")[: len(empty)]]
        centres = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    return centres, cluster


def heaviest(mass: Doubles, sums: Doubles, top: int) -> Mixture:
    """The *top* clusters of mass float64[C], shares renormalised; sums [C, d]: mass times centroid."""
    order = np.argsort(-mass, kind="stable")[:top]
    order = order[mass[order] > 0]
    centroids = (sums[order] / mass[order, None]).astype(np.float32)
    return Mixture(order.astype(np.int32), mass[order] / mass[order].sum(), centroids)


def mixture(vectors: Floats, clusters: Ints, top: int) -> Mixture:
    """The maximum-likelihood mixture of a history: vectors [h, d] and the cluster of each, h >= 1."""
    count = int(clusters.max()) + 1
    sums = np.zeros((count, vectors.shape[1]), np.float64)
    np.add.at(sums, clusters, vectors)
    return heaviest(np.bincount(clusters, minlength=count).astype(np.float64), sums, top)


def alone(vector: Floats, centres: Floats) -> Mixture:
    """The mixture of a searcher without a history: its own vector, in the nearest cluster."""
    nearest = np.array([int((centres @ vector).argmax())], np.int32)
    return Mixture(nearest, np.ones(1), vector[None])


def smoothed(parts: Sequence[Mixture], top: int) -> Mixture:
    """The mean of the shares of a searcher and its neighbours; centroids weighted by each one's share."""
    count = max(int(part.clusters.max()) for part in parts) + 1
    mass, sums = np.zeros(count), np.zeros((count, parts[0].centroids.shape[1]))
    for part in parts:
        mass[part.clusters] += part.shares / len(parts)
        sums[part.clusters] += part.shares[:, None] * part.centroids / len(parts)
    return heaviest(mass, sums, top)


def allocation(shares: Doubles, total: int) -> npt.NDArray[np.int64]:
    """int64[m] that sums to *total*: largest remainders."""
    exact = shares * total
    whole = np.floor(exact + 1e-9).astype(np.int64)
    left = total - int(whole.sum())
    whole[np.argsort(-(exact - whole), kind="stable")[:left]] += 1
    return whole


def allotted(
    docs: Ints, cosines: Floats, counts: npt.NDArray[np.int64], seen: Ints
) -> list[tuple[int, int, float]]:
    """(document, rank of its cluster, cosine): of each row of docs [m, k] the first counts[row] that are new.

    Documents in *seen* and those taken already do not count; what is short at the end is topped up by the
    next-best cosines of any row.
    """
    taken = {PAD, *seen.tolist()}
    chosen: list[tuple[int, int, float]] = []
    for rank, count in enumerate(counts.tolist()):
        for doc, cosine in zip(docs[rank].tolist(), cosines[rank].tolist(), strict=True):
            if count == 0:
                break
            if doc not in taken:
                taken.add(doc)
                chosen.append((doc, rank, cosine))
                count -= 1
    for place in np.argsort(-cosines, axis=None, kind="stable").tolist():
        if len(chosen) == int(counts.sum()):
            break
        rank, column = divmod(place, docs.shape[1])
        if int(docs[rank, column]) not in taken:
            taken.add(int(docs[rank, column]))
            chosen.append((int(docs[rank, column]), rank, float(cosines[rank, column])))
    return chosen
