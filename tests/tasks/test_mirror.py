"""Tasks of the real mirror: re-ranking of given runs, retrieval over the pool, BRIGHT's exclusions."""

from __future__ import annotations

import numpy as np
import pytest

from harness.assets import Assets
from harness.catalog import Catalog, shipped
from harness.data.sources import open_dataset
from harness.tasks.load import load_judgements, load_task
from harness.tasks.rank import RankTask, score_with_pages
from harness.trec import join, rankings_against, read_run
from tests.needs import DATA, needs

pytestmark = needs("data")
CATALOG = Catalog([shipped("suites")])
BRIGHT = [  # rewritten queries are on the hub only
    name
    for name, dataset in CATALOG.datasets.items()
    if name.startswith("bright/") and dataset.sources[0].format == "beir"
]


@pytest.fixture(scope="module")
def assets(tmp_path_factory: pytest.TempPathFactory) -> Assets:
    return Assets(tmp_path_factory.mktemp("assets"))


def _task(name: str, assets: Assets) -> RankTask:
    spec = CATALOG.task(name)
    task = load_task(spec, CATALOG.dataset(spec.dataset), assets)
    assert isinstance(task, RankTask)
    return task


@pytest.mark.parametrize("year", [2019, 2020])
def test_the_given_run_scores_as_its_file_does(assets: Assets, year: int) -> None:
    """Re-ranking starts from BM25's 100: unchanged, they score over all judgements what the file scores."""
    task = _task(f"msmarco/trec-dl-{year}-rerank", assets)
    run = read_run(DATA / "msmarco" / "runs" / f"trec-dl-{year}" / "bm25.trec")
    rankings, _ = rankings_against(run, task.query_ids, task.corpus.find)
    joined = join(run, load_judgements(CATALOG.dataset(f"msmarco/trec-dl-{year}")))
    by_file = score_with_pages(task.spec.measures, joined.qrels, joined.rankings, lambda query: (), None)
    summary = task.score(rankings).summary()
    for column, measure in enumerate(task.spec.measures):
        assert summary[measure].value == pytest.approx(by_file[:, column].mean(), abs=1e-9)
    assert 0.4 < summary["nDCG@10"].value < 0.6
    assert task.candidates is not None
    assert np.diff(task.candidates.starts).max() == 100


@pytest.mark.parametrize(("year", "queries"), [(2019, 43), (2020, 54)])
def test_judged_passages_outside_the_pool_are_out_of_reach(assets: Assets, year: int, queries: int) -> None:
    task = _task(f"msmarco/trec-dl-{year}-pool", assets)
    assert (len(task.corpus), len(task.items)) == (28606, queries)
    reachable = task.qrels.docs < len(task.corpus)
    assert 0.3 < reachable.mean() < 0.6


@pytest.mark.parametrize("name", BRIGHT)
def test_bright_excludes_no_relevant_document(name: str) -> None:
    reader = open_dataset(CATALOG.datasets[name])
    excluded, judged = reader.excluded(), reader.judgements()  # type: ignore[union-attr]
    documents = judged.doc_ids.to_pylist()
    for row, query in enumerate(judged.query_ids):
        gold = judged.qrels.docs[judged.qrels.starts[row] : judged.qrels.starts[row + 1]]
        assert {documents[doc] for doc in gold}.isdisjoint(excluded.get(query, ()))
    has_any = any(excluded.values())
    assert has_any == (name in ("bright/leetcode", "bright/aops", "bright/theoremqa-questions"))
