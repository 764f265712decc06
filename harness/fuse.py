"""Fusing rankings of the same items: what each gives a document, and the sum of it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from harness.answers import PAD, Floats, Ints, Rankings

Floats64 = npt.NDArray[np.float64]


def reciprocal_ranks(part: Rankings, k: int) -> Floats64:
    """1 / (k + rank), rank from 1 (Cormack et al. 2009); 0 for padding."""
    points = 1.0 / (k + np.arange(1, part.depth + 1, dtype=np.float64))
    return np.where(part.docs == PAD, 0.0, points)


def minmax(part: Rankings) -> Floats64:
    """Scores mapped to 0..1 for each query, over its own documents; all 1 when they are equal."""
    held = part.docs != PAD
    high = np.where(held, part.scores, -np.inf).max(axis=1, keepdims=True).astype(np.float64)
    low = np.where(held, part.scores, np.inf).min(axis=1, keepdims=True).astype(np.float64)
    span = high - low
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled = np.where(span > 0, (part.scores.astype(np.float64) - low) / span, 1.0)
    return np.where(held, scaled, 0.0)


def summed(docs: Ints, points: Floats64, depth: int) -> tuple[Ints, Floats]:
    """Points of equal documents added within each row; the best *depth* as (docs, scores), padded."""
    order = np.argsort(docs, axis=1, kind="stable")
    docs, points = np.take_along_axis(docs, order, 1), np.take_along_axis(points, order, 1)
    first = np.ones(docs.shape, bool)
    first[:, 1:] = docs[:, 1:] != docs[:, :-1]
    groups = np.cumsum(first.ravel()) - 1
    totals = np.bincount(groups, weights=points.ravel())[groups].reshape(docs.shape)
    totals = np.where(first & (docs != PAD), totals, -np.inf)
    best = np.argsort(-totals, axis=1, kind="stable")[:, :depth]
    scores = np.take_along_axis(totals, best, 1)
    chosen = np.where(np.isneginf(scores), PAD, np.take_along_axis(docs, best, 1))
    return chosen.astype(np.int32), scores.astype(np.float32)
