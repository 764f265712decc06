"""Dataset entries as written in suites/datasets/*.yaml, and where their files are looked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from harness.errors import TouchstoneError

Format = Literal["beir", "mmlu", "pydoc"]


@dataclass(frozen=True)
class Source:
    """One place a dataset can be read from. Paths are below the mirror (``$TOUCHSTONE_DATA``).

    beir: path is a folder in BEIR layout; queries, qrels and corpus override single files.
    mmlu: path is the folder with dev/ and test/. pydoc needs no path: it reads the running Python's library.
    """

    format: Format
    path: str = ""
    split: str = "test"
    corpus: str = ""
    queries: str = ""
    qrels: str = ""


@dataclass(frozen=True)
class DatasetSpec:
    """A dataset. counts are the published ones, checked after loading. groups: names of its
    parts (MMLU's subjects). unknown_documents: what to do with a
    judgement of a document that the corpus lacks: an error, or (for pools) counted as never retrieved.
    """

    name: str
    title: str
    about: str
    licence: str
    url: str
    sources: tuple[Source, ...]
    language: str = "en"
    counts: Mapping[str, int] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    unknown_documents: Literal["error", "count"] = "error"


def mirror() -> Path | None:
    """The local mirror, ``$TOUCHSTONE_DATA``, when it is set."""
    value = os.environ.get("TOUCHSTONE_DATA")
    return Path(value).expanduser().resolve() if value else None


def find_source(dataset: DatasetSpec) -> Source:
    """The first source of *dataset* that is here, its paths made absolute."""
    tried = []
    for source in dataset.sources:
        if source.format == "pydoc":
            return source
        root = mirror()
        if root is None:
            tried.append("no local mirror is set")
            continue
        placed = _placed(source, root)
        missing = [name for name in needed_files(placed) if not Path(name).exists()]
        if not missing:
            return placed
        tried.append(f"{missing[0]} is not there")
    raise TouchstoneError(
        f"the dataset '{dataset.name}' is not here",
        why="; ".join(dict.fromkeys(tried)),
        fix="set TOUCHSTONE_DATA to a folder that holds it",
    )


def needed_files(source: Source) -> list[str]:
    """What must exist for *source* to be usable; judgements come without a corpus too."""
    if source.format == "beir":
        return [source.queries, source.qrels]
    return [source.path] if source.format == "mmlu" else []


def _placed(source: Source, root: Path) -> Source:
    if source.format == "mmlu":
        return Source("mmlu", str(root / source.path), source.split)
    folder = root / source.path
    corpus = root / source.corpus if source.corpus else folder / "corpus.jsonl"
    if not corpus.exists() and not source.corpus and (folder / "corpus.jsonl.gz").exists():
        corpus = folder / "corpus.jsonl.gz"
    queries = root / source.queries if source.queries else folder / "queries.jsonl"
    qrels = root / source.qrels if source.qrels else folder / "qrels" / f"{source.split}.tsv"
    return Source("beir", str(folder), source.split, str(corpus), str(queries), str(qrels))
