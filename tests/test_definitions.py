"""The shipped definitions: complete, consistent with each other and with the published data."""

from __future__ import annotations

import json

import pytest

from harness.catalog import Catalog, shipped
from harness.data.sources import open_dataset
from harness.errors import TouchstoneError
from harness.registry import parse_method
from harness.spec import Kind
from tests.needs import DATA, needs

CATALOG = Catalog([shipped("suites")])
BEIR = [name for name in CATALOG.datasets if name.startswith("beir/")]
# Touché is left out: the published statistics are of version 3, the definitions here of version 2.
STATISTICS = {
    "arguana": "ArguAna",
    "cqadupstack-android": "CQADupstackAndroidRetrieval",
    "climate-fever": "ClimateFEVER",
    "dbpedia-entity": "DBPedia",
    "fever": "FEVER",
    "fiqa": "FiQA2018",
    "hotpotqa": "HotpotQA",
    "nfcorpus": "NFCorpus",
    "nq": "NQ",
    "quora": "QuoraRetrieval",
    "scidocs": "SCIDOCS",
    "scifact": "SciFact",
    "trec-covid": "TRECCOVID",
}


def test_nothing_is_broken() -> None:
    assert CATALOG.broken == []


def test_the_five_benchmarks_are_whole() -> None:
    assert len(BEIR) == 17 + 12
    assert len([name for name in CATALOG.tasks if name.startswith("bright/")]) >= 12
    assert len([name for name in CATALOG.tasks if name.startswith("mmlu/")]) == 57 + 4
    assert {"msmarco/dev", "msmarco/trec-dl-2019", "msmarco/trec-dl-2020"} <= set(CATALOG.tasks)


@pytest.mark.parametrize("name", list(CATALOG.datasets))
def test_a_dataset_says_what_it_is(name: str) -> None:
    dataset = CATALOG.datasets[name]
    assert dataset.title and dataset.about and dataset.licence and dataset.url.startswith("http")
    assert dataset.sources
    assert name == "pydoc" or dataset.counts


@pytest.mark.parametrize("name", list(CATALOG.suite_files()))
def test_a_suite_resolves(name: str) -> None:
    suite = CATALOG.suite(name)
    assert suite.tasks and suite.methods
    mains = {(task.kind, task.main_measure) for task in suite.tasks}
    assert suite.aggregate == "none" or len(mains) == 1, "a mean over different measures"


def test_published_methods_can_be_run() -> None:
    for task in CATALOG.tasks.values():
        for number in task.published:
            assert parse_method(number.method).name == number.method
            assert 0 < number.value <= 1 and number.source
            assert number.measure in task.measures


def test_cqadupstack_counts_once() -> None:
    suite = CATALOG.suite("beir")
    (forums,) = suite.combined.values()
    assert len(forums) == 12
    assert len(suite.tasks) - len(forums) + 1 == 18


@needs("data")
@pytest.mark.parametrize(
    "name", [name for name in CATALOG.datasets if name.startswith(("beir/", "bright/", "msmarco/"))]
)
def test_counts_agree_with_the_judgements_here(name: str) -> None:
    dataset = CATALOG.datasets[name]
    try:
        reader = open_dataset(dataset)
    except TouchstoneError:
        assert name == "beir/robust04"  # its judgements are not on the mirror
        return
    judged, queries = reader.judgements(), reader.queries()  # type: ignore[union-attr]
    assert len(judged.query_ids) == dataset.counts["queries"]
    assert len(judged.qrels.docs) == dataset.counts["judgements"]
    assert set(judged.query_ids) <= set(queries)


@needs("data")
@pytest.mark.parametrize("name", list(STATISTICS))
def test_counts_agree_with_published_statistics(name: str) -> None:
    counts = CATALOG.datasets[f"beir/{name}"].counts
    found = json.loads(
        (DATA / "reference" / "mteb_descriptive_stats" / f"{STATISTICS[name]}.json").read_text()
    )
    test = found["test"]
    assert (counts["documents"], counts["queries"]) == (test["num_documents"], test["num_queries"])
    relevant = test["relevant_docs_statistics"]["num_relevant_docs"]
    assert relevant <= counts["judgements"]  # judgements of grade 0 are counted here and not there


@needs("data")
def test_text_lengths_of_scifact_agree_with_published_statistics() -> None:
    found = json.loads((DATA / "reference" / "mteb_descriptive_stats" / "SciFact.json").read_text())["test"]
    reader = open_dataset(CATALOG.datasets["beir/scifact"])
    judged = set(reader.judgements().query_ids)  # type: ignore[union-attr]
    queries = [text for name, text in reader.queries().items() if name in judged]  # type: ignore[union-attr]
    assert sum(map(len, queries)) == found["queries_text_statistics"]["total_text_length"]
    documents = sum(len(f"{d.title} {d.text}".strip()) for d in reader.documents())  # type: ignore[union-attr]
    assert documents == pytest.approx(found["documents_text_statistics"]["total_text_length"], rel=0.001)


@needs("data")
@pytest.mark.parametrize(
    "name", ["bright/leetcode", "bright/aops", "bright/theoremqa-questions", "bright/biology"]
)
def test_bright_excludes_documents_but_never_gold_ones(name: str) -> None:
    reader = open_dataset(CATALOG.datasets[name])
    excluded, judged = reader.excluded(), reader.judgements()  # type: ignore[union-attr]
    names = judged.doc_ids.to_pylist()
    pairs = sum(len(documents) for documents in excluded.values())
    assert (pairs == 0) == (name == "bright/biology")
    for row, query in enumerate(judged.query_ids):
        gold = {
            names[doc] for doc in judged.qrels.docs[judged.qrels.starts[row] : judged.qrels.starts[row + 1]]
        }
        assert gold.isdisjoint(excluded.get(query, ()))


def test_kinds_have_tasks() -> None:
    assert {task.kind for task in CATALOG.tasks.values()} >= {Kind.RANK, Kind.CHOOSE}
