"""Test collections in TREC's text format: documents and topics between tags, judgements of four columns."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.data.beir import checked_queries, file_key, open_text
from harness.data.corpus import Document
from harness.data.dataset import Source
from harness.errors import TouchstoneError
from harness.spec import Json
from harness.trec import QrelsFile, read_qrels

VERSION = 1  # raise when the way documents are read changes
TAG = re.compile(r"<(/?)([a-zA-Z][\w-]*)>")
LABEL = re.compile(r"^\s*(Number|Topic)\s*:", re.IGNORECASE)


@dataclass(frozen=True)
class TrecTextReader:
    """Files named by the source (their paths absolute): documents, topics, judgements."""

    source: Source

    def has_corpus(self) -> bool:
        """Whether the documents' file is here."""
        return Path(self.source.corpus).exists()

    def corpus_key(self) -> dict[str, Json]:
        """Path, size and time of the documents' file."""
        return {**file_key(Path(self.source.corpus)), "trec": VERSION}

    def documents(self) -> Iterator[Document]:
        """One document for each ``<doc>``: its number, its title, and its ``<text>``; without that tag all
        that stands outside of tags. White space becomes single spaces.
        """
        for fields, where in _elements(Path(self.source.corpus), "doc"):
            text = fields["text"] if "text" in fields else fields.get("", "")
            yield Document(_field(fields, "docno", where), fields.get("title", ""), text, where)

    def queries(self) -> dict[str, str]:
        """The titles of the topics by their numbers, or by their places from 1 (``topics: by_position``)."""
        by_position = self.source.topics == "by_position"
        return checked_queries(
            (
                str(place) if by_position else LABEL.sub("", _field(fields, "num", where)).strip(),
                LABEL.sub("", _field(fields, "title", where)).strip(),
                where,
            )
            for place, (fields, where) in enumerate(_elements(Path(self.source.queries), "top"), start=1)
        )

    def judgements(self) -> QrelsFile:
        """TREC's four columns."""
        return read_qrels(Path(self.source.qrels))

    def excluded(self) -> Mapping[str, tuple[str, ...]]:
        """Nothing."""
        return {}


def _field(fields: Mapping[str, str], name: str, where: str) -> str:
    if not fields.get(name):
        raise TouchstoneError(f"<{name}> is missing or empty", where=where)
    return fields[name]


def _elements(path: Path, name: str) -> Iterator[tuple[dict[str, str], str]]:
    """(text by tag, ``file:line``) of every ``<name>`` element of a file, as a stream; text outside of tags
    stands under ''. A tag is closed by its end or by the next tag, as TREC's topics leave them open.
    """
    start, lines = 0, []
    try:
        with open_text(path) as handle:
            for number, line in enumerate(handle, start=1):
                opened = line.lstrip().lower().startswith(f"<{name}>")
                if opened and start:
                    raise TouchstoneError(f"<{name}> is not closed", where=f"{path}:{start}")
                start = number if opened else start
                if start:
                    lines.append(line)
                if start and f"</{name}>" in line.lower():
                    yield _fields("".join(lines), name), f"{path}:{start}"
                    start, lines = 0, []
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise TouchstoneError("cannot read the file", where=str(path), why=str(error)) from error
    if start:
        raise TouchstoneError(f"<{name}> is not closed", where=f"{path}:{start}", why="the file ends before")


def _fields(element: str, name: str) -> dict[str, str]:
    """The text of an element by tag, in lower case; of a tag that comes twice both texts."""
    found: dict[str, list[str]] = {}
    tag, begin = "", 0
    for match in TAG.finditer(element):
        found.setdefault(tag, []).extend(element[begin : match.start()].split())
        tag, begin = "" if match[1] or match[2].lower() == name else match[2].lower(), match.end()
    found.setdefault(tag, []).extend(element[begin:].split())
    return {tag: " ".join(words) for tag, words in found.items()}
