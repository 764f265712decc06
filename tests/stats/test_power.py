"""Power against published tables and against simulation."""

from __future__ import annotations

import numpy as np
import pytest

from harness.errors import TouchstoneError
from harness.stats import items_needed, paired_t, power_of, smallest_difference


@pytest.mark.parametrize(
    ("effect", "items"),
    # G*Power 3.1, "difference between two dependent means", two-sided, alpha 0.05, power 0.8.
    [(0.2, 199), (0.5, 34), (0.8, 15)],
)
def test_items_needed_are_those_of_the_known_tables(effect: float, items: int) -> None:
    assert items_needed(effect) == items_needed(-effect) == items
    assert power_of(effect, items) >= 0.8 > power_of(effect, items - 1)


def test_no_number_of_items_finds_nothing() -> None:
    assert items_needed(0.0) == items_needed(float("nan")) == 0
    assert power_of(1.0, 1) == 0.0
    assert power_of(0.0, 50) == pytest.approx(0.05, abs=1e-6)


def test_the_smallest_difference_is_found_four_times_in_five() -> None:
    generator = np.random.default_rng(0)
    spread = generator.normal(size=80)
    smallest = smallest_difference(spread)
    shift = smallest / spread.std(ddof=1)
    found = [paired_t(generator.normal(shift, 1.0, 80), np.zeros(80)) < 0.05 for _ in range(2000)]
    assert np.mean(found) == pytest.approx(0.8, abs=0.03)


def test_groups_count_alike() -> None:
    generator = np.random.default_rng(1)
    differences = generator.normal(size=110)
    groups = np.repeat(np.arange(2), [10, 100]).astype(np.int32)
    error = np.sqrt(differences[:10].var(ddof=1) / 10 + differences[10:].var(ddof=1) / 100) / 2
    whole = np.sqrt(differences.var(ddof=1) / 110)
    ratio = smallest_difference(differences, groups) / smallest_difference(differences)
    assert ratio == pytest.approx(error / whole, rel=1e-9)


def test_a_spread_needs_two_items() -> None:
    assert smallest_difference(np.array([0.5, 0.5])) == 0.0
    with pytest.raises(TouchstoneError, match="needs two items"):
        smallest_difference(np.array([0.5]))
