"""From a task's spec to the task: find the source, read it, check it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from harness.answers import Ints
from harness.assets import Assets
from harness.data import beir, mmlu, pydoc
from harness.data.corpus import Corpus, Document, read_corpus, refuse_repeated, write_corpus
from harness.data.dataset import DatasetSpec, Source, find_source
from harness.errors import TouchstoneError, unknown
from harness.measures import Qrels
from harness.spec import Json, Kind, TaskSpec, digest
from harness.tasks.base import Task
from harness.tasks.choose import ChooseTask
from harness.tasks.rank import RankTask
from harness.trec import QrelsFile, read_qrels

CORPUS_FORMAT = 1  # raise when the way documents are read or joined changes


@dataclass(frozen=True)
class Judgements:
    """Queries and graded judgements by text ids: all that scoring a run made elsewhere needs."""

    queries: dict[str, str]
    qrels: QrelsFile


def load_task(spec: TaskSpec, dataset: DatasetSpec, assets: Assets) -> Task:
    """The whole task, its published counts checked."""
    source = find_source(dataset)
    if spec.kind is Kind.CHOOSE:
        return _choose(spec, dataset, source)
    return _rank(spec, dataset, source, assets)


def load_judgements(dataset: DatasetSpec) -> Judgements:
    """Queries and judgements without the corpus."""
    source = find_source(dataset)
    if source.format == "pydoc":
        found = pydoc.read_queries()
        each = np.arange(
            len(found), dtype=np.int32
        )  # a query and its relevant document share the definition's name
        qrels = Qrels.build(len(found), each, each, np.ones(len(found), np.int32))
        return Judgements(found, QrelsFile(tuple(found), pa.array(found), qrels))
    if source.format != "beir":
        raise TouchstoneError(f"'{dataset.name}' has no relevance judgements", fix="name a ranking task")
    return Judgements(beir.queries(source), read_qrels(Path(source.qrels)))


def _rank(spec: TaskSpec, dataset: DatasetSpec, source: Source, assets: Assets) -> RankTask:
    corpus = _corpus(dataset, source, assets)
    judgements = load_judgements(dataset)
    judged, queries = judgements.qrels, judgements.queries
    where = source.qrels or dataset.name
    missing = [name for name in judged.query_ids if name not in queries]
    if missing:
        raise TouchstoneError(f"judged query '{missing[0]}' has no text", where=where)
    is_judged = set(judged.query_ids)
    ids = tuple(name for name in queries if name in is_judged)
    row_of = {name: row for row, name in enumerate(ids)}
    rows = np.array([row_of[name] for name in judged.query_ids], np.int32)[judged.qrels.rows]
    doc_names = judged.doc_ids.to_pylist()
    numbers = _document_numbers(doc_names, corpus, dataset, where)
    _check_counts(dataset, {"documents": len(corpus), "queries": len(ids), "judgements": len(rows)})
    texts = tuple(queries[name] for name in ids)
    qrels = Qrels.build(len(ids), rows, numbers[judged.qrels.docs], judged.qrels.grades)
    triples: list[Json] = [
        [ids[row], doc_names[doc], grade]
        for row, doc, grade in zip(
            rows.tolist(), judged.qrels.docs.tolist(), judged.qrels.grades.tolist(), strict=True
        )
    ]
    triples.sort(key=str)
    data = digest(
        {
            "corpus": corpus.digest,
            "queries": [[*pair] for pair in zip(ids, texts, strict=True)],
            "judged": triples,
        },
        32,
    )
    return RankTask(spec, corpus, ids, texts, qrels, data, np.arange(len(ids), dtype=np.int32))


def _document_numbers(names: list[str], corpus: Corpus, dataset: DatasetSpec, where: str) -> Ints:
    """Numbers of judged documents; those that the corpus lacks come after its last, so that none can be
    retrieved.
    """
    numbers = corpus.find(names)
    absent = np.flatnonzero(numbers < 0)
    if len(absent) and dataset.unknown_documents == "error":
        raise TouchstoneError(
            f"the judgements name document '{names[absent[0]]}', which is not in the corpus",
            where=where,
            why=f"{len(absent)} such documents",
            fix="complete the corpus, or set unknown_documents: count in the dataset's entry",
        )
    numbers[absent] = len(corpus) + np.arange(len(absent), dtype=np.int32)
    return numbers


def _corpus(dataset: DatasetSpec, source: Source, assets: Assets) -> Corpus:
    """The prepared corpus: read once from its source, then memory-mapped."""
    key: dict[str, Json] = {"format": source.format, "reader": CORPUS_FORMAT}
    if source.format == "pydoc":
        key["python"] = sys.version
        read: Callable[[], Iterator[Document]] = pydoc.read_documents
    else:
        path = Path(source.corpus)
        if not path.exists():
            raise TouchstoneError(
                f"the corpus of '{dataset.name}' is not here",
                where=str(path),
                fix="score runs with `touchstone score`",
            )
        stat = path.stat()
        key |= {"path": str(path), "size": stat.st_size, "modified": stat.st_mtime_ns}
        read = partial(beir.documents, source)

    def make(folder: Path) -> None:
        write_corpus(read(), folder)
        refuse_repeated(read, folder)

    return read_corpus(assets.get_or_make("corpus", key, make).path)


def _choose(spec: TaskSpec, dataset: DatasetSpec, source: Source) -> ChooseTask:
    questions, examples = mmlu.questions(source, source.split), mmlu.questions(source, "dev")
    _check_counts(dataset, {"questions": len(questions), "subjects": len({q.group for q in questions})})
    if spec.group:
        groups = {question.group for question in questions}
        if spec.group not in groups:
            raise unknown("subject", spec.group, groups)
        questions = [question for question in questions if question.group == spec.group]
    shown = {group: tuple(q for q in examples if q.group == group) for group in {q.group for q in questions}}
    short = [group for group, shots in shown.items() if len(shots) < spec.shots]
    if short:
        raise TouchstoneError(f"only {len(shown[short[0]])} examples for {spec.shots} shots", where=short[0])
    rows: list[Json] = [[q.text, list(q.choices), q.answer, q.group] for q in questions + examples]
    data = digest({"questions": rows}, 32)
    return ChooseTask(spec, tuple(questions), shown, data, np.arange(len(questions), dtype=np.int32))


def _check_counts(dataset: DatasetSpec, found: dict[str, int]) -> None:
    for name, wanted in dataset.counts.items():
        if name not in found:
            raise unknown("count", name, found, dataset.name)
        if found[name] != wanted:
            raise TouchstoneError(
                f"{found[name]:,} {name} instead of {wanted:,}",
                where=dataset.name,
                fix="the copy here is not complete",
            )
