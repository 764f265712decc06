"""KILT (Petroni et al. 2021): a task's jsonl, the knowledge source it shares with all others, answer files.

A document is a page of the knowledge source, or with ``passage_words`` a passage of one. Paragraphs that only
name a section are left out, as KILT leaves them out of its own passages; so is the paragraph that repeats the
page's title.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from harness.answers import Texts
from harness.data.beir import checked_queries, json_lines
from harness.data.corpus import Document
from harness.data.dataset import Source
from harness.errors import TouchstoneError
from harness.kilt_scores import Evidence
from harness.qrels import Qrels
from harness.spec import Json
from harness.trec import QrelsFile

VERSION = 1  # raise when the way pages are read or cut changes
SECTION, BULLET = "Section::::", "BULLET::::-"
SENTENCE = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True)
class KiltItem:
    """One line of a task. answers: distinct gold answers, stripped; evidence: the pages that support each."""

    id: str
    input: str
    answers: tuple[str, ...]
    evidence: Evidence
    where: str


class Passage(NamedTuple):
    """A stretch of a page, by the numbers of its first and last paragraph."""

    first: int
    last: int
    text: str
    words: int


@dataclass(frozen=True, eq=False)
class KiltReader:
    """A task's jsonl as ``source.path`` and the knowledge source as ``source.corpus`` (paths absolute)."""

    source: Source

    @cached_property
    def items(self) -> tuple[KiltItem, ...]:
        """The lines of the task; a malformed line or a repeated id is an error."""
        found: dict[str, KiltItem] = {}
        for entry, where in json_lines(Path(self.source.path)):
            item = _item(entry, where)
            if item.id in found:
                why = f"first at {found[item.id].where}"
                raise TouchstoneError(f"id '{item.id}' comes twice", where=where, why=why)
            found[item.id] = item
        if not found:
            raise TouchstoneError("the task is empty", where=self.source.path)
        return tuple(found.values())

    def has_corpus(self) -> bool:
        """Whether the knowledge source is here. Answers and rankings of pages are scored without it."""
        return bool(self.source.corpus) and Path(self.source.corpus).exists()

    def corpus_key(self) -> dict[str, Json]:
        """Path, size and time of the knowledge source, and how it is cut."""
        if not self.has_corpus():
            raise TouchstoneError(
                "the knowledge source is not here",
                where=self.source.corpus or self.source.path,
                fix="put kilt_knowledgesource.json there, or score answers made elsewhere",
            )
        stat = Path(self.source.corpus).stat()
        return {
            "path": self.source.corpus,
            "size": stat.st_size,
            "modified": stat.st_mtime_ns,
            "passage_words": self.source.passage_words,
            "kilt": VERSION,
        }

    def documents(self) -> Iterator[Document]:
        """Pages under their Wikipedia id, or passages under ``id:first-last`` (numbers of paragraphs).

        Of several passages with the same paragraphs the second and later have ``.2``, ``.3``, ... at the end.
        """
        for entry, where in json_lines(Path(self.source.corpus)):
            page, title = _page_id(entry, where), str(entry.get("wikipedia_title") or "")
            paragraphs = entry.get("text")
            if not isinstance(paragraphs, list) or not all(isinstance(part, str) for part in paragraphs):
                raise TouchstoneError("'text' is missing or not a list of paragraphs", where=where)
            if not self.source.passage_words:
                text = "\n".join(clean for clean in map(_clean, _without_title(paragraphs, title)) if clean)
                yield Document(page, title, text, where)
                continue
            seen: dict[str, int] = {}
            for passage in passages(_without_title(paragraphs, title), self.source.passage_words):
                name = f"{page}:{passage.first}-{passage.last}"
                seen[name] = seen.get(name, 0) + 1
                yield Document(f"{name}.{seen[name]}" if seen[name] > 1 else name, title, passage.text, where)

    def queries(self) -> dict[str, str]:
        """Inputs by id, in file order; an empty one is an error."""
        return checked_queries((item.id, item.input, item.where) for item in self.items)

    def judgements(self) -> QrelsFile:
        """The pages of all evidence of an item, each of grade 1. An item without evidence is judged all the
        same: no page is relevant to it.
        """
        pairs = [
            (row, page)
            for row, item in enumerate(self.items)
            for page in dict.fromkeys(page for pages in item.evidence for page in pages if page)
        ]
        number = {page: i for i, page in enumerate(dict.fromkeys(page for _, page in pairs))}
        rows = np.array([row for row, _ in pairs], np.int32)
        docs = np.array([number[page] for _, page in pairs], np.int32)
        names = tuple(item.id for item in self.items)
        return QrelsFile(
            names,
            pa.array(list(number), pa.string()),
            Qrels.build(len(names), rows, docs, np.ones_like(docs)),
        )

    def excluded(self) -> Mapping[str, tuple[str, ...]]:
        """Nothing."""
        return {}


def page_of(document: str) -> str:
    """The page of a document id: of ``id:first-last`` what stands before the colon."""
    return document.partition(":")[0]


def pages_of(documents: list[str]) -> tuple[str, ...]:
    """The distinct pages of document ids, in order."""
    return tuple(dict.fromkeys(map(page_of, documents)))


