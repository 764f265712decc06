"""BM25 with RM3, the classic of pseudo-relevance feedback: terms of the first documents join the query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from harness.adapter import Paper
from harness.errors import TouchstoneError
from harness.lucene import Rm3
from harness.lucene_adapter import LuceneAdapter, LuceneSettings
from harness.spec import Kind


@dataclass(frozen=True)
class Settings(LuceneSettings):
    """Defaults are Anserini's."""

    documents: Annotated[int, "feedback documents"] = 10
    terms: Annotated[int, "terms taken from them"] = 10
    original_weight: Annotated[float, "the original query's share of the expanded one"] = 0.5


class Rm3Feedback(LuceneAdapter):
    """BM25, the query interpolated with a relevance model of its first documents (Lucene, by Anserini)."""

    name = "rm3"
    family = "feedback"
    kinds = frozenset({Kind.RANK})
    about = (
        "BM25 with RM3 query expansion by Lucene: 10 documents, 10 terms, original weight 0.5; needs Java 21."
    )
    paper = Paper(
        "UMass at TREC 2004: Novelty and HARD",
        2004,
        "https://trec.nist.gov/pubs/trec13/papers/umass.novelty.hard.pdf",
    )
    Settings = Settings

    def check(self) -> None:
        """Java, the jar, and numbers that mean something."""
        super().check()
        s = self.settings
        if s.documents < 1 or s.terms < 1 or not 0.0 <= s.original_weight <= 1.0:
            raise TouchstoneError(
                f"documents={s.documents}, terms={s.terms}, original_weight={s.original_weight}",
                where=self.name,
                fix="one document and term at least, a weight from 0 to 1",
            )

    def expansion(self) -> Rm3:
        """RM3 with these settings."""
        return Rm3(self.settings.documents, self.settings.terms, self.settings.original_weight)
