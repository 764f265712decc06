"""Datasets of the ir_datasets catalogue, read through the library; its files lie where it keeps them
(``$IR_DATASETS_HOME``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from harness.data.beir import BeirReader, checked_queries
from harness.data.corpus import Document
from harness.data.dataset import Source, fetched_root, judged, roots
from harness.data.download import Remote, Say, download
from harness.errors import TouchstoneError
from harness.spec import Json, digest
from harness.trec import QrelsFile

VERSION = 1  # raise when the way documents are read changes
EXPORTED = {
    "corpus": "corpus.jsonl.gz",
    "queries": "queries.jsonl",
    "qrels": "qrels.trec",
    "excluded": "excluded.txt",
}
EXCLUDED = -100  # the grade under which the catalogue lists BRIGHT's excluded documents


@dataclass(frozen=True)
class IrdsReader:
    """The dataset ``source.id``. Reading opens no connection: a file that is gone is an error."""

    source: Source

    def has_corpus(self) -> bool:
        """Whether the documents are here: a source counts as fetched only with them."""
        return True

    def corpus_key(self) -> dict[str, Json]:
        """The catalogue's name of the documents, and its version."""
        import ir_datasets

        return {
            "ir_datasets": str(ir_datasets.docs_parent_id(self.source.id)),
            "catalogue": str(ir_datasets.__version__),
            "irds": VERSION,
        }

    def documents(self) -> Iterator[Document]:
        """Title and text where the collection has both, else all that it offers as text."""
        with _opened(self.source) as dataset:
            for number, entry in enumerate(dataset.docs_iter(), start=1):
                title = str(getattr(entry, "title", "") or "")
                text = entry.text if hasattr(entry, "text") else entry.default_text()
                where = f"{self.source.id}: document {number}"
                yield Document(str(entry.doc_id), title, str(text or ""), where)

    def queries(self) -> dict[str, str]:
        """The queries' texts, for TREC topics their titles."""
        with _opened(self.source) as dataset:
            return checked_queries(
                (
                    str(entry.query_id),
                    str(entry.text if hasattr(entry, "text") else entry.default_text()),
                    f"{self.source.id}: query {entry.query_id}",
                )
                for entry in dataset.queries_iter()
            )

    def judgements(self) -> QrelsFile:
        """The judgements, without the documents that are to be excluded."""
        return judged(row for row in self._judged() if row[2] != EXCLUDED)

    def excluded(self) -> Mapping[str, tuple[str, ...]]:
        """Documents of the grade EXCLUDED."""
        found: dict[str, list[str]] = {}
        for query, document, grade in self._judged():
            if grade == EXCLUDED:
                found.setdefault(query, []).append(document)
        return {query: tuple(documents) for query, documents in found.items()}

    def _judged(self) -> Iterator[tuple[str, str, int]]:
        with _opened(self.source) as dataset:
            for entry in dataset.qrels_iter():
                yield str(entry.query_id), str(entry.doc_id), int(entry.relevance)


def open_irds(source: Source) -> IrdsReader | BeirReader | str:
    """A reader of what was fetched or unpacked of *source*, or what is missing."""
    for root in roots():
        folder = exported_folder(source, root)
        if folder.is_dir():
            files: dict[str, Any] = {name: str(folder / file) for name, file in EXPORTED.items()}
            return BeirReader(replace(source, format="beir", **files))
    if not _marker(source).exists():
        return f"ir_datasets {source.id} is not fetched"
    return IrdsReader(source)


def exported_folder(source: Source, root: Path) -> Path:
    """Where a packed folder holds *source* in BEIR layout."""
    return root / "ir_datasets" / source.id.replace("/", "+")


def fetch_irds(source: Source, say: Say) -> None:
    """Let the library download everything: queries, judgements, then documents; only then does it count as
    here.
    """
    with _opened(source, say) as dataset:
        for iterate in (dataset.queries_iter, dataset.qrels_iter, dataset.docs_iter):
            if next(iter(iterate()), None) is None:
                raise TouchstoneError("a part of the dataset is empty", where=f"ir_datasets {source.id}")
    marker = _marker(source)
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.touch()


def _marker(source: Source) -> Path:
    return exported_folder(source, fetched_root()).with_suffix(".fetched")


@contextmanager
def _opened(source: Source, say: Say | None = None) -> Iterator[Any]:
    """The library's dataset; its downloads go through ours when *say* is given, and are refused otherwise."""
    import ir_datasets
    from ir_datasets.util import download as library

    def stream(self: Any) -> Any:
        return _stream(self, say)

    before = library.RequestsDownload.stream
    library.RequestsDownload.stream = stream
    try:
        yield ir_datasets.load(source.id)
    except TouchstoneError:
        raise
    except Exception as error:  # the library raises plain RuntimeErrors, KeyErrors and those of what it reads
        why = f"{type(error).__name__}: {error}"
        raise TouchstoneError("cannot be read", where=f"ir_datasets {source.id}", why=why) from error
    finally:
        library.RequestsDownload.stream = before


@contextmanager
def _stream(wanted: Any, say: Say | None) -> Iterator[IO[bytes]]:
    """The bytes of one of the library's files; it compares them with its MD5 digest while it reads."""
    if say is None:
        raise TouchstoneError("a file is gone", where=wanted.url, fix="touchstone data fetch")
    target = fetched_root() / "downloading" / digest(wanted.url, 32)
    download(Remote(wanted.url, headers=dict(wanted.headers or {})), target, say)
    try:
        with target.open("rb") as handle:
            yield handle
    finally:
        target.unlink(missing_ok=True)