def passages(paragraphs: list[str], words: int) -> list[Passage]:
    """Paragraphs, numbered from 0, as passages of less than *words* words, cut between sentences only.

    A paragraph is filled sentence by sentence; its last piece joins the passage before it when both fit and
    no section begins between them. KILT's published split does the same with spaCy's sentences and tokens;
    here a sentence ends at . ! or ? before a space, and a word is what white space separates.
    """
    found: list[Passage] = []
    section_begins = True
    for number, paragraph in enumerate(paragraphs):
        if SECTION in paragraph:
            section_begins = True
            continue
        *whole, last = _pieces(_clean(paragraph), words) or [""]
        found += [Passage(number, number, piece, len(piece.split())) for piece in whole]
        size = len(last.split())
        if not size:
            continue
        section_begins &= not whole
        if found and not section_begins and size + found[-1].words < words:
            before = found[-1]
            found[-1] = Passage(before.first, number, f"{before.text} {last}", before.words + size)
        else:
            found.append(Passage(number, number, last, size))
        section_begins = False
    return found


def read_answers_file(path: Path, item_ids: tuple[str, ...]) -> Texts:
    """Answers in KILT's form: id, and one output with an answer, a provenance or both.

    An id that the task lacks, a repeated one, or several outputs are errors; items left out are missing.
    """
    rows = {name: row for row, name in enumerate(item_ids)}
    found: dict[int, tuple[str, tuple[str, ...]]] = {}
    for entry, where in json_lines(path):
        name = _id(entry, where)
        if name not in rows:
            raise TouchstoneError(f"the task has no item '{name}'", where=where)
        if rows[name] in found:
            raise TouchstoneError(f"item '{name}' is answered twice", where=where)
        outputs = _outputs(entry, where)
        if len(outputs) != 1:
            raise TouchstoneError(f"{len(outputs)} outputs for item '{name}'", where=where, fix="give one")
        pages = [_page_id(page, where) for page in _provenance(outputs[0], where) or ()]
        found[rows[name]] = (str(outputs[0].get("answer") or "").strip(), tuple(filter(None, pages)))
    order = sorted(found)
    items = np.array(order, np.int32)
    return Texts(items, tuple(found[row][0] for row in order), tuple(found[row][1] for row in order))


def _item(entry: dict[str, Any], where: str) -> KiltItem:
    outputs = _outputs(entry, where)
    answers = []
    for output in outputs:
        answer = output.get("answer")
        if answer is not None and not isinstance(answer, str):
            raise TouchstoneError("an answer is not text", where=where)
        answers.append((answer or "").strip())
    provenances = [_provenance(output, where) for output in outputs]
    evidence = tuple(
        tuple(_page_id(page, where) for page in pages) for pages in provenances if pages is not None
    )
    text = entry.get("input", "")
    if not isinstance(text, str):
        raise TouchstoneError("'input' is not text", where=where)
    return KiltItem(_id(entry, where), text, tuple(dict.fromkeys(filter(None, answers))), evidence, where)


def _id(entry: dict[str, Any], where: str) -> str:
    value = entry.get("id")
    if not isinstance(value, str | int) or not str(value).strip():
        raise TouchstoneError("'id' is missing", where=where)
    return str(value).strip()


def _outputs(entry: dict[str, Any], where: str) -> list[dict[str, Any]]:
    outputs = entry.get("output")
    if not isinstance(outputs, list) or not all(isinstance(output, dict) for output in outputs):
        raise TouchstoneError("'output' is missing or not a list of objects", where=where)
    if not outputs:
        raise TouchstoneError(
            "'output' is empty", where=where, why="a split without answers cannot be scored"
        )
    return outputs


def _provenance(output: dict[str, Any], where: str) -> list[dict[str, Any]] | None:
    """The provenance of an output, None when it names none."""
    pages = output.get("provenance")
    if pages is not None and not (isinstance(pages, list) and all(isinstance(page, dict) for page in pages)):
        raise TouchstoneError("'provenance' is not a list of objects", where=where)
    return pages


def _page_id(entry: dict[str, Any], where: str) -> str:
    """The Wikipedia id, which KILT writes as text or as a number; '' for a page that it could not find."""
    if "wikipedia_id" not in entry or not isinstance(entry["wikipedia_id"], str | int | None):
        raise TouchstoneError("'wikipedia_id' is missing", where=where)
    return "" if entry["wikipedia_id"] is None else str(entry["wikipedia_id"]).strip()


def _without_title(paragraphs: list[str], title: str) -> list[str]:
    """The paragraphs with number 0, where KILT repeats the title, made empty."""
    repeated = paragraphs and paragraphs[0].strip() == title.strip()
    return ["", *paragraphs[1:]] if repeated else paragraphs


def _clean(paragraph: str) -> str:
    if SECTION in paragraph:
        return ""
    return " ".join(paragraph.replace(BULLET, " ").split())


def _pieces(text: str, words: int) -> list[str]:
    """Sentences joined as long as they stay below *words* words; a longer sentence stays whole."""
    pieces: list[str] = []
    size = 0
    for sentence in SENTENCE.split(text) if text else []:
        length = len(sentence.split())
        if pieces and size + length < words:
            pieces[-1] += f" {sentence}"
            size += length
        else:
            pieces.append(sentence)
            size = length
    return pieces
