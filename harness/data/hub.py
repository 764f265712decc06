"""Datasets on the Hugging Face hub: files of a pinned revision, checked against the digests that it lists.

Parquet (by ``datasets``), JSON lines and tab-separated files are read as they are, as streams; none of its
code is run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.data.beir import checked_queries, json_lines, judged_by_column, names_in, text_of
from harness.data.corpus import Document
from harness.data.dataset import Source, fetched_root, judged, roots
from harness.data.download import Remote, Say, download, refuse_unreachable, remember_unreachable
from harness.data.mmlu import Question
from harness.errors import TouchstoneError
from harness.spec import Json, digest
from harness.trec import QrelsFile, read_qrels

VERSION = 1  # raise when the way documents are read changes
HUB = "https://huggingface.co"
ROWS = 1024  # rows of a parquet file read at once
QUESTION_SPLITS = ("dev", "test")
USUAL = {  # the files of retrieval datasets on the hub, the first pattern that fits
    "queries": ("queries/*.parquet", "queries.jsonl", "queries.jsonl.gz"),
    "qrels": (
        "qrels/{split}.tsv",
        "qrels/{split}*.parquet",
        "default/{split}-*.parquet",
        "data/{split}-*.parquet",
        "qrels/{split}.jsonl",
    ),
    "corpus": ("corpus/*.parquet", "corpus.jsonl", "corpus.jsonl.gz"),  # last: the largest
}


@dataclass(frozen=True)
class HubReader:
    """Ranking data. files: what each part was found to consist of."""

    source: Source
    files: Mapping[str, tuple[Path, ...]]

    def has_corpus(self) -> bool:
        """Whether the documents are here: a source counts as fetched only with them."""
        return True

    def corpus_key(self) -> dict[str, Json]:
        """The files and the revision they are of."""
        names: list[Json] = [path.name for path in self.files["corpus"]]
        return {"repo": self.source.repo, "revision": self.source.revision, "files": names, "hub": VERSION}

    def documents(self) -> Iterator[Document]:
        """The documents, file by file."""
        for entry, where in _rows(self.files["corpus"]):
            title, text = entry.get("title") or "", text_of(entry, ("text", "content"), where)
            yield Document(text_of(entry, ("_id", "id"), where), str(title), text, where)

    def queries(self) -> dict[str, str]:
        """Query texts by id; empty and repeated ones are errors."""
        return checked_queries(
            (text_of(entry, ("_id", "id"), where), text_of(entry, ("text", "query"), where), where)
            for entry, where in _rows(self.files["queries"])
        )

    def judgements(self) -> QrelsFile:
        """The judgement files, or the gold column of the queries, where each document listed has grade 1."""
        if self.source.gold:
            return judged_by_column(_rows(self.files["queries"]), self.source.gold)
        if self.files["qrels"][0].suffix == ".tsv":
            return read_qrels(self.files["qrels"][0])
        return judged(
            (
                text_of(entry, ("query-id",), where),
                text_of(entry, ("corpus-id",), where),
                int(entry["score"]),
            )
            for entry, where in _rows(self.files["qrels"])
        )

    def excluded(self) -> Mapping[str, tuple[str, ...]]:
        """The column ``excluded_ids`` of the queries, where ``N/A`` stands for none (BRIGHT)."""
        if not self.source.gold:
            return {}
        return {
            text_of(entry, ("_id", "id"), where): names_in(entry, "excluded_ids", where)
            for entry, where in _rows(self.files["queries"])
        }


@dataclass(frozen=True)
class HubQuestions:
    """Multiple-choice questions with the columns question, choices, answer (a position) and subject."""

    source: Source
    files: Mapping[str, tuple[Path, ...]]

    def questions(self, split: str) -> list[Question]:
        """All questions of a split, subjects in alphabetical order, questions in the order of the files."""
        found = []
        for entry, where in _rows(self.files[split]):
            choices, answer = entry.get("choices"), entry.get("answer")
            if not isinstance(choices, list) or not isinstance(answer, int) or not 0 <= answer < len(choices):
                raise TouchstoneError("'choices' and 'answer' do not fit", where=where)
            subject = text_of(entry, ("subject",), where)
            found.append(Question(text_of(entry, ("question",), where), tuple(choices), answer, subject))
        return sorted(found, key=lambda question: question.group)


def open_hub(source: Source) -> HubReader | HubQuestions | str:
    """A reader of what was fetched of *source*, or what is missing."""
    marker = marker_of(source)
    if not marker.exists():
        return f"hub dataset {source.repo} is not fetched"
    files = {
        part: tuple(marker.parent / name for name in names)
        for part, names in json.loads(marker.read_text()).items()
    }
    gone = [path for paths in files.values() for path in paths if not path.exists()]
    if gone:
        return f"{gone[0]} is not there"
    return HubQuestions(source, files) if source.questions else HubReader(source, files)


def fetch_hub(source: Source, say: Say) -> None:
    """Download all files of *source*; only then does it count as here."""
    if len(source.revision) != 40:
        raise TouchstoneError("the revision is not a commit", where=f"hub {source.repo}", fix="pin one")
    listed = _listing(_endpoint(), source.repo, source.revision)
    parts = {part: _chosen(patterns, listed, source) for part, patterns in _patterns(source).items()}
    from huggingface_hub import get_token, hf_hub_url

    token = get_token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    folder = _marker(source, fetched_root()).parent
    for name in (name for names in parts.values() for name in names):
        url = hf_hub_url(
            source.repo, name, repo_type="dataset", revision=source.revision, endpoint=_endpoint()
        )
        sign, size = listed[name]
        download(Remote(url, source.hashes.get(name) or sign, size, headers), folder / name, say)
    marker = _marker(source, fetched_root())
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.write_text(json.dumps(parts))


def marker_of(source: Source) -> Path:
    """The file that says what was fetched of *source*, in the first root that has it."""
    places = [_marker(source, root) for root in roots()]
    return next((place for place in places if place.exists()), places[-1])


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT") or HUB


@lru_cache(maxsize=16)
def _listing(endpoint: str, repo: str, revision: str) -> dict[str, tuple[str, int]]:
    """(digest, bytes) of every file of the revision."""
    from huggingface_hub import HfApi, RepoFile

    refuse_unreachable(endpoint)
    try:
        api = HfApi(endpoint=endpoint)
        entries = [*api.list_repo_tree(repo, recursive=True, revision=revision, repo_type="dataset")]
    except Exception as error:  # the library raises its own errors, httpx's and the system's
        remember_unreachable(endpoint, error)
        why = f"{type(error).__name__}: {error}"
        raise TouchstoneError("the hub did not list the files", where=repo, why=why) from error
    files = [entry for entry in entries if isinstance(entry, RepoFile)]
    return {
        file.path: (f"sha256:{file.lfs.sha256}" if file.lfs else f"git:{file.blob_id}", file.size)
        for file in files
    }


def _patterns(source: Source) -> dict[str, tuple[str, ...]]:
    """The patterns of each part of the source, those that it names before the usual ones."""
    if source.questions:
        return {split: (source.questions.format(split=split),) for split in QUESTION_SPLITS}
    named = {"queries": source.queries, "qrels": source.qrels, "corpus": source.corpus}
    return {
        part: (named[part],) if named[part] else tuple(one.format(split=source.split) for one in usual)
        for part, usual in USUAL.items()
        if not (part == "qrels" and source.gold)
    }


def _chosen(patterns: Iterable[str], names: Iterable[str], source: Source) -> list[str]:
    for pattern in patterns:
        found = sorted(name for name in names if fnmatch(name, pattern))
        if found:
            return found
    raise TouchstoneError(f"no file fits {' or '.join(patterns)}", where=f"hub {source.repo}")


def _marker(source: Source, root: Path) -> Path:
    parts: dict[str, Json] = {part: [*patterns] for part, patterns in _patterns(source).items()}
    return root / "hub" / source.repo / source.revision / f".fetched-{digest(parts)}.json"


def _rows(paths: Iterable[Path]) -> Iterator[tuple[dict[str, Any], str]]:
    """(row, where it stands) of all files, as a stream."""
    for path in paths:
        rows = _parquet_rows(path) if path.suffix == ".parquet" else json_lines(path)
        yield from rows


def _parquet_rows(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """Rows as ``datasets`` streams them: batch by batch from the file itself, without a second copy."""
    import datasets
    import pyarrow as pa

    try:
        stream = datasets.load_dataset("parquet", data_files=str(path), split="train", streaming=True)
        number = 0
        for table in stream.with_format("arrow").iter(batch_size=ROWS):
            for row in table.to_pylist():
                number += 1
                yield row, f"{path}: row {number}"
    except (pa.ArrowException, datasets.exceptions.DatasetsError, OSError, ValueError) as error:
        raise TouchstoneError("cannot read the file", where=str(path), why=str(error)) from error
