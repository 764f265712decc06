"""Ranking tasks: queries, a corpus and graded judgements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from harness.answers import PAD, Answers, Ints, Rankings
from harness.data.corpus import Corpus
from harness.data.kilt import pages_of
from harness.errors import TouchstoneError
from harness.kilt_scores import Evidence, page_measure
from harness.measures import Qrels, parse_measure, score_rankings
from harness.scores import Scores
from harness.spec import TaskSpec


@dataclass(frozen=True, eq=False)
class RankTask:
    """query_ids and query_texts hold the judged queries of the whole task; qrels one row for each of them.

    hidden: (query, document) pairs that must not be ranked. candidates: pairs that alone may be ranked.
    evidence: sets of pages by query, for KILT's page measures, None where there are none.
    """

    spec: TaskSpec
    corpus: Corpus
    query_ids: tuple[str, ...]
    query_texts: tuple[str, ...]
    qrels: Qrels
    data_digest: str
    items: Ints
    hidden: Qrels | None = None
    candidates: Qrels | None = None
    evidence: tuple[Evidence, ...] | None = None

    @property
    def search_depth(self) -> int:
        """How many documents to look for, so that the task's depth remains after the exclusions."""
        wanted = self.spec.depth
        if self.candidates is not None:
            wanted = len(self.corpus)
        elif self.hidden is not None:
            wanted += int(np.diff(self.hidden.starts).max(initial=0))
        return min(wanted, len(self.corpus))

    @property
    def item_ids(self) -> tuple[str, ...]:
        """The ids of all judged queries."""
        return self.query_ids

    def item_name(self, item: int) -> str:
        """``query 'id'``."""
        return f"query '{self.query_ids[item]}'"

    def select(self, items: Ints) -> Self:
        """The same task with fewer items."""
        return replace(self, items=items)

    def queries(self) -> list[str]:
        """Query texts of this view's items, in order."""
        return [self.query_texts[item] for item in self.items]

    def relevant(self, item: int) -> tuple[Ints, Ints]:
        """(documents, grades) judged for an item."""
        start, stop = self.qrels.starts[item], self.qrels.starts[item + 1]
        return self.qrels.docs[start:stop], self.qrels.grades[start:stop]

    def hidden_from(self, item: int) -> Ints:
        """The documents that must not be ranked for an item."""
        if self.hidden is None:
            return np.empty(0, np.int32)
        return self.hidden.docs[self.hidden.starts[item] : self.hidden.starts[item + 1]]

    def check(self, answers: Answers) -> Rankings:
        """Well-formed rankings in trec_eval's order, cut at the task's depth."""
        if not isinstance(answers, Rankings):
            raise TouchstoneError(
                f"expected rankings, got {type(answers).__name__.lower()}", where=self.spec.name
            )
        checked = answers.checked(len(self.corpus), self.item_name)
        if self.hidden is not None:
            checked = _kept(checked, ~_listed(self.hidden, checked))
        if self.candidates is not None:
            checked = _kept(checked, _listed(self.candidates, checked))
        return checked.canonical(self.corpus.ids).resized(self.spec.depth)

    def score(self, answers: Answers) -> Scores:
        """Every measure of the spec for this view's items; a missing answer counts 0 and is counted."""
        rankings = self.check(answers)
        rows = {item: row for row, item in enumerate(rankings.items.tolist())}

        def pages(item: int) -> tuple[str, ...]:
            docs = rankings.docs[rows[item]]
            return pages_of(self.corpus.ids(docs[docs != PAD]))

        values = score_with_pages(self.spec.measures, self.qrels, rankings, pages, self.evidence)
        counts = {
            "missing": int(len(self.items) - np.isin(self.items, rankings.items).sum()),
            "tie_dependent": rankings.tied_items(),
        }
        if self.hidden is not None:
            counts["excluded_pairs"] = len(self.hidden.docs)
        return Scores(self.items, tuple(self.spec.measures), values[self.items], counts=counts)


def score_with_pages(
    measures: Sequence[str],
    qrels: Qrels,
    rankings: Rankings,
    pages: Callable[[int], tuple[str, ...]],
    evidence: Sequence[Evidence] | None,
) -> npt.NDArray[np.float64]:
    """float64[q, m]: ir_measures' names by judgements, KILT's by *pages* (of a query) and *evidence*."""
    values = np.zeros((len(qrels), len(measures)))
    by_page = {column: found for column, name in enumerate(measures) if (found := page_measure(name))}
    plain = [column for column in range(len(measures)) if column not in by_page]
    values[:, plain] = score_rankings([parse_measure(measures[column]) for column in plain], qrels, rankings)
    if not by_page:
        return values
    if evidence is None:
        raise TouchstoneError(f"'{measures[min(by_page)]}' asks for evidence sets", why="the data has none")
    for query in rankings.items.tolist():
        ranked = pages(query)
        for column, measure in by_page.items():
            values[query, column] = measure.of(ranked, evidence[query])
    return values


def _listed(pairs: Qrels, rankings: Rankings) -> npt.NDArray[np.bool_]:
    """bool[n, k]: whether (item, document) is one of *pairs*."""
    rows = [pairs.docs[pairs.starts[item] : pairs.starts[item + 1]] for item in rankings.items]
    found = [np.isin(docs, row) for docs, row in zip(rankings.docs, rows, strict=True)]
    return np.array(found, bool).reshape(rankings.docs.shape)


def _kept(rankings: Rankings, keep: npt.NDArray[np.bool_]) -> Rankings:
    """The rankings without the documents that are not kept."""
    docs = np.where(keep, rankings.docs, PAD).astype(np.int32)
    return Rankings(rankings.items, docs, np.where(keep, rankings.scores, -np.inf).astype(np.float32))
