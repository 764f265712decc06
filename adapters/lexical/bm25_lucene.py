"""BM25 by Lucene, run as Anserini and Pyserini run it: most published BM25 numbers come from there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from harness.adapter import Adapter, Context, Need, Paper
from harness.answers import Answers, Rankings
from harness.data.corpus import Corpus
from harness.java import find_java, heap_bytes
from harness.lucene import (
    Index,
    IndexSpec,
    Rm3,
    SearchSpec,
    Stemmer,
    build_index,
    find_anserini,
    open_index,
    search,
)
from harness.spec import Json, Kind
from harness.tasks.base import Task, blocks
from harness.tasks.rank import RankTask

BLOCK = 1_000  # a start of Java takes about as long as fifty queries
READ = 10_000


@dataclass(frozen=True)
class Settings:
    """Defaults are Anserini's."""

    k1: Annotated[float, "term-frequency saturation"] = 0.9
    b: Annotated[float, "length normalisation"] = 0.4
    rm3: Annotated[bool, "expand queries by RM3: 10 documents, 10 terms, original weight 0.5"] = False
    stemmer: Annotated[Stemmer, "Lucene's stemmer, or none"] = "porter"
    threads: Annotated[int, "search threads, 0 for one a core"] = 0


class Bm25Lucene(Adapter):
    """BM25 over title and text as one field, optionally with RM3 feedback."""

    name = "bm25-lucene"
    family = "lexical"
    kinds = frozenset({Kind.RANK})
    about = (
        "BM25 by Lucene through Anserini; English analyzer with stop words and Porter stemmer; needs Java 21."
    )
    paper = Paper(
        "Anserini: Reproducible Ranking Baselines Using Lucene", 2018, "https://doi.org/10.1145/3239571"
    )
    extras = ("lucene",)
    Settings = Settings

    def check(self) -> None:
        """Java and the jar are here."""
        find_anserini()
        find_java()

    def made_with(self) -> dict[str, Json]:
        """Anserini's version; Lucene's comes with it. The version of Java changes speed only."""
        return {"anserini": find_anserini().version}

    def need(self, task: Task) -> Need:
        """Java and its answers, and while indexing about 2 kB a document as far as the heap goes."""
        documents = len(task.corpus) if isinstance(task, RankTask) else 0
        return Need(bytes=(400 << 20) + min(heap_bytes(), 2_000 * documents))

    def notes(self, task: Task) -> tuple[str, ...]:
        """What the memory column leaves out."""
        return (
            f"peak memory is Python's; Java ran beside it with a heap of at most {heap_bytes() >> 20} MiB",
        )

    def run(self, task: Task, context: Context) -> Iterator[Answers]:
        """Blocks of BLOCK queries, one start of Java each."""
        assert isinstance(task, RankTask)
        with context.meter.phase("index"):
            index = self._index(task.corpus, context)
        s = self.settings
        depth = task.search_depth
        wanted = SearchSpec(depth, s.k1, s.b, Rm3() if s.rm3 else None, s.threads)
        for items in blocks(task.items, BLOCK):
            with context.meter.phase("search"):
                docs, scores = search(index, task.select(items).queries(), wanted)
            yield Rankings(items, docs, scores)

    def _index(self, corpus: Corpus, context: Context) -> Index:
        spec = IndexSpec(self.settings.stemmer, doc_vectors=self.settings.rm3)
        key: dict[str, Json] = {
            "corpus": corpus.digest,
            "stemmer": spec.stemmer,
            "keep_stopwords": spec.keep_stopwords,
            "doc_vectors": spec.doc_vectors,
            **self.made_with(),
        }

        def make(folder: Path) -> None:
            build_index(_numbered(corpus, context), folder, spec)

        return open_index(context.asset("lucene", key, make).path)


def _numbered(corpus: Corpus, context: Context) -> Iterator[tuple[str, str]]:
    """(number as text, title and text) of every document."""
    for start in range(0, len(corpus), READ):
        for number, text in enumerate(corpus.texts(start, min(start + READ, len(corpus))), start):
            yield str(number), text
        context.progress("index", min(start + READ, len(corpus)), len(corpus))
