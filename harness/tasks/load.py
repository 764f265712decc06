"""From a task's spec to the task: find the source, read it, check it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np

from harness.answers import Ints
from harness.assets import Assets
from harness.data.corpus import Corpus, read_corpus, refuse_repeated, write_corpus
from harness.data.dataset import DatasetSpec, roots
from harness.data.kilt import KiltReader
from harness.data.reader import QuestionReader, RankReader, TextsReader
from harness.data.sources import open_dataset
from harness.errors import TouchstoneError, unknown
from harness.kilt_scores import Evidence
from harness.qrels import Qrels
from harness.spec import Json, Kind, TaskSpec, digest
from harness.tasks.base import Task
from harness.tasks.choose import ChooseTask
from harness.tasks.generate import GenerateTask
from harness.tasks.perplexity import PerplexityTask
from harness.tasks.rank import RankTask
from harness.trec import QrelsFile, read_run

CORPUS_FORMAT = 2  # raise when the way documents are read or joined changes


def load_task(spec: TaskSpec, dataset: DatasetSpec, assets: Assets) -> Task:
    """The whole task, its published counts checked."""
    if spec.kind is Kind.CHOOSE:
        return _choose(spec, dataset)
    if spec.kind is Kind.GENERATE:
        return _generate(spec, dataset, assets)
    if spec.kind is Kind.PERPLEXITY:
        return _perplexity(spec, dataset)
    return _rank(spec, dataset, assets)


def load_judgements(dataset: DatasetSpec) -> QrelsFile:
    """Graded judgements by text ids, without the corpus: all that scoring a run made elsewhere needs."""
    return _rank_reader(dataset).judgements()


def load_evidence(dataset: DatasetSpec) -> tuple[Evidence, ...] | None:
    """Evidence sets of pages in the order of ``load_judgements``, None for data without them."""
    reader = _rank_reader(dataset)
    return tuple(item.evidence for item in reader.items) if isinstance(reader, KiltReader) else None


def load_written(spec: TaskSpec, dataset: DatasetSpec) -> GenerateTask:
    """A task of written answers without its corpus: all that scoring answers made elsewhere needs."""
    reader = _kilt_reader(dataset)
    return _written(spec, dataset, reader, None)


def _kilt_reader(dataset: DatasetSpec) -> KiltReader:
    reader = open_dataset(dataset)
    if not isinstance(reader, KiltReader):
        raise TouchstoneError(f"'{dataset.name}' has no written answers", fix="name a KILT task")
    return reader


def _rank_reader(dataset: DatasetSpec) -> RankReader:
    reader = open_dataset(dataset)
    if not hasattr(reader, "judgements"):
        raise TouchstoneError(f"'{dataset.name}' has no relevance judgements", fix="name a ranking task")
    return cast(RankReader, reader)


def _rank(spec: TaskSpec, dataset: DatasetSpec, assets: Assets) -> RankTask:
    reader = _rank_reader(dataset)
    corpus = _corpus(reader, assets)
    judged, queries = reader.judgements(), reader.queries()
    missing = [name for name in judged.query_ids if name not in queries]
    if missing:
        raise TouchstoneError(f"judged query '{missing[0]}' has no text", where=dataset.name)
    is_judged = set(judged.query_ids)
    ids = tuple(name for name in queries if name in is_judged)
    row_of = {name: row for row, name in enumerate(ids)}
    rows = np.array([row_of[name] for name in judged.query_ids], np.int32)[judged.qrels.rows]
    names = judged.doc_ids.to_pylist()
    numbers = _document_numbers(names, corpus, dataset)
    _check_counts(dataset, reader, {"documents": len(corpus), "queries": len(ids), "judgements": len(rows)})
    hidden, candidates = _hidden(reader, dataset, ids), _candidates(spec, ids)
    triples = zip(rows.tolist(), judged.qrels.docs.tolist(), judged.qrels.grades.tolist(), strict=True)
    identity: dict[str, Json] = {
        "corpus": corpus.digest,
        "queries": [[name, queries[name]] for name in ids],
        "judged": sorted(([ids[row], names[doc], grade] for row, doc, grade in triples), key=str),
    }
    identity |= {"hidden": _listed(hidden)} if hidden else {}
    identity |= {"candidates": _listed(candidates)} if spec.candidates else {}
    evidence = tuple(item.evidence for item in reader.items) if isinstance(reader, KiltReader) else None
    identity |= {"evidence": _evidence(reader)} if isinstance(reader, KiltReader) else {}
    return RankTask(
        spec,
        corpus,
        ids,
        tuple(queries[name] for name in ids),
        Qrels.build(len(ids), rows, numbers[judged.qrels.docs], judged.qrels.grades),
        digest(identity, 32),
        np.arange(len(ids), dtype=np.int32),
        _pairs(hidden, ids, corpus) if hidden else None,
        _pairs(candidates, ids, corpus) if spec.candidates else None,
        evidence,
    )


def _hidden(reader: RankReader, dataset: DatasetSpec, ids: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Documents that must not be ranked, by query: the source's list, and with exclude_self its namesake."""
    listed = reader.excluded()
    own = {name: (name,) for name in ids} if dataset.exclude_self else {}
    whole = {name: (*listed.get(name, ()), *own.get(name, ())) for name in ids}
    return {name: documents for name, documents in whole.items() if documents}


