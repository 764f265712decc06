"""Filtering ranked candidates by one threshold on their scores, and how well a threshold can do it.

Measures are pooled over queries: rank measures cannot move when a filter only cuts each ranking somewhere.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.answers import PAD, Floats, Rankings

Flags = npt.NDArray[np.bool_]
Doubles = npt.NDArray[np.float64]


def average_precision(ranked: Rankings, relevant: Flags) -> Doubles:
    """float64[n] whose mean is the average precision of all candidates pooled: the area under the precision-
    recall curve, equal scores taken together. An item's part is that of its own relevant candidates.
    """
    held = ranked.docs != PAD
    scores, hits = ranked.scores[held], relevant[held]
    order = np.argsort(-scores, kind="stable")
    last = np.searchsorted(-scores[order], -scores, side="right")  # candidates at this score or above
    precision = np.cumsum(hits[order])[last - 1] / last
    parts = np.zeros(held.shape)
    parts[held] = np.where(hits, precision, 0.0)
    found: Doubles = parts.sum(axis=1) * len(ranked) / max(1, int(hits.sum()))
    return found


def precision_at_recall(ranked: Rankings, relevant: Flags, recall: float) -> Doubles:
    """float64[n] whose mean is the pooled precision at the largest threshold with that recall."""
    kept = (ranked.docs != PAD) & (ranked.scores >= threshold(ranked.scores, relevant, recall))
    right, size = (kept & relevant).sum(axis=1), kept.sum(axis=1)
    precision = right.sum() / max(1, int(size.sum()))
    found: Doubles = precision + (right - precision * size) * len(ranked) / max(1, int(size.sum()))
    return found


def threshold(values: npt.NDArray[Any], relevant: Flags, recall: float) -> float:
    """The largest threshold that keeps a share *recall* of all relevant candidates, pooled; without any, the
    smallest finite value.
    """
    own = np.sort(values[relevant])[::-1]
    if not len(own):
        return float(values[np.isfinite(values)].min(initial=0.0))
    return float(own[max(1, math.ceil(recall * len(own))) - 1])


def strictly_falling(scores: Floats) -> Floats:
    """Scores [n, k], lowered by an ulp where they do not fall: clipped cosines keep the cosine's order."""
    for column in range(1, scores.shape[1]):
        most = np.nextafter(scores[:, column - 1], np.float32(-np.inf))
        scores[:, column] = np.minimum(scores[:, column], most)
    return scores
