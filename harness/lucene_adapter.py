"""What methods that search by Lucene's BM25 have in common: settings, the index of a corpus, and the run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from harness.adapter import Adapter, Context, Need
from harness.answers import Answers, Rankings
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
from harness.spec import Json
from harness.tasks.base import Task, blocks
from harness.tasks.rank import RankTask
from harness.vectors import TextCorpus

BLOCK = 1_000  # a start of Java takes about as long as fifty queries
READ = 10_000


@dataclass(frozen=True)
class LuceneSettings:
    """Defaults are Anserini's."""

    k1: Annotated[float, "term-frequency saturation"] = 0.9
    b: Annotated[float, "length normalisation"] = 0.4
    stemmer: Annotated[Stemmer, "Lucene's stemmer, or none"] = "porter"
    threads: Annotated[int, "search threads, 0 for one a core"] = 0


class LuceneAdapter(Adapter):
    """BM25 over title and text as one field; ``expansion`` says how queries are expanded, if at all."""

    extras: ClassVar[tuple[str, ...]] = ("lucene",)
    Settings = LuceneSettings

    def expansion(self) -> Rm3 | None:
        """None: the query as it is."""
        return None

    def documents(self, task: RankTask, context: Context) -> TextCorpus:
        """What is indexed: the corpus as it is."""
        return task.corpus

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
        s, expansion = self.settings, self.expansion()
        with context.meter.phase("index"):
            documents = self.documents(task, context)
            index = corpus_index(documents, IndexSpec(s.stemmer, doc_vectors=expansion is not None), context)
        wanted = SearchSpec(task.search_depth, s.k1, s.b, expansion, s.threads)
        for items in blocks(task.items, BLOCK):
            with context.meter.phase("search"):
                docs, scores = search(index, task.select(items).queries(), wanted)
            yield Rankings(items, docs, scores)


def corpus_index(corpus: TextCorpus, spec: IndexSpec, context: Context) -> Index:
    """The index of a corpus, document numbers as its ids, from the cache or built now."""
    key: dict[str, Json] = {
        "corpus": corpus.digest,
        "stemmer": spec.stemmer,
        "keep_stopwords": spec.keep_stopwords,
        "doc_vectors": spec.doc_vectors,
        "anserini": find_anserini().version,
    }

    def numbered() -> Iterator[tuple[str, str]]:
        for start in range(0, len(corpus), READ):
            stop = min(start + READ, len(corpus))
            for number, text in enumerate(corpus.texts(start, stop), start):
                yield str(number), text
            context.progress("index", stop, len(corpus))

    def make(folder: Path) -> None:
        build_index(numbered(), folder, spec)

    return open_index(context.asset("lucene", key, make).path)
