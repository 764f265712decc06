"""BM25 with the tokens and scores of bm25s, over Touchstone's own index (numba when it is installed)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Annotated

from harness.adapter import Adapter, Context, Need, Paper
from harness.answers import Answers, Rankings
from harness.assets import asset_name
from harness.bm25 import BM25_FORMAT, Bm25Spec, Variant, build_bm25, open_bm25
from harness.meter import package_version
from harness.spec import Json, Kind
from harness.tasks.base import Task, blocks
from harness.tasks.rank import RankTask

BLOCK = 1024


@dataclass(frozen=True)
class Settings:
    """Defaults are Anserini's k1 and b, with the English Snowball stemmer."""

    k1: Annotated[float, "term-frequency saturation"] = 0.9
    b: Annotated[float, "length normalisation"] = 0.4
    variant: Annotated[Variant, "BM25 variant"] = "lucene"
    stemmer: Annotated[str, "Snowball language, or none"] = "english"
    stopwords: Annotated[str, "bm25s stop-word list, or none"] = "en"


class Bm25(Adapter):
    """BM25 over title and text as one field."""

    name = "bm25"
    family = "lexical"
    kinds = frozenset({Kind.RANK})
    about = "BM25 as in bm25s; tokens of two or more word characters, English stop words, Snowball stemmer."
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
        """About 60 postings a document at 8 bytes, and as much again twice while they are sorted."""
        if not isinstance(task, RankTask):
            return Need()
        return Need(bytes=len(task.corpus) * 60 * 24, assets=(asset_name("bm25", self._key(task)),))

    def run(self, task: Task, context: Context) -> Iterator[Answers]:
        """Blocks of BLOCK queries."""
        assert isinstance(task, RankTask)
        spec = Bm25Spec(**asdict(self.settings))
        with context.meter.phase("index"):
            told = partial(context.progress, "tokenise")
            key = self._key(task)
            asset = context.asset("bm25", key, lambda folder: build_bm25(task.corpus, spec, folder, told))
        with context.meter.phase("load"):
            index, precedence = open_bm25(asset.path, spec), task.corpus.precedence
            index.search(task.select(task.items[:1]).queries(), 1, precedence)  # loads the compiled loop
        for items in blocks(task.items, BLOCK):
            with context.meter.phase("search"):
                found = index.search(task.select(items).queries(), task.search_depth, precedence)
            yield Rankings(items, *found)

    def _key(self, task: RankTask) -> dict[str, Json]:
        made: dict[str, Json] = {**asdict(self.settings), **self.made_with(), "format": BM25_FORMAT}
        return {"corpus": task.corpus.digest, **made}
