"""How often a check is wrong, at small size, on real scores; benchmarks/check_behaviour.py has the whole."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.check_behaviour import Pair, read_pairs, verdicts
from harness.assets import Assets
from harness.catalog import Catalog
from harness.execute import Session
from harness.registry import parse_method
from harness.regression.check import Finding, Stored, judge, run_candidates
from harness.regression.judge import Verdict
from harness.regression.policy import Policy
from harness.store import Store
from tests.needs import DATA, needs
from tests.test_execute import quiet, run

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    """Real scores of methods on SciFact, from the results that the repository publishes."""
    return [pair for pair in read_pairs(Store(ROOT / "results")) if pair.rule.test != "mcnemar"]


def test_equals_raise_few_alarms(pairs: list[Pair]) -> None:
    assert pairs
    for pair in pairs:
        found = verdicts(pair, replace(pair.rule, effect=1e-9, test="t"), 0.0, 200)
        assert found[Verdict.WORSE] / 200 <= 0.05 + 3 * (0.05 * 0.95 / 200) ** 0.5


def test_drops_are_found(pairs: list[Pair]) -> None:
    for pair in pairs:
        rule = replace(pair.rule, effect=0.02, test="t")
        assert verdicts(pair, rule, 0.15, 30)[Verdict.WORSE] == 30
        assert verdicts(pair, rule, 0.001, 30)[Verdict.WORSE] <= 3


def check(session: Session, baseline: Stored, candidate: str) -> Finding:
    """The finding of a method that is run against a stored run of another."""
    (finding,) = judge(run_candidates([baseline], session, quiet, parse_method(candidate)), Policy(), {})
    return finding


@needs("data")
def test_bm25_with_a_broken_k1_is_worse(tmp_path: Path) -> None:
    session = Session(Catalog(), Store(tmp_path / "results"), Assets(tmp_path / "cache"))
    published = Store(ROOT / "results")
    finding = check(session, Stored(published, published.find("beir/scifact", "bm25")[-1]), "bm25(k1=100)")
    assert finding.verdict is Verdict.WORSE, finding.why


@needs("data", "minilm")
def test_an_encoder_in_int8_is_not_taken_for_fine(toy_places: Path, tmp_path: Path) -> None:
    """A part of SciFact: 40 queries over their own abstracts and 60 others, cut at 64 tokens."""
    source, folder = DATA / "beir" / "scifact", toy_places / "mirror" / "toy"
    rows = [line.split("\t") for line in (source / "qrels" / "test.tsv").read_text().splitlines()[1:]]
    names = list(dict.fromkeys(row[0] for row in rows))[:40]
    kept = [row for row in rows if row[0] in names]
    wanted = {row[1] for row in kept}
    lines = (source / "corpus.jsonl").read_text().splitlines()
    documents = [line for line in lines if json.loads(line)["_id"] in wanted] + lines[:60]
    (folder / "corpus.jsonl").write_text("\n".join(dict.fromkeys(documents)))
    queries = (source / "queries.jsonl").read_text().splitlines()
    (folder / "queries.jsonl").write_text("\n".join(q for q in queries if json.loads(q)["_id"] in names))
    (folder / "qrels" / "test.tsv").write_text("\n".join("\t".join(row) for row in [["q", "d", "s"], *kept]))
    session = Session(Catalog(), Store(tmp_path / "results"), Assets(tmp_path / "cache"))
    baseline = Stored(session.store, run(session, "dense(max_length=64)"))
    finding = check(session, baseline, "benchmarks.degraded:Int8Dense(max_length=64)")
    assert finding.verdict in (Verdict.WORSE, Verdict.CANNOT_TELL)
    assert finding.before != finding.after
