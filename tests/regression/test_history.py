"""Histories of stored runs, and change points against the exact optimum and by simulation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from harness.cli import group
from harness.errors import TouchstoneError
from harness.record import Record
from harness.regression.history import change_points, history, scores_of
from harness.spec import MethodSpec
from harness.store import Store
from tests.boards import record, store_record
from tests.needs import needs
from tests.test_leaderboard import HIGH, LOW

BM25 = MethodSpec("bm25", "bm25")


def test_a_step_is_found_where_it_is() -> None:
    (change,) = change_points(np.array([0.5, 0.51, 0.5, 0.49, 0.3, 0.31, 0.3, 0.3]))
    assert (change.at, change.before, change.after) == (4, pytest.approx(0.5), pytest.approx(0.3025))
    assert change.p_value <= 0.05


@pytest.mark.parametrize("values", [[0.5], [0.5] * 10, [0.5, 0.5, 0.1, 0.1], [0.1, 0.9] * 6])
def test_no_change_is_found_where_none_can_be_shown(values: list[float]) -> None:
    assert change_points(np.array(values)) == []


@needs("ruptures")
@pytest.mark.parametrize("seed", range(3))
def test_several_steps_are_those_of_the_exact_optimum(seed: int) -> None:
    import ruptures

    generator = np.random.default_rng(seed)
    values = np.repeat([0.2, 0.8, 0.5], [12, 9, 15]) + 0.05 * generator.normal(size=36)
    found = change_points(values, 0.01)
    exact = ruptures.Dynp("l2", min_size=2, jump=1).fit_predict(values, n_bkps=2)
    assert [change.at for change in found] == exact[:-1] == [12, 21]


def test_false_alarms_keep_to_alpha() -> None:
    generator = np.random.default_rng(0)
    alarms = sum(bool(change_points(generator.normal(size=12))) for _ in range(200))
    assert alarms / 200 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Store, Store]:
    """Seven runs in two stores; the method is worse from the fourth on. One more read other data."""
    stores = Store(tmp_path / "one"), Store(tmp_path / "two")
    for month in range(1, 8):
        values = HIGH if month < 4 else LOW
        made = record("bm25", values, finished=f"2026-0{month}-01T00:00:00+00:00")
        for store in stores[month > 2 :] if month != 2 else stores:
            store_record(store, made, values)
    last = record("bm25", LOW, finished="2026-08-01T00:00:00+00:00", data="d2")
    store_record(stores[0], last, LOW)
    return stores


def test_a_history_tests_each_step(runs: tuple[Store, Store]) -> None:
    points = scores_of(history(runs, BM25, "toy"), "")
    assert [point.record.finished[5:7] for point in points] == [f"0{m}" for m in range(1, 9)]
    steps = [point.step.difference if point.step else None for point in points]
    assert steps == [None, 0.0, 0.0, pytest.approx(-0.4), 0.0, 0.0, 0.0, None]
    fourth = points[3].step
    assert fourth is not None and fourth.p_value < 0.001


def test_the_command_shows_the_change(runs: tuple[Store, Store]) -> None:
    words = ["history", "bm25", "toy", "--results", str(runs[0].root), "--also", str(runs[1].root)]
    done = CliRunner().invoke(group, words, standalone_mode=False)
    assert done.exception is None, done.exception
    assert "change: 0.6500 to 0.2500" in done.output and "other data" in done.output
    body = json.loads(CliRunner().invoke(group, [*words, "--json"], standalone_mode=False).output)
    assert [change["at"] for change in body["changes"]] == [3] and len(body["points"]) == 8


def test_no_run_is_nothing_measured(runs: tuple[Store, Store]) -> None:
    with pytest.raises(TouchstoneError) as caught:
        history(runs, MethodSpec("dense", "dense"), "toy")
    assert caught.value.exit_code == 3
    with pytest.raises(TouchstoneError, match="no run has 'RR'"):
        scores_of(history(runs, BM25, "toy"), "RR")


def test_a_limited_or_failed_run_is_no_point(tmp_path: Path) -> None:
    store = Store(tmp_path)
    kept: list[Record] = [store_record(store, record("bm25", HIGH), HIGH)]
    store_record(store, record("bm25", LOW, limit=3), LOW)
    store_record(store, record("bm25", None, data="d3"), None)
    assert [one.record for one in history([store], BM25, "toy")] == kept
