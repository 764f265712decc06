"""BM25 by bm25s: sparse score matrices computed at indexing time (numba when it is installed)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from harness.adapter import Adapter, Context, Need, Paper
from harness.answers import PAD, Answers, Rankings
from harness.assets import asset_name
from harness.data.corpus import Corpus
from harness.meter import package_version
from harness.spec import Json, Kind
from harness.tasks.base import Task, blocks
from harness.tasks.rank import RankTask

BLOCK = 256


@dataclass(frozen=True)
class Settings:
    """Defaults are Anserini's k1 and b, with the English Snowball stemmer."""

    k1: Annotated[float, "term-frequency saturation"] = 0.9
    b: Annotated[float, "length normalisation"] = 0.4
    variant: Annotated[Literal["lucene", "robertson", "atire", "bm25l", "bm25+"], "BM25 variant"] = "lucene"
    stemmer: Annotated[str, "Snowball language, or none"] = "english"
    stopwords: Annotated[str, "bm25s stop-word list, or none"] = "en"


class Bm25(Adapter):
    """BM25 over title and text as one field."""

    name = "bm25"
    family = "lexical"
    kinds = frozenset({Kind.RANK})
    about = "BM25 (bm25s); tokens of two or more word characters, English stop words, Snowball stemmer."
    paper = Paper(
        "BM25S: Orders of magnitude faster lexical search via eager sparse scoring",
        2024,
        "https://arxiv.org/abs/2407.03618",
    )
    Settings = Settings

    def made_with(self) -> dict[str, Json]:
        """Library versions; numba changes speed only, and a test holds it to that."""
        return {"bm25s": package_version("bm25s"), "PyStemmer": package_version("PyStemmer")}

    def need(self, task: Task) -> Need:
        """About 60 postings a document at 8 bytes, and their score matrix while it is built."""
        if not isinstance(task, RankTask):
            return Need()
        return Need(bytes=len(task.corpus) * 60 * 24, assets=(asset_name("bm25s", self._key(task)),))

    def run(self, task: Task, context: Context) -> Iterator[Answers]:
        """Blocks of BLOCK queries."""
        import bm25s

        assert isinstance(task, RankTask)
        with context.meter.phase("index"):
            asset = context.asset(
                "bm25s", self._key(task), lambda folder: self._index(task.corpus, folder, context)
            )
            index = bm25s.BM25.load(str(asset.path), mmap=True)
        depth = task.search_depth
        with context.meter.phase("load"):
            index.backend = "numba" if package_version("numba") else "numpy"
            if index.backend == "numba":
                index.activate_numba_scorer()
                self._search(index, task.select(task.items[:1]), depth)  # compiles
        for items in blocks(task.items, BLOCK):
            with context.meter.phase("search"):
                yield self._search(index, task.select(items), depth)

    def _key(self, task: RankTask) -> dict[str, Json]:
        return {"corpus": task.corpus.digest, **asdict(self.settings), **self.made_with()}

    def _index(self, corpus: Corpus, folder: Path, context: Context) -> None:
        import bm25s

        s = self.settings
        step = 50_000
        vocabulary: dict[str, int] = {}
        ids: list[list[int]] = []
        for start in range(0, len(corpus), step):
            for tokens in self._tokens(corpus.texts(start, min(start + step, len(corpus)))):
                ids.append([vocabulary.setdefault(token, len(vocabulary)) for token in tokens])
            context.progress("tokenise", len(ids), len(corpus))
        index = bm25s.BM25(k1=s.k1, b=s.b, method=s.variant)
        index.index(bm25s.tokenization.Tokenized(ids=ids, vocab=vocabulary), show_progress=False)
        index.save(str(folder), show_progress=False)

    def _tokens(self, texts: list[str]) -> list[list[str]]:
        import bm25s
        import Stemmer

        s = self.settings
        stemmer = None if s.stemmer == "none" else Stemmer.Stemmer(s.stemmer)
        words = None if s.stopwords == "none" else s.stopwords
        tokens: list[list[str]] = bm25s.tokenize(
            texts, stopwords=words, stemmer=stemmer, return_ids=False, show_progress=False
        )
        return tokens

    def _search(self, index: Any, task: RankTask, depth: int) -> Rankings:
        tokens = self._tokens(task.queries())
        docs, scores = index.retrieve(tokens, k=depth, show_progress=False, n_threads=0)
        docs, scores = docs.astype(np.int32), scores.astype(np.float32)
        unmatched = scores <= 0  # bm25s fills up with documents that share no term with the query
        docs[unmatched], scores[unmatched] = PAD, -np.inf
        return Rankings(task.items, docs, scores)
