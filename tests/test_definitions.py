"""The shipped definitions: complete, consistent with each other and with the published data."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

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
NOT_ON_THE_MIRROR = ("beir/robust04", *(f"msmarco/trec-dl-{year}" for year in (2021, 2022, 2023)))
REWRITTEN = ("-gpt4", "-claude-3-opus", "-gemini-1.0", "-llama3-70b", "-grit")
REPEATED = {"beir/trec-covid": 2, "bright/theoremqa-questions": 178}  # pairs that come twice in the catalogue


def test_nothing_is_broken() -> None:
    assert CATALOG.broken == []


def test_the_five_benchmarks_are_whole() -> None:
    assert len(BEIR) == 17 + 12
    assert len([name for name in CATALOG.tasks if name.startswith("bright/")]) == 12 + 8 + 5 * 12
    assert len([name for name in CATALOG.tasks if name.startswith("mmlu/")]) == 57 + 4
    years = {f"msmarco/trec-dl-{year}" for year in range(2019, 2024)}
    assert {"msmarco/dev", *years} <= set(CATALOG.tasks)
    assert len([name for name in CATALOG.datasets if name.startswith("kilt/")]) == 11


@pytest.mark.parametrize("year", range(2019, 2024))
def test_the_tracks_have_their_graded_measures(year: int) -> None:
    task = CATALOG.task(f"msmarco/trec-dl-{year}")
    assert task.measures == ("nDCG@10", "RR(rel=2)@10", "AP(rel=2)", "R(rel=2)@1000")


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


@pytest.mark.parametrize("name", list(CATALOG.suite_files()))
def test_a_suite_names_its_aggregation(name: str) -> None:
    assert "\naggregate:" in CATALOG.suite_files()[name].read_text()


def test_everything_holds_every_task() -> None:
    whole = {name for name, task in CATALOG.tasks.items() if not task.group}
    assert {task.name for task in CATALOG.suite("everything").tasks} == whole


def test_the_suites_of_the_five_benchmarks_are_there() -> None:
    named = {"quickstart", "smoke", "beir", "beir-small", "msmarco", "bright", "kilt", "mmlu", "everything"}
    assert named | {"classic"} <= set(CATALOG.suite_files())


@pytest.mark.parametrize("name", list(CATALOG.datasets))
def test_what_can_be_downloaded_is_pinned(name: str) -> None:
    """A hub source names a commit; what no source offers for download says so in its licence."""
    remote = [source for source in CATALOG.datasets[name].sources if source.remote]
    for source in remote:
        assert source.format != "hub" or len(source.revision) == 40
        for digest in source.hashes.values():
            assert re.fullmatch(r"sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}", digest)
    if not remote and name not in ("pydoc", "msmarco/trec-dl-2019-pool", "msmarco/trec-dl-2020-pool"):
        assert name in ("beir/bioasq", "beir/signal1m", "beir/trec-news", "beir/robust04")
        assert "request" in CATALOG.datasets[name].licence or "registration" in CATALOG.datasets[name].licence


def test_ids_and_counts_agree_with_the_catalogue_of_ir_datasets() -> None:
    """The library ships the counts of its datasets: documents, queries and judgements."""
    import ir_datasets

    for dataset in CATALOG.datasets.values():
        for source in dataset.sources:
            if source.format == "ir_datasets":
                counts = {**dataset.counts, **source.counts}
                listed = ir_datasets.load(source.id).metadata()
                parent = ir_datasets.load(ir_datasets.docs_parent_id(source.id)).metadata()
                assert parent["docs"]["count"] == counts["documents"], source.id
                assert listed["queries"]["count"] == counts["queries"]
                grades = listed["qrels"].get("fields", {}).get("relevance", {}).get("counts_by_value", {})
                judged = sum(n for grade, n in grades.items() if grade != "-100")
                repeated = REPEATED.get(source.id, 0)
                assert not judged or judged - repeated == counts["judgements"], source.id


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
        assert name in NOT_ON_THE_MIRROR or name.endswith(REWRITTEN)
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
@pytest.mark.parametrize("name", [name for name, dataset in CATALOG.datasets.items() if dataset.characters])
def test_text_lengths_agree_with_published_statistics(name: str) -> None:
    """The entry against the published statistics, and the queries here against both."""
    dataset = CATALOG.datasets[name]
    found = _statistics(name)
    published = {
        "documents": found["documents_text_statistics"]["total_text_length"],
        "queries": found["queries_text_statistics"]["total_text_length"],
    }
    assert {**published, **dataset.characters} == published
    reader = open_dataset(dataset)
    judged = set(reader.judgements().query_ids)  # type: ignore[union-attr]
    texts = [text for query, text in reader.queries().items() if query in judged]  # type: ignore[union-attr]
    if "queries" in dataset.characters:
        assert sum(map(len, texts)) == dataset.characters["queries"]
        assert len(texts) == found["num_samples"] - dataset.counts["documents"]


def _statistics(name: str) -> dict[str, Any]:
    folder = DATA / "reference" / "mteb_descriptive_stats"
    group, _, part = name.partition("/")
    file = {"bright": "BrightRetrieval", "msmarco": "MSMARCO"}.get(group) or STATISTICS[part]
    found: dict[str, Any] = json.loads((folder / f"{file}.json").read_text())
    if group == "bright":
        subsets: dict[str, Any] = found["standard"]["hf_subset_descriptive_stats"]
        return dict(subsets[part.replace("-", "_")])
    return dict(found["dev" if group == "msmarco" else "test"])


@needs("data")
def test_text_lengths_of_scifact_agree_with_published_statistics() -> None:
    found = json.loads((DATA / "reference" / "mteb_descriptive_stats" / "SciFact.json").read_text())["test"]
    reader = open_dataset(CATALOG.datasets["beir/scifact"])
    judged = set(reader.judgements().query_ids)  # type: ignore[union-attr]
    queries = [text for name, text in reader.queries().items() if name in judged]  # type: ignore[union-attr]
    assert sum(map(len, queries)) == found["queries_text_statistics"]["total_text_length"]
    documents = sum(len(f"{d.title} {d.text}".strip()) for d in reader.documents())  # type: ignore[union-attr]
    assert documents == pytest.approx(found["documents_text_statistics"]["total_text_length"], rel=0.001)


def test_kinds_have_tasks() -> None:
    assert {task.kind for task in CATALOG.tasks.values()} >= {Kind.RANK, Kind.CHOOSE}


PYTHIA = {
    "mmlu": ("-5shot", ("70m", "160m", "410m", "1b", "1.4b", "2.8b", "6.9b", "12b")),
    "mmlu-0shot": ("", ("70m", "160m", "410m", "1.4b", "2.8b", "6.9b", "12b")),
}


@needs("data")
@pytest.mark.parametrize("name", list(PYTHIA))
def test_published_mmlu_numbers_are_those_of_pythias_authors(name: str) -> None:
    """Means over all questions and over the 57 subjects of the per-subject accuracies."""
    questions = Counter(q.group for q in open_dataset(CATALOG.datasets["mmlu"]).questions("test"))  # type: ignore[union-attr]
    published = {(p.method, p.measure): p.value for p in CATALOG.tasks[name].published}
    shots, sizes = PYTHIA[name]
    assert len(published) == 4 * len(sizes)
    for size in sizes:
        path = DATA / "reference" / "pythia-mmlu" / f"{size}{shots}_step143000.json"
        body = json.loads(path.read_text())
        subjects = {
            key.removeprefix("hendrycksTest-"): value
            for key, value in body["results"].items()
            if key.startswith("hendrycksTest-")
        }
        assert subjects.keys() == questions.keys()
        assert {body["versions"][f"hendrycksTest-{subject}"] for subject in subjects} == {0}
        # With letters both would be the same: texts were scored.
        assert sum(value["acc"] != value["acc_norm"] for value in subjects.values()) > 40
        for key, more in (("acc", ""), ("acc_norm", ",normalise=characters")):
            model = "" if size == "160m" else f",model=EleutherAI/pythia-{size}"
            method = f"hf-lm(answer=text{model}{more})"
            whole = sum(subjects[subject][key] * count for subject, count in questions.items()) / 14042
            assert published[method, "Acc"] == pytest.approx(whole, abs=5.1e-5)
            macro = sum(value[key] for value in subjects.values()) / 57
            assert published[method, "MacroAcc"] == pytest.approx(macro, abs=5.1e-5)
