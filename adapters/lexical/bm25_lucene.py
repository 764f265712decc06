"""BM25 by Lucene, run as Anserini and Pyserini run it: most published BM25 numbers come from there."""

from __future__ import annotations

from harness.adapter import Paper
from harness.lucene_adapter import LuceneAdapter
from harness.spec import Kind


class Bm25Lucene(LuceneAdapter):
    """BM25 over title and text as one field."""

    name = "bm25-lucene"
    family = "lexical"
    kinds = frozenset({Kind.RANK})
    about = (
        "BM25 by Lucene through Anserini; English analyzer with stop words and Porter stemmer; needs Java 21."
    )
    paper = Paper(
        "Anserini: Reproducible Ranking Baselines Using Lucene", 2018, "https://doi.org/10.1145/3239571"
    )
