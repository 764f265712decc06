"""What a source of data offers, whatever its form: a reader for ranking data, a reader for questions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from harness.data.corpus import Document
from harness.data.dataset import Source
from harness.data.mmlu import Question
from harness.spec import Json
from harness.trec import QrelsFile


class RankReader(Protocol):
    """Documents, queries, graded judgements. Nothing is read before it is asked for."""

    @property
    def source(self) -> Source:
        """The source that is read."""

    def has_corpus(self) -> bool:
        """Whether the documents are here."""

    def corpus_key(self) -> dict[str, Json]:
        """What identifies the documents without reading them; a TouchstoneError when they are not here."""

    def documents(self) -> Iterator[Document]:
        """The documents, as a stream."""

    def queries(self) -> dict[str, str]:
        """Query texts by id, in order; empty and repeated ones are errors."""

    def judgements(self) -> QrelsFile:
        """Graded judgements by text ids."""

    def excluded(self) -> Mapping[str, tuple[str, ...]]:
        """Documents that must not be ranked, by query id."""


class QuestionReader(Protocol):
    """Multiple-choice questions."""

    @property
    def source(self) -> Source:
        """The source that is read."""

    def questions(self, split: str) -> list[Question]:
        """All questions of a split, in a fixed order."""


class TextsReader(Protocol):
    """Texts to predict."""

    @property
    def source(self) -> Source:
        """The source that is read."""

    def texts(self) -> list[tuple[str, str]]:
        """(name, text) of every text, in a fixed order."""
