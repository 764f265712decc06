"""Datasets in BEIR layout: corpus.jsonl, queries.jsonl, qrels/<split>.tsv (or TREC qrels)."""

from __future__ import annotations

import ast
import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from harness.data.corpus import Document
from harness.data.dataset import Source, judged
from harness.errors import TouchstoneError
from harness.spec import Json
from harness.trec import QrelsFile, read_qrels


@dataclass(frozen=True)
class BeirReader:
    """A folder in BEIR layout, or single files named by the source (their paths absolute)."""

    source: Source

    def has_corpus(self) -> bool:
        """Whether the corpus file is here. Runs made elsewhere are scored without it."""
        return Path(self.source.corpus).exists()

    def corpus_key(self) -> dict[str, Json]:
        """Path, size and time of the corpus file."""
        return file_key(Path(self.source.corpus))

    def documents(self) -> Iterator[Document]:
        """The documents of the corpus file, with the line each stands on."""
        for entry, where in json_lines(Path(self.source.corpus)):
            title = entry.get("title") or ""
            yield Document(
                text_of(entry, ("_id", "id"), where),
                str(title),
                text_of(entry, ("text", "content"), where),
                where,
            )

    def queries(self) -> dict[str, str]:
        """Query texts by id, in file order, from JSON lines or a TSV; empty and repeated ones are errors."""
        path = Path(self.source.queries)
        if ".tsv" in path.suffixes:
            return checked_queries(_tsv_queries(path))
        return checked_queries(
            (text_of(entry, ("_id", "id"), where), text_of(entry, ("text", "query"), where), where)
            for entry, where in json_lines(path)
        )

    def judgements(self) -> QrelsFile:
        """BEIR's three columns or TREC's four, or the gold column of the queries: grade 1 for each."""
        if self.source.gold:
            return judged_by_column(json_lines(Path(self.source.queries)), self.source.gold)
        return read_qrels(Path(self.source.qrels))

    def excluded(self) -> Mapping[str, tuple[str, ...]]:
        """The excluded pairs: ``query document`` a line, or JSON lines with ``excluded_ids`` (BRIGHT)."""
        path = Path(self.source.excluded)
        if not self.source.excluded:
            return {}
        if ".jsonl" in path.suffixes:
            return dict(_listed_exclusions(path))
        found: dict[str, list[str]] = {}
        with open_text(path) as lines:
            for number, line in enumerate(lines, start=1):
                parts = line.split()
                if len(parts) != 2:
                    raise TouchstoneError("expected a query id and a document id", where=f"{path}:{number}")
                found.setdefault(parts[0], []).append(parts[1])
        return {query: tuple(documents) for query, documents in found.items()}


def _listed_exclusions(path: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Excluded documents by query, as BRIGHT lists them."""
    for entry, where in json_lines(path):
        yield text_of(entry, ("_id", "id"), where), names_in(entry, "excluded_ids", where)


def names_in(entry: Mapping[str, Any], column: str, where: str) -> tuple[str, ...]:
    """The list of names under *column*, which may be written as text; ``N/A`` stands for none."""
    value = entry.get(column)
    try:
        listed = ast.literal_eval(value) if isinstance(value, str) else value
        return tuple(str(name) for name in listed or () if name != "N/A")
    except (ValueError, SyntaxError, TypeError) as error:
        raise TouchstoneError(f"'{column}' is not a list", where=where) from error


def judged_by_column(entries: Iterable[tuple[dict[str, Any], str]], column: str) -> QrelsFile:
    """Judgements of grade 1 for the documents that each query lists under *column*."""
    return judged(
        (text_of(entry, ("_id", "id"), where), name, 1)
        for entry, where in entries
        for name in names_in(entry, column, where)
    )


def _tsv_queries(path: Path) -> Iterator[tuple[str, str, str]]:
    with open_text(path) as lines:
        for number, line in enumerate(lines, start=1):
            name, tab, text = line.rstrip("\n").partition("\t")
            if not tab:
                raise TouchstoneError("expected an id, a tab and a text", where=f"{path}:{number}")
            yield name, text, f"{path}:{number}"


def checked_queries(entries: Iterable[tuple[str, str, str]]) -> dict[str, str]:
    """(id, text, where) of every query as a dict; an empty or repeated one is an error."""
    found: dict[str, str] = {}
    for name, text, where in entries:
        if name in found:
            raise TouchstoneError(f"query id '{name}' comes twice", where=where)
        if not text.strip():
            raise TouchstoneError(f"query '{name}' is empty", where=where, fix="give it a text or remove it")
        found[name] = text
    return found


def text_of(entry: dict[str, Any], keys: tuple[str, ...], where: str) -> str:
    """The text under the first of *keys* that is there; a whole number is read as text."""
    value = next((entry[key] for key in keys if key in entry), None)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise TouchstoneError(f"'{keys[0]}' is missing or not text", where=where)
    return value


def json_lines(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """(object, ``file:line``) of every line that is not blank, .gz read too; a malformed one is an error."""
    number = 0
    try:
        with open_text(path) as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _json_object(line, f"{path}:{number}"), f"{path}:{number}"
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise TouchstoneError("cannot read the file", where=f"{path}:{number + 1}", why=str(error)) from error


def _json_object(line: str, where: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except json.JSONDecodeError as error:
        raise TouchstoneError("the line is not JSON", where=where, why=error.msg) from error
    if not isinstance(entry, dict):
        raise TouchstoneError("the line is not a JSON object", where=where)
    return entry


def file_key(path: Path) -> dict[str, Json]:
    """What identifies a corpus file without reading it; a TouchstoneError when it is not here."""
    if not path.exists():
        raise TouchstoneError(
            "the corpus is not here",
            where=str(path),
            fix="touchstone data fetch, or score runs made elsewhere",
        )
    stat = path.stat()
    return {"path": str(path), "size": stat.st_size, "modified": stat.st_mtime_ns}


def open_text(path: Path) -> IO[str]:
    """A text file, plain or .gz."""
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")
