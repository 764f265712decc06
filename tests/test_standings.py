"""Standings of many methods agree with those of a few, pair by pair and interval by interval."""

from __future__ import annotations

import numpy as np
import pytest

from harness import standings as module
from harness.ranking import ALPHA, Pool, corrected_p_values, resampled
from harness.standings import (
    item_weights,
    pairs_of_best,
    standings,
    summaries_of,
    t_values_of_all,
)
from harness.stats import holm, paired_t


def pool(methods: int, items: int, strata: int = 1, seed: int = 0) -> tuple[Pool, list[str]]:
    """Methods of falling skill on the same items."""
    generator = np.random.default_rng(seed)
    skills = np.linspace(0.7, 0.3, methods)
    values = np.clip(
        skills + generator.normal(0, 0.15, (items, 1)) + generator.normal(0, 0.1, (items, methods)), 0, 1
    )
    order = np.argsort(-values.mean(axis=0))
    return Pool(values[:, order], np.arange(items, dtype=np.int32) % strata), [
        f"m{n}" for n in range(methods)
    ]


def test_all_t_tests_at_once_are_the_single_ones() -> None:
    scores, _ = pool(5, 40)
    first, second = np.triu_indices(5, 1)
    single = [paired_t(scores.values[:, a], scores.values[:, b]) for a, b in zip(first, second, strict=True)]
    found = t_values_of_all(scores)
    assert found[first, second] == pytest.approx(holm(np.array(single)), rel=1e-9)
    assert np.array_equal(found, found.T) and (np.diag(found) == 1.0).all()


def test_with_strata_the_t_test_says_what_the_randomisation_test_says() -> None:
    scores, _ = pool(6, 120, strata=4, seed=3)
    t, drawn = t_values_of_all(scores), corrected_p_values(scores)
    first, second = np.triu_indices(6, 1)
    clear = np.abs(drawn[first, second] - ALPHA) > 0.03
    assert clear.sum() > 10
    assert ((t < ALPHA) == (drawn < ALPHA))[first, second][clear].all()


def test_equal_and_shifted_methods() -> None:
    base = np.random.default_rng(1).random(30)
    found = t_values_of_all(Pool(np.stack([base, base, base - 0.5], axis=1), np.zeros(30, np.int32)))
    assert found[0, 1] == 1.0 and found[0, 2] == found[1, 2] == 0.0
    assert t_values_of_all(Pool(base[:, None], np.zeros(30, np.int32))).tolist() == [[1.0]]


def test_many_methods_stand_where_few_would(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, keys = pool(8, 200, strata=2)
    few = standings(scores, keys)
    monkeypatch.setattr(module, "FEW", 3)
    many = standings(scores, keys)
    assert [one.rank for one in many] == [one.rank for one in few]
    assert [one.tier for one in many] == [one.tier for one in few]
    for ours, theirs in zip(many, few, strict=True):
        assert ours.score.value == pytest.approx(theirs.score.value, abs=1e-12)
        assert (ours.score.low, ours.score.high) == pytest.approx(
            (theirs.score.low, theirs.score.high), abs=0.005
        )
        if ours.behind and theirs.behind:
            assert ours.behind.difference == pytest.approx(theirs.behind.difference, abs=1e-12)
            assert ours.behind.low == pytest.approx(theirs.behind.low, abs=0.005)
            assert (ours.behind.wins, ours.behind.losses) == (theirs.behind.wins, theirs.behind.losses)
    assert few[0].behind is None and many[0].behind is None


def test_pairs_of_the_best_are_corrected_over_the_pairs_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, keys = pool(8, 60)
    few = pairs_of_best(scores, keys, 3)
    assert [(one.better, one.worse) for one in few] == [("m0", "m1"), ("m0", "m2"), ("m1", "m2")]
    monkeypatch.setattr(module, "FEW", 3)
    many = pairs_of_best(scores, keys, 3)
    assert [one.p_value for one in many] == [one.p_value for one in few]
    assert [one.low for one in many] == pytest.approx([one.low for one in few], abs=0.01)


def test_a_score_weighs_strata_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = Pool(np.array([[1.0], [0.0], [0.0], [0.5]]), np.array([0, 1, 1, 1], np.int32))
    assert item_weights(scores).tolist() == pytest.approx([1 / 2, 1 / 6, 1 / 6, 1 / 6])
    monkeypatch.setattr(module, "FEW", 0)
    one = summaries_of(scores)[0]
    assert one.value == pytest.approx((1.0 + 0.5 / 3) / 2) and one.low <= one.value <= one.high
    assert resampled(scores).shape == (2000, 1)
