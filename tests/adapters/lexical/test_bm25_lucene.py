"""The adapter bm25-lucene on toy data and on SciFact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adapters.lexical.bm25_lucene import Bm25Lucene
from harness import lucene_adapter
from harness.adapter import Context
from harness.answers import Rankings
from harness.assets import Assets
from harness.data.dataset import DatasetSpec, Source
from harness.lucene_adapter import LuceneSettings
from harness.spec import Kind, TaskSpec
from harness.tasks.load import load_task
from harness.tasks.rank import RankTask
from tests.needs import needs
from tests.toys import TOPICS, write_mirror


def task_of(name: str, path: str, assets: Assets, depth: int = 12) -> RankTask:
    dataset = DatasetSpec(name, (Source("beir", path),))
    spec = TaskSpec(name, Kind.RANK, name, ("nDCG@10", "R@100"), depth=depth)
    task = load_task(spec, dataset, assets)
    assert isinstance(task, RankTask)
    return task


def context(assets: Assets) -> Context:
    def none(_method: str) -> Rankings:
        raise AssertionError("a first stage was asked for")

    return Context(assets, none)


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[RankTask, Assets]:
    write_mirror(tmp_path / "mirror")
    monkeypatch.setenv("TOUCHSTONE_DATA", str(tmp_path / "mirror"))
    assets = Assets(tmp_path / "assets")
    return task_of("toy", "toy", assets), assets


@needs("java")
def test_blocks_cover_the_items_and_the_index_is_made_once(
    toy: tuple[RankTask, Assets], monkeypatch: pytest.MonkeyPatch
) -> None:
    task, assets = toy
    monkeypatch.setattr(lucene_adapter, "BLOCK", 4)
    used = context(assets)
    parts = [answers for answers in Bm25Lucene().run(task, used) if isinstance(answers, Rankings)]
    assert [part.items.tolist() for part in parts] == [[0, 1, 2, 3], [4, 5]]
    assert set(used.meter.phases) == {"index", "search"}
    rankings = task.check(Rankings.concatenate(parts))
    relevant = [set(task.relevant(item)[0].tolist()) for item in range(len(TOPICS))]
    assert all(set(docs[:5].tolist()) == wanted for docs, wanted in zip(rankings.docs, relevant, strict=True))
    again = context(assets)
    rest = list(Bm25Lucene().run(task.select(task.items[4:]), again))
    assert isinstance(rest[0], Rankings)
    np.testing.assert_array_equal(rest[0].docs, parts[1].docs)
    assert again.meter.reused > 0
    assert len([path for path in (assets.root / "lucene").iterdir() if path.is_dir()]) == 1


@needs("java")
def test_settings_reach_lucene(toy: tuple[RankTask, Assets]) -> None:
    task, assets = toy

    def ranked(settings: LuceneSettings) -> Rankings:
        (answers,) = Bm25Lucene(settings).run(task, context(assets))
        assert isinstance(answers, Rankings)
        return answers

    plain, other = ranked(LuceneSettings()), ranked(LuceneSettings(k1=2.0, b=0.0, threads=1))
    assert not np.array_equal(plain.scores, other.scores)
    ranked(LuceneSettings(stemmer="none"))
    assert len([path for path in (assets.root / "lucene").iterdir() if path.is_dir()]) == 2


@needs("java")
def test_what_it_is_made_with_and_needs(toy: tuple[RankTask, Assets]) -> None:
    Bm25Lucene().check()
    assert str(Bm25Lucene().made_with()["anserini"])[0].isdigit()
    assert 100 << 20 < Bm25Lucene().need(toy[0]).bytes < 1 << 30


@needs("java", "data")
def test_scifact_through_the_task(tmp_path: Path) -> None:
    assets = Assets(tmp_path)
    task = task_of("scifact", "beir/scifact", assets, depth=100)
    (answers,) = Bm25Lucene().run(task, context(assets))
    means = dict(zip(task.spec.measures, task.score(answers).values.mean(axis=0), strict=True))
    assert means["nDCG@10"] == pytest.approx(0.6789, abs=5e-4)
    assert means["R@100"] == pytest.approx(0.9253, abs=5e-4)
