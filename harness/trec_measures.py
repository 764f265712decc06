"""The measures and their formulas, as trec_eval computes them, over all queries at once.

Every formula takes a measure and the pooled documents of all rankings, and returns float64[q]. Sums run in
rank order, as trec_eval's do. R is the number of relevant documents of a query, found or not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from harness.qrels import Hits, Longs, Qrels

Doubles = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

INFAP_EPSILON = 1e-5


@dataclass(frozen=True)
class Measure:
    """One measure. cutoff: ranks looked at (None: all); rel: smallest grade that counts as relevant.

    recall: IPrec's recall level; p: RBP's persistence.
    """

    base: str
    cutoff: int | None = None
    rel: int = 1
    recall: float = 0.0
    p: float = 0.8

    @property
    def name(self) -> str:
        """The canonical name: what ``parse_measure`` reads back; defaults are left out."""
        rule = RULES[self.base]
        options = [f"rel={self.rel}"] if rule.rel and (self.rel != 1 or rule.p) else []
        options += [f"p={self.p!r}"] if rule.p else []
        at = repr(self.recall) if rule.at == "recall" else self.cutoff
        return self.base + (f"({','.join(options)})" if options else "") + ("" if at is None else f"@{at}")

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Rule:
    """A formula, and how its measure is written.

    at: what ``@x`` stands for, if anything; rel and p: whether the measure has these options.
    """

    compute: Callable[[Measure, Hits], Doubles]
    at: str = ""
    at_needed: bool = False
    rel: bool = True
    p: bool = False


def _total(rows: Longs, n: int, weights: Doubles | None = None) -> Doubles:
    """float64[n]: how many of *rows*, or the sum of their weights."""
    return np.bincount(rows, weights, minlength=n).astype(np.float64)


def _ratio(above: Doubles, below: Doubles) -> Doubles:
    """above / below, 0 where below is 0."""
    return np.divide(above, below, out=np.zeros(len(above)), where=below != 0)


def _before(rows: Longs, flags: Flags) -> Doubles:
    """For each hit, how many hits of its query stand above it and are flagged."""
    above = np.cumsum(flags, dtype=np.float64) - flags
    first: Doubles = above[np.searchsorted(rows, rows)]
    return above - first


def _within(measure: Measure, hits: Hits) -> Flags:
    """Which hits are relevant and inside the cutoff."""
    inside = hits.grades >= measure.rel
    return inside if measure.cutoff is None else inside & (hits.ranks <= measure.cutoff)


def _found(measure: Measure, hits: Hits) -> Doubles:
    """float64[q]: relevant documents inside the cutoff."""
    return _total(hits.rows[_within(measure, hits)], len(hits.qrels))


def _relevant(measure: Measure, qrels: Qrels) -> Doubles:
    """float64[q]: R."""
    return _total(qrels.rows[qrels.grades >= measure.rel], len(qrels))


def _ndcg(measure: Measure, hits: Hits) -> Doubles:
    """Jarvelin & Kekalainen 2002, with the grade as gain and the discount 1 / log2(rank + 1)."""
    qrels, n = hits.qrels, len(hits.qrels)
    use = _within(measure, hits)
    gained = _total(hits.rows[use], n, hits.grades[use] / np.log2(hits.ranks[use] + 1.0))
    use = qrels.grades >= 1
    rows, grades = qrels.rows[use], qrels.grades[use]
    grades = grades[np.lexsort((-grades, rows))]
    ranks = _before(rows, np.ones(len(rows), bool)) + 1
    use = ranks <= (measure.cutoff or np.inf)
    return _ratio(gained, _total(rows[use], n, grades[use] / np.log2(ranks[use] + 1.0)))


def _reciprocal_rank(measure: Measure, hits: Hits) -> Doubles:
    """1 / rank of the first relevant document."""
    use = _within(measure, hits)
    values = np.zeros(len(hits.qrels))
    np.maximum.at(values, hits.rows[use], 1.0 / hits.ranks[use])
    return values


def _precisions(measure: Measure, hits: Hits) -> tuple[Longs, Doubles, Doubles]:
    """Query, number (from 1) and precision at the rank of every relevant document found."""
    use = _within(measure, hits)
    rows = hits.rows[use]
    number = _before(rows, np.ones(len(rows), bool)) + 1
    return rows, number, number / hits.ranks[use]


def _average_precision(measure: Measure, hits: Hits) -> Doubles:
    """The sum of the precisions at the relevant documents found, over R."""
    rows, _, precisions = _precisions(measure, hits)
    return _ratio(_total(rows, len(hits.qrels), precisions), _relevant(measure, hits.qrels))


def _interpolated_precision(measure: Measure, hits: Hits) -> Doubles:
    """The highest precision at any rank from recall level *recall* on.

    The level in documents is recall x R, rounded half up as trec_eval 10 does (version 9 added 0.9 and cut).
    """
    wanted = np.floor(measure.recall * _relevant(measure, hits.qrels) + 0.5)
    rows, number, precisions = _precisions(measure, hits)
    use = number >= wanted[rows]
    values = np.zeros(len(hits.qrels))
    np.maximum.at(values, rows[use], precisions[use])
    return values


def _retrieved(measure: Measure, hits: Hits) -> Doubles:
    return hits.retrieved.astype(np.float64)


def _all_relevant(measure: Measure, hits: Hits) -> Doubles:
    return _relevant(measure, hits.qrels)


def _recall(measure: Measure, hits: Hits) -> Doubles:
    return _ratio(_found(measure, hits), _relevant(measure, hits.qrels))


def _precision(measure: Measure, hits: Hits) -> Doubles:
    """Relevant documents inside the cutoff, over the cutoff, also where fewer were retrieved."""
    return _found(measure, hits) / float(measure.cutoff or 1)


def _success(measure: Measure, hits: Hits) -> Doubles:
    return (_found(measure, hits) > 0).astype(np.float64)


def _r_precision(measure: Measure, hits: Hits) -> Doubles:
    """Precision at rank R."""
    relevant = _relevant(measure, hits.qrels)
    use = _within(measure, hits) & (hits.ranks <= relevant[hits.rows])
    return _ratio(_total(hits.rows[use], len(relevant)), relevant)


def _bpref(measure: Measure, hits: Hits) -> Doubles:
    """Buckley & Voorhees 2004, with N judged non-relevant documents: the mean over R of
    1 - min(non-relevant above, R) / min(N, R)."""
    qrels = hits.qrels
    relevant = _relevant(measure, qrels)
    against = _total(qrels.rows[(qrels.grades >= 0) & (qrels.grades < measure.rel)], len(qrels))
    above = _before(hits.rows, (hits.grades >= 0) & (hits.grades < measure.rel))
    use = _within(measure, hits)
    rows, above = hits.rows[use], above[use]
    lost = _ratio(np.minimum(above, relevant[rows]), np.minimum(against, relevant)[rows])
    return _ratio(_total(rows, len(qrels), 1.0 - lost), relevant)


def _inferred_ap(measure: Measure, hits: Hits) -> Doubles:
    """Yilmaz & Aslam 2006: precision above a relevant document, estimated from the judged part."""
    use = _within(measure, hits)
    pooled = _before(hits.rows, np.ones(len(hits.rows), bool))[use]
    relevant = _before(hits.rows, hits.grades >= measure.rel)[use]
    judged = _before(hits.rows, hits.grades >= 0)[use]
    rate = (relevant + INFAP_EPSILON) / (judged + 2 * INFAP_EPSILON)
    expected = (1.0 + pooled * rate) / hits.ranks[use]
    return _ratio(_total(hits.rows[use], len(hits.qrels), expected), _relevant(measure, hits.qrels))


def _judged(measure: Measure, hits: Hits) -> Doubles:
    """The part of the retrieved documents inside the cutoff that has a grade of 0 or more."""
    use = (hits.grades >= 0) & (hits.ranks <= (measure.cutoff or np.inf))
    looked_at = np.minimum(hits.retrieved, measure.cutoff or np.inf)
    return _ratio(_total(hits.rows[use], len(hits.qrels)), looked_at.astype(np.float64))


def _set_precision(measure: Measure, hits: Hits) -> Doubles:
    return _ratio(_found(measure, hits), hits.retrieved.astype(np.float64))


def _set_f(measure: Measure, hits: Hits) -> Doubles:
    """The harmonic mean of set precision and set recall."""
    precision, recall = _set_precision(measure, hits), _recall(measure, hits)
    return _ratio(2.0 * precision * recall, precision + recall)


def _rank_biased_precision(measure: Measure, hits: Hits) -> Doubles:
    """Moffat & Zobel 2008, binary: (1 - p) times the sum of p^(rank - 1) over relevant documents."""
    use = _within(measure, hits)
    weights: Doubles = np.power(measure.p, hits.ranks[use] - 1.0)
    return (1.0 - measure.p) * _total(hits.rows[use], len(hits.qrels), weights)


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "nDCG": Rule(_ndcg, "cutoff", rel=False),
        "RR": Rule(_reciprocal_rank, "cutoff"),
        "R": Rule(_recall, "cutoff", at_needed=True),
        "AP": Rule(_average_precision, "cutoff"),
        "P": Rule(_precision, "cutoff", at_needed=True),
        "Success": Rule(_success, "cutoff", at_needed=True),
        "Rprec": Rule(_r_precision),
        "Bpref": Rule(_bpref),
        "Judged": Rule(_judged, "cutoff", rel=False),
        "SetP": Rule(_set_precision),
        "SetR": Rule(_recall),
        "SetF": Rule(_set_f),
        "NumRet": Rule(_retrieved, rel=False),
        "NumRel": Rule(_all_relevant),
        "NumRelRet": Rule(_found),
        "IPrec": Rule(_interpolated_precision, "recall", at_needed=True),
        "infAP": Rule(_inferred_ap),
        "RBP": Rule(_rank_biased_precision, "cutoff", p=True),
    }
)
