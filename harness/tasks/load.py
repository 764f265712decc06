"""From a task's spec to the task: find the source, read it, check it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

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
        names = tuple(found)  # a query and its one relevant document share the definition's name
        return Judgements(found, QrelsFile(names, names, np.ones(len(names), np.int32)))
    if source.format != "beir":
        raise TouchstoneError(f"'{dataset.name}' has no relevance judgements", fix="name a ranking task")
    return Judgements(beir.queries(source), read_qrels(Path(source.qrels)))


def _rank(spec: TaskSpec, dataset: DatasetSpec, source: Source, assets: Assets) -> RankTask:
    corpus = _corpus(dataset, source, assets)
    judgements = load_judgements(dataset)
    qrels_file, queries = judgements.qrels, judgements.queries
    missing = sorted(set(qrels_file.query_ids) - set(queries))
    if missing:
        raise TouchstoneError(f"judged query '{missing[0]}' has no text", where=source.queries or dataset.name)
    ids = tuple(name for name in queries if name in set(qrels_file.query_ids))
    row_of = {name: row for row, name in enumerate(ids)}
    rows = np.array([row_of[name] for name in qrels_file.query_ids], np.int32)
    docs = corpus.find(qrels_file.doc_ids)
    docs = _known_documents(docs, qrels_file, dataset, len(corpus), source.qrels)
    _check_counts(dataset, {"documents": len(corpus), "queries": len(ids), "judgements": len(rows)})
    judged: list[Json] = [[*pair, int(grade)] for *pair, grade in zip(*qrels_file[:2], qrels_file.grades, strict=True)]
    data = digest({"corpus": corpus.digest, "queries": {name: queries[name] for name in ids}, "judged": judged}, 32)
    texts = tuple(queries[name] for name in ids)
    qrels = Qrels.build(len(ids), rows, docs, qrels_file.grades)
    return RankTask(spec, corpus, ids, texts, qrels, data, np.arange(len(ids), dtype=np.int32))


def _known_documents(
    docs: np.ndarray, qrels: QrelsFile, dataset: DatasetSpec, n_docs: int, where: str
) -> np.ndarray:
    """Numbers for judged documents that the corpus lacks: after the last document, so that none can be retrieved."""
    absent = np.flatnonzero(docs < 0)
    if len(absent) and dataset.unknown_documents == "error":
        raise TouchstoneError(
            f"judgements name a document that the corpus lacks: '{qrels.doc_ids[absent[0]]}'",
            where=where or dataset.name,
            why=f"query '{qrels.query_ids[absent[0]]}', {len(absent)} such judgements",
            fix="complete the corpus, or set unknown_documents: count in the dataset's entry",
        )
    names = {name: n_docs + number for number, name in enumerate(dict.fromkeys(qrels.doc_ids[i] for i in absent))}
    docs = docs.copy()
    docs[absent] = [names[qrels.doc_ids[i]] for i in absent]
    return docs


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
                f"the corpus of '{dataset.name}' is not here", where=str(path), fix="score runs with `touchstone score`"
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
                f"{found[name]:,} {name} instead of {wanted:,}", where=dataset.name, fix="the copy here is not complete"
            )
