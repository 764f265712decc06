"""Which results are current, and the rows, holes, bounds and tiers of a leaderboard."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from harness.catalog import Catalog, Suite
from harness.columns import competitors, current_records, hardest, methods_of, pool
from harness.errors import TouchstoneError
from harness.execute import Session
from harness.leaderboard import board, read_results
from harness.record import RECORD_FILE, Latency, Record, record_of
from harness.spec import Json, MethodSpec
from harness.store import ITEMS_FILE, Store
from tests.boards import TOY, column, mean, methods, record, store_record
from tests.test_execute import run

LOW, HIGH = np.linspace(0.0, 0.5, 30), np.linspace(0.4, 0.9, 30)
NAMES = ("bm25", "dense", "random")


def suite(*names: str, aggregate: str = "mean", wanted: tuple[str, ...] = ()) -> Suite:
    assert aggregate in ("mean", "none")
    tasks = tuple(replace(TOY, name=name) for name in names)
    specs = tuple(MethodSpec(name, name) for name in wanted)
    return Suite("s", "S", "", tasks, specs, "mean" if aggregate == "mean" else "none")


def current_of(*records: Record) -> list[str]:
    return [one.id for one in current_records(records, "nDCG@10").values()]


def test_the_newest_of_a_method_is_current() -> None:
    old, new = record("bm25", LOW, finished="2026-01-01"), record("bm25", HIGH, finished="2026-02-01")
    assert current_of(old, new) == [new.id]


def test_other_seeds_and_limited_runs_are_never_current() -> None:
    whole = record("bm25", LOW, finished="2026-01-01")
    seeded = record("bm25", HIGH, finished="2026-02-01")
    seeded = replace(seeded, run=replace(seeded.run, seed=1))
    limited = record("bm25", HIGH, finished="2026-02-01", limit=10)
    assert current_of(whole, seeded, limited) == [whole.id]
    assert current_of(seeded, limited) == []


def test_failed_runs_and_runs_without_the_main_measure_are_not_current() -> None:
    other = record("bm25", LOW, replace(TOY, measures=("AP",)), finished="2026-02-01")
    assert current_of(record("bm25", None), other) == []


def test_results_on_different_data_are_never_mixed() -> None:
    first = [record(name, LOW, finished="2026-01-01", data="d1") for name in NAMES]
    lone = record("bm25", HIGH, finished="2026-03-01", data="d2")
    assert sorted(current_of(*first, lone)) == sorted(one.id for one in first)
    rest = [record(name, HIGH, finished="2026-04-01", data="d2") for name in NAMES[1:]]
    assert sorted(current_of(*first, lone, *rest)) == sorted(one.id for one in (lone, *rest))


def test_one_method_under_two_names_is_one_row_and_clashing_names_tell_their_settings() -> None:
    named = record(MethodSpec("mine", "bm25", {"k1": 1.2}), LOW, finished="2026-01-01")
    again = record(MethodSpec("bm25(k1=1.2)", "bm25", {"k1": 1.2}), LOW, finished="2026-02-01")
    other = record(MethodSpec("bm25(k1=1.2)", "bm25", {"k1": 1.3}), LOW, finished="2026-03-01")
    assert named.run.method.key == again.run.method.key != other.run.method.key
    assert [method.name for method in methods_of([named]).values()] == ["mine"]
    names = [method.name for method in methods_of([named, again, other]).values()]
    assert names == ["bm25(k1=1.2): bm25(k1=1.2)", "bm25(k1=1.2): bm25(k1=1.3)"]


def test_bounds_are_shown_and_not_ranked() -> None:
    toy = column({"bm25": LOW, "dense": HIGH, "oracle": np.ones(30)})
    found = board(suite("toy"), {"toy": toy}, methods(toy, bounds=("oracle",)))
    assert [row.method.name for row in found.ranked] == ["dense", "bm25"]
    assert [(row.rank, row.tier) for row in found.ranked] == [((1, 1), 1), ((2, 2), 2)]
    bound = found.bounds[0]
    assert (bound.method.name, bound.rank, bound.tier) == ("oracle", None, 0)
    assert bound.score and bound.score.value == 1.0


def test_the_mean_is_over_tasks_and_costs_add_up() -> None:
    one, two = column({"bm25": LOW}, "one"), column({"bm25": HIGH[:10]}, "two")
    row = board(suite("one", "two"), {"one": one, "two": two}, methods(one, two)).ranked[0]
    assert row.score and row.cost
    assert row.score.value == pytest.approx((mean(LOW) + mean(HIGH[:10])) / 2)
    assert row.score.low < row.score.value < row.score.high
    assert (row.cost.cold_seconds, row.cost.items_per_second) == (6.0, pytest.approx(50.0))
    assert (row.cost.peak_memory_bytes, row.cost.index_bytes) == (10**8, 2 * 10**6)


def test_a_row_with_a_hole_has_no_mean_and_no_rank() -> None:
    one = column({"bm25": LOW, "dense": HIGH, "broken": None}, "one")
    two = column({"bm25": LOW}, "two")
    found = board(suite("one", "two"), {"one": one, "two": two}, methods(one, two))
    assert [row.method.name for row in found.ranked] == ["bm25"]
    holes = {
        row.method.name: [cell.status if cell else None for cell in row.cells] for row in found.incomplete
    }
    assert holes == {"broken": ["failed", None], "dense": ["done", None]}
    assert all(row.score is None and row.rank is None and row.cost is None for row in found.incomplete)


def test_a_task_without_results_leaves_every_row_incomplete() -> None:
    one = column({"bm25": LOW, "random": LOW}, "one")
    found = board(
        suite("one", "two", wanted=("bm25", "dense")), {"one": one}, methods(one, bounds=("random",))
    )
    assert found.ranked == ()
    assert [row.method.name for row in found.incomplete] == ["bm25"]
    assert [(row.method.name, row.score) for row in found.bounds] == [("random", None)]
    assert found.not_run == ("dense",)


def test_equal_scores_share_rank_and_tier_and_come_by_name() -> None:
    toy = column({"zeta": LOW, "alpha": LOW})
    found = board(suite("toy"), {"toy": toy}, methods(toy))
    assert [(row.method.name, row.rank, row.tier) for row in found.ranked] == [
        ("alpha", (1, 1), 1),
        ("zeta", (1, 1), 1),
    ]
    assert found.ranked[0].behind is None
    behind = found.ranked[1].behind
    assert behind and (behind.difference, behind.p_value) == (0.0, 1.0)


def test_a_suite_that_is_not_averaged_has_no_mean() -> None:
    one, two = column({"bm25": LOW, "dense": HIGH}, "one"), column({"bm25": LOW, "dense": LOW}, "two")
    found = board(suite("one", "two", aggregate="none"), {"one": one, "two": two}, methods(one, two))
    assert [(row.method.name, row.score, row.rank) for row in found.ranked] == [
        ("bm25", None, None),
        ("dense", None, None),
    ]


def test_a_task_of_group_means_counts_as_one_task() -> None:
    groups = [0] * 10 + [1] * 20
    grouped, plain = column({"bm25": LOW}, "one", groups), column({"bm25": HIGH}, "two")
    pooled = pool([grouped, plain], list(grouped.current))
    by_group = (mean(LOW[:10]) + mean(LOW[10:])) / 2
    assert pooled.score(0).value == pytest.approx((by_group + mean(HIGH)) / 2)


def test_the_hardest_items_come_first() -> None:
    toy = column(
        {"bm25": np.array([0.5, 0.0, 0.2]), "dense": np.array([0.1, 0.0, 0.9]), "oracle": np.ones(3)}
    )
    keys = competitors(toy, methods(toy, bounds=("oracle",)))
    assert hardest(toy, keys, 2) == [("q1", 0.0, 0.0), ("q0", pytest.approx(0.3), 0.5)]


def test_stored_runs_become_a_board(session: Session) -> None:
    for method in ("bm25", "random", "oracle"):
        run(session, method)
    run(session, "random", "quiz")
    found = read_results(session.store, session.catalog)
    toys = next(one for one in found.boards if one.suite.name == "toys")
    assert [row.method.name for row in toys.incomplete] == ["bm25"]
    assert {row.method.name: row.complete for row in toys.bounds} == {"oracle": False, "random": True}
    assert found.tasks["toy"].values.shape == (6, 3)
    score = found.tasks["toy"].current[toys.incomplete[0].method.key].main
    assert score and score.value == pytest.approx(found.tasks["toy"].values.mean(axis=0).max(), abs=0.5)


def test_macro_accuracy_keeps_its_groups(session: Session) -> None:
    task = replace(session.catalog.task("quiz"), measures=("MacroAcc",))
    session.catalog.tasks["quiz"] = task
    stored = run(session, "random", "quiz")
    found = read_results(session.store, session.catalog).tasks["quiz"]
    assert sorted(set(found.groups.tolist())) == [0, 1]
    assert stored.main and pool([found], list(found.current)).score(0).value == pytest.approx(
        stored.main.value
    )


def test_a_suite_that_cannot_be_read_is_told_and_stops_nothing(session: Session, toy_places: Path) -> None:
    run(session, "random")
    (toy_places / "suites" / "bad.yaml").write_text(
        "name: bad\ntitle: Bad\nabout: ''\ntasks: [toy]\nmethods: [nope]\n"
    )
    found = read_results(session.store, Catalog())
    names = [one.suite.name for one in found.boards]
    assert "toys" in names and "bad" not in names
    assert len(found.left_out) == 1 and "nope" in found.left_out[0]


def test_runs_over_other_items_are_an_error(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store_record(store, record("bm25", LOW), LOW)
    store_record(store, record("dense", LOW[:5]), LOW[:5])
    with pytest.raises(TouchstoneError, match="items are not those of the other runs"):
        read_results(store, Catalog([]))


def test_items_stored_in_another_way_are_the_same_items(tmp_path: Path) -> None:
    store = Store(tmp_path)
    ways = ({}, {}, {"use_dictionary": False}, {"row_group_size": 2}, {"compression": "gzip"}, {})
    for number, way in enumerate(ways):
        made = store_record(store, record(f"m{number}", LOW + number / 100), LOW + number / 100)
        file = store.folder(made) / ITEMS_FILE
        pq.write_table(pq.read_table(file), file, **way)
    found = read_results(store, Catalog([])).tasks["toy"]
    for key, one in found.current.items():
        number = int(one.run.method.name[1:])
        assert np.array_equal(found.values[:, found.places[key]], LOW + number / 100)
    assert found.items == tuple(f"q{number}" for number in range(len(LOW)))


def test_records_are_read_as_stored(tmp_path: Path) -> None:
    store, made = Store(tmp_path), record("bm25", LOW)
    latency = Latency(0.1, 0.2, 0.3, 4, 1, {"cpu": "x"})
    made = replace(made, latency=latency, provenance={**made.provenance, "versions": {"numpy": "2"}})
    wanted = [store_record(store, one, LOW if one.scores else None) for one in (made, record("broken", None))]
    found = read_results(store, Catalog([]))
    assert sorted(found.records, key=str) == sorted(wanted, key=str)
    for one in wanted:
        text = (store.folder(one) / RECORD_FILE).read_bytes()
        assert record_of(text, "here") == one
        assert found.digests[one.id] == hashlib.sha256(text).hexdigest() and found.sizes[one.id] == len(text)


def test_runs_of_one_method_share_it_and_names_keep_apart(tmp_path: Path) -> None:
    store, tasks = Store(tmp_path), [replace(TOY, name=name) for name in ("toy", "toy2")]
    named = replace(record("bm25", LOW, tasks[0]), id="0" * 16)
    named = replace(named, run=replace(named.run, method=replace(named.run.method, name="mine")))
    for one in (record("bm25", LOW, tasks[0]), record("bm25", LOW, tasks[1]), named):
        store_record(store, one, LOW)
    found = read_results(store, Catalog([]))
    assert sorted(one.run.method.name for one in found.records) == ["bm25", "bm25", "mine"]
    assert len({id(one.run.method) for one in found.records}) == 2


def test_a_run_without_its_items_is_an_error(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store_record(store, record("bm25", LOW), None)
    with pytest.raises(TouchstoneError, match="cannot read the per-item scores"):
        read_results(store, Catalog([]))


def test_a_run_stored_under_two_names_is_shown_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for name, finished in (("mine", "2026-01-01"), ("bm25(k1=1.2)", "2026-02-01")):
        made = record(MethodSpec(name, "bm25", {"k1": 1.2}), LOW, finished=finished)
        store_record(store, replace(made, id="0123456789abcdef"), LOW)
    found = read_results(store, Catalog([]))
    (kept,) = found.records
    assert (kept.run.method.name, kept.finished) == ("bm25(k1=1.2)", "2026-02-01")
    file = store.folder(kept) / RECORD_FILE
    assert found.digests == {kept.id: hashlib.sha256(file.read_bytes()).hexdigest()}


def test_combined_tasks_count_as_one(tmp_path: Path) -> None:
    store = Store(tmp_path)
    specs = [replace(TOY, name=name) for name in ("alone", "part-a", "part-b")]
    for spec, value in zip(specs, (0.9, 0.3, 0.1), strict=True):
        store_record(store, record("bm25", np.full(30, value), spec), np.full(30, value))
    found = read_results(store, Catalog([]))
    plain = Suite("s", "S", "", tuple(specs), (), "mean")
    both = replace(plain, combined={"parts": ("part-a", "part-b")})
    scores = [board(one, found.tasks, found.methods).ranked[0].score for one in (plain, both)]
    assert [score.value for score in scores if score] == pytest.approx(
        [(0.9 + 0.3 + 0.1) / 3, (0.9 + 0.2) / 2]
    )


def test_a_method_names_the_models_of_its_parts() -> None:
    base = record("dense", LOW)
    dense = replace(base, provenance={**base.provenance, "made_with": {"encoder": {"model": "mini"}}})
    fused = record("fusion", LOW)
    parts: dict[str, Json] = {"dense": dense.id, "lost": "0" * 16, "itself": fused.id}
    fused = replace(fused, provenance={**fused.provenance, "made_with": {"parts": parts}})
    found = {method.name: method.models for method in methods_of([dense, fused]).values()}
    assert found == {"dense": ("mini",), "fusion": ("mini",)}
