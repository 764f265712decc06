"""Dataset entries as written in suites/datasets/*.yaml, and where their files are looked for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from harness.assets import cache_root
from harness.qrels import Qrels
from harness.trec import QrelsFile

Format = Literal["beir", "trec", "mmlu", "pydoc", "hub", "ir_datasets", "kilt", "text"]
RANKED = ("beir", "trec")  # formats with files of queries and judgements
FILES = ("path", "corpus", "queries", "qrels", "excluded")  # fields that name files or folders


@dataclass(frozen=True)
class Source:
    """One place a dataset can be read from. Paths are below the mirror (``$TOUCHSTONE_DATA``).

    beir: path is a folder in BEIR layout; corpus, queries, qrels and excluded name single files instead;
    gold: the column of the queries that lists relevant documents, instead of qrels.
    trec: corpus, queries and qrels are files in TREC's format; topics by_position: its topics are numbered by
    their places, whatever they say. mmlu: path is the folder with dev/ and test/. pydoc: the running
    Python's library, no path. ir_datasets: id in its catalogue. kilt: path is a task's jsonl, corpus the
    knowledge source, cut into passages of about passage_words words (0: whole pages).
    hub: repo at revision on the Hugging Face hub; corpus, queries and qrels are patterns of its files, needed
    only where they differ from the usual ones; gold as above; questions: the files of multiple-choice
    questions, ``{split}`` standing for dev and test. text: path is a folder of .txt and .md files, one such
    file, or a .jsonl with a text a line.

    urls: where the files of a local format are downloaded from, by field (path, corpus). hashes: digests of
    files, by field or by the hub's file name, as ``sha256:...`` or ``md5:...``. counts: what this source
    holds where it differs from the dataset's counts.
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
    gold: str = ""
    questions: str = ""
    id: str = ""
    passage_words: int = 0
    urls: Mapping[str, str] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def remote(self) -> str:
        """Where it is downloaded from, '' for what is only looked for on this machine."""
        if self.format == "hub":
            return f"hub {self.repo}"
        return (
            f"ir_datasets {self.id}" if self.format == "ir_datasets" else next(iter(self.urls.values()), "")
        )


@dataclass(frozen=True)
class DatasetSpec:
    """A dataset. counts are the published ones, checked after loading; characters are the published lengths
    of all documents (title and text joined) and of all queries.

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
    characters: Mapping[str, int] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    unknown_documents: Literal["error", "count"] = "error"
    exclude_self: bool = False


def mirror() -> Path | None:
    """The local mirror, ``$TOUCHSTONE_DATA``, when it is set."""
    value = os.environ.get("TOUCHSTONE_DATA")
    return Path(value).expanduser().resolve() if value else None


def fetched_root() -> Path:
    """The folder of what was downloaded or unpacked here; files of local formats lie in it as in a mirror."""
    return cache_root() / "data"


def roots() -> list[Path]:
    """The mirror, when it is set, and the folder of what was fetched."""
    return [*filter(None, [mirror()]), fetched_root()]


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


def needed_files(source: Source) -> list[Path]:
    """The files or folders without which a placed local source cannot be read.

    A corpus is not among them: judgements alone are enough to score a run.
    """
    if source.format not in RANKED:
        return [Path(source.path)]
    return [Path(source.queries)] if source.gold else [Path(source.queries), Path(source.qrels)]


def judged(triples: Iterable[tuple[str, str, int]]) -> QrelsFile:
    """Judgements from (query id, document id, grade); of a pair that comes twice the last grade stands."""
    grades = {(query, document): grade for query, document, grade in triples}
    queries = {query: row for row, query in enumerate(dict.fromkeys(query for query, _ in grades))}
    documents = {name: number for number, name in enumerate(dict.fromkeys(name for _, name in grades))}
    rows = np.array([queries[query] for query, _ in grades], np.int32)
    numbers = np.array([documents[name] for _, name in grades], np.int32)
    values = np.array(list(grades.values()), np.int32)
    built = Qrels.build(len(queries), rows, numbers, values)
    return QrelsFile(tuple(queries), pa.array(list(documents), pa.string()), built)
