"""Dataset entries as written in suites/datasets/*.yaml, and where their files are looked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

Format = Literal["beir", "trec", "mmlu", "pydoc", "hub", "ir_datasets", "kilt"]
RANKED = ("beir", "trec")  # formats with files of queries and judgements


@dataclass(frozen=True)
class Source:
    """One place a dataset can be read from. Paths are below the mirror (``$TOUCHSTONE_DATA``).

    beir: path is a folder in BEIR layout; corpus, queries, qrels and excluded name single files instead.
    trec: corpus, queries and qrels are files in TREC's format; topics by_position: its topics are numbered by
    their places, whatever they say. mmlu: path is the folder with dev/ and test/. pydoc: the running
    Python's library, no path.
    hub: repo at revision on the Hugging Face hub. ir_datasets: id in its catalogue. kilt: path is a task's
    jsonl, corpus the knowledge source, cut into passages of about passage_words words (0: whole pages).
    sha256: digests of files, by the name they are given here.
    """

    format: Format
    path: str = ""
    split: str = "test"
    corpus: str = ""
    queries: str = ""
    qrels: str = ""
    excluded: str = ""
    topics: Literal["by_number", "by_position"] = "by_number"
    repo: str = ""
    revision: str = ""
    id: str = ""
    passage_words: int = 0
    sha256: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DatasetSpec:
    """A dataset. counts are the published ones, checked after loading.

    groups: its parts with the category of each (MMLU's subjects). exclude_self: a document named as its
    query is not ranked. unknown_documents: what to do with a judgement of a document that the corpus lacks:
    an error, or (for pools) counted as never retrieved.
    """

    name: str
    sources: tuple[Source, ...]
    title: str = ""
    about: str = ""
    licence: str = ""
    url: str = ""
    language: str = "en"
    counts: Mapping[str, int] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    unknown_documents: Literal["error", "count"] = "error"
    exclude_self: bool = False


def mirror() -> Path | None:
    """The local mirror, ``$TOUCHSTONE_DATA``, when it is set."""
    value = os.environ.get("TOUCHSTONE_DATA")
    return Path(value).expanduser().resolve() if value else None


def placed(source: Source, root: Path) -> Source:
    """*source* with its paths made absolute below *root*."""
    folder = root / source.path
    if source.format not in RANKED:
        return replace(source, path=str(folder), corpus=str(root / source.corpus) if source.corpus else "")
    corpus = root / source.corpus if source.corpus else folder / "corpus.jsonl"
    if not source.corpus and not corpus.exists() and (folder / "corpus.jsonl.gz").exists():
        corpus = folder / "corpus.jsonl.gz"
    return replace(
        source,
        path=str(folder),
        corpus=str(corpus),
        queries=str(root / source.queries if source.queries else folder / "queries.jsonl"),
        qrels=str(root / source.qrels if source.qrels else folder / "qrels" / f"{source.split}.tsv"),
        excluded=str(root / source.excluded) if source.excluded else "",
    )


def missing_file(source: Source) -> str:
    """The first file that a placed local source needs and that is not there, '' when all are.

    A corpus is not asked for: judgements alone are enough to score a run.
    """
    needed = [source.queries, source.qrels] if source.format in RANKED else [source.path]
    return next((name for name in needed if not Path(name).exists()), "")
