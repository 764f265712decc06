"""Corpora as memory-mapped Arrow: documents are found across batches, and memory is given back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from harness.data import corpus as module
from harness.data.corpus import Corpus, Document, read_corpus, write_corpus
from harness.errors import TouchstoneError


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Corpus:
    monkeypatch.setattr(module, "BATCH", 7)
    write_corpus((_document(number) for number in range(50)), tmp_path)
    return read_corpus(tmp_path)


def _document(number: int) -> Document:
    return Document(f"d{number}", "Title" if number % 2 else "", f"text {number}", "here")


def _text(number: int) -> str:
    return f"Title text {number}" if number % 2 else f"text {number}"


def test_any_documents_in_any_order(corpus: Corpus) -> None:
    assert len(corpus.table.to_batches()) == 8
    docs = np.array([49, 0, 6, 7, 7, 13, 14, 48, 0], np.int32)
    assert corpus.ids(docs) == [f"d{number}" for number in docs]
    assert corpus.texts_of(docs) == [_text(number) for number in docs]
    assert corpus.texts(5, 16) == [_text(number) for number in range(5, 16)]
    assert corpus.ids(docs[:0]) == corpus.texts_of(docs[:0]) == []
    assert corpus.find(["d49", "no", "d0", "d7"]).tolist() == [49, -1, 0, 7]
    assert list(corpus.all_ids()) == [f"d{number}" for number in range(50)]


@pytest.mark.parametrize("number", [-1, 50])
def test_a_number_outside_is_refused(corpus: Corpus, number: int) -> None:
    with pytest.raises(pa.ArrowIndexError):
        corpus.ids(np.array([3, number], np.int32))


def test_pages_given_back_can_be_read_again(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RELEASE", 1)  # after every read
    for _ in range(3):
        assert corpus.texts(0, 50) == [_text(number) for number in range(50)]
        assert corpus.texts_of(np.array([20, 3], np.int32)) == [_text(20), _text(3)]


def test_documents_are_read_as_a_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 4)
    file, seen = tmp_path / "corpus.arrow", []

    def documents() -> Iterator[Document]:
        for number in range(400):
            seen.append(file.stat().st_size)
            yield Document(str(number), "", "words " * 200, "here")

    write_corpus(documents(), tmp_path)
    assert seen[-1] > 300 * 1200  # most of it was written before the last was made


@pytest.mark.parametrize("name", ["", "two words", "a\tb", "#1"])
def test_an_id_that_no_run_file_could_hold_is_refused_at_import(tmp_path: Path, name: str) -> None:
    documents = [Document("fine", "", "text", "f:1"), Document(name, "", "text", "f:2")]
    with pytest.raises(TouchstoneError, match="run file") as caught:
        write_corpus(documents, tmp_path)
    assert caught.value.where == "f:2"