def _candidates(spec: TaskSpec, ids: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """The documents of the task's candidate run, by judged query."""
    if not spec.candidates:
        return {}
    paths = [path for path in (root / spec.candidates for root in roots()) if path.exists()]
    if not paths:
        what = f"the candidate run of '{spec.name}' is not here"
        raise TouchstoneError(
            what, where=spec.candidates, fix="set TOUCHSTONE_DATA to a folder that holds it"
        )
    run = read_run(paths[0])
    wanted = set(ids)
    return {
        name: tuple(run.docs[run.starts[row] : run.starts[row + 1]].to_pylist())
        for row, name in enumerate(run.query_ids)
        if name in wanted
    }


def _listed(documents: Mapping[str, tuple[str, ...]]) -> list[Json]:
    return [[name, [*sorted(documents[name])]] for name in sorted(documents)]


def _pairs(documents: Mapping[str, tuple[str, ...]], ids: tuple[str, ...], corpus: Corpus) -> Qrels:
    """(query, document) pairs over a task's numbers, as judgements of grade 1, without unknown documents."""
    rows = np.repeat(np.arange(len(ids), dtype=np.int32), [len(documents.get(name, ())) for name in ids])
    names = [document for name in ids for document in documents.get(name, ())]
    distinct = list(dict.fromkeys(names))
    number = dict(zip(distinct, corpus.find(distinct).tolist(), strict=True))
    numbers = np.array([number[name] for name in names], np.int32)
    both = np.unique(np.stack([rows, numbers], axis=1)[numbers >= 0], axis=0).reshape(-1, 2)
    return Qrels.build(len(ids), both[:, 0], both[:, 1], np.ones(len(both), np.int32))


def _document_numbers(names: list[str], corpus: Corpus, dataset: DatasetSpec) -> Ints:
    """Numbers of judged documents; those that the corpus lacks come after its last, so that none can be
    retrieved.
    """
    numbers = corpus.find(names)
    absent = np.flatnonzero(numbers < 0)
    if len(absent) and dataset.unknown_documents == "error":
        raise TouchstoneError(
            f"the judgements name document '{names[absent[0]]}', which is not in the corpus",
            where=dataset.name,
            why=f"{len(absent)} such documents",
            fix="complete the corpus, or set unknown_documents: count in the dataset's entry",
        )
    numbers[absent] = len(corpus) + np.arange(len(absent), dtype=np.int32)
    return numbers


def _corpus(reader: RankReader, assets: Assets) -> Corpus:
    """The prepared corpus: read once from its source, then memory-mapped."""
    key: dict[str, Json] = {"reader": type(reader).__name__, "version": CORPUS_FORMAT, **reader.corpus_key()}

    def make(folder: Path) -> None:
        write_corpus(reader.documents(), folder)
        refuse_repeated(reader.documents, folder)

    return read_corpus(assets.get_or_make("corpus", key, make).path)


def _choose(spec: TaskSpec, dataset: DatasetSpec) -> ChooseTask:
    reader = cast(QuestionReader, open_dataset(dataset))
    questions, examples = reader.questions("test"), reader.questions("dev")
    _check_counts(
        dataset, reader, {"questions": len(questions), "subjects": len({q.group for q in questions})}
    )
    if spec.group:
        wanted = {name for name, category in dataset.groups.items() if spec.group in (name, category)}
        questions = [question for question in questions if question.group in wanted]
        if not questions:
            raise unknown("subject", spec.group, {*dataset.groups, *dataset.groups.values()})
    shown = {group: tuple(q for q in examples if q.group == group) for group in {q.group for q in questions}}
    short = [group for group, shots in shown.items() if len(shots) < spec.shots]
    if short:
        raise TouchstoneError(f"only {len(shown[short[0]])} examples for {spec.shots} shots", where=short[0])
    rows: list[Json] = [[q.text, list(q.choices), q.answer, q.group] for q in questions + examples]
    data = digest({"questions": rows}, 32)
    return ChooseTask(spec, tuple(questions), shown, data, np.arange(len(questions), dtype=np.int32))


def _perplexity(spec: TaskSpec, dataset: DatasetSpec) -> PerplexityTask:
    """The texts of the dataset; of ranking data, its documents."""
    reader = open_dataset(dataset)
    if hasattr(reader, "texts"):
        found = cast(TextsReader, reader).texts()
    elif hasattr(reader, "documents"):
        documents = (
            (one.id, f"{one.title}\n{one.text}".strip()) for one in cast(RankReader, reader).documents()
        )
        found = [(name, text) for name, text in documents if text]
    else:
        raise TouchstoneError(f"'{dataset.name}' has no texts to predict", fix="name a dataset of texts")
    wanted = dataset.counts.get("texts", len(found))
    if len(found) != wanted:
        raise _incomplete(dataset, "texts", len(found), wanted)
    names, texts = zip(*found, strict=True)
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise TouchstoneError(f"{times} texts are named '{name}'", where=dataset.name)
    identity = digest({"texts": [[name, text] for name, text in found]}, 32)
    return PerplexityTask(spec, names, texts, identity, np.arange(len(names), dtype=np.int32))


def _generate(spec: TaskSpec, dataset: DatasetSpec, assets: Assets) -> GenerateTask:
    reader = _kilt_reader(dataset)
    return _written(spec, dataset, reader, _corpus(reader, assets) if reader.has_corpus() else None)


def _written(spec: TaskSpec, dataset: DatasetSpec, reader: KiltReader, corpus: Corpus | None) -> GenerateTask:
    entries, queries = reader.items, reader.queries()
    unanswered = [entry for entry in entries if not entry.answers]
    if unanswered:
        raise TouchstoneError(f"item '{unanswered[0].id}' has no gold answer", where=unanswered[0].where)
    here = {"queries": len(entries), "judgements": len(reader.judgements().qrels.docs)}
    documents = len(corpus) if corpus is not None else dataset.counts.get("documents", 0)
    _check_counts(dataset, reader, {**here, "documents": documents})
    identity: dict[str, Json] = {
        "corpus": corpus.digest if corpus is not None else "",
        "queries": [[name, text] for name, text in queries.items()],
        "answers": [[*entry.answers] for entry in entries],
        "evidence": _evidence(reader),
    }
    items = np.arange(len(entries), dtype=np.int32)
    return GenerateTask(spec, entries, corpus, digest(identity, 32), items)


def _evidence(reader: KiltReader) -> list[Json]:
    return [[[*pages] for pages in item.evidence] for item in reader.items]


def _check_counts(dataset: DatasetSpec, reader: RankReader | QuestionReader, found: dict[str, int]) -> None:
    for name, wanted in {**dataset.counts, **reader.source.counts}.items():
        if name not in found:
            raise unknown("count", name, found, dataset.name)
        if found[name] != wanted:
            raise _incomplete(dataset, name, found[name], wanted)


def _incomplete(dataset: DatasetSpec, name: str, found: int, wanted: int) -> TouchstoneError:
    return TouchstoneError(
        f"{found:,} {name} instead of {wanted:,}", where=dataset.name, fix="the copy here is not complete"
    )
