"""Corrections for many tests on worked examples and against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.stats import benjamini_hochberg, holm


def test_holm_on_a_worked_example() -> None:
    """Sorted .005 .01 .03 .04, times 4 3 2 1: .02 .03 .06 .04, made monotone."""
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_keeps_the_order_and_never_lowers(p_values: list[float]) -> None:
    given_p = np.array(p_values)
    adjusted = holm(given_p)
    assert ((adjusted >= given_p) & (adjusted <= 1.0)).all()
    assert (np.diff(adjusted[np.argsort(given_p, kind="stable")]) >= 0).all()


def test_benjamini_hochberg_on_a_worked_example() -> None:
    """Sorted .01 .02 .03 .5, times 4/1 4/2 4/3 4/4: .04 .04 .04 .5."""
    found = benjamini_hochberg(np.array([0.5, 0.01, 0.03, 0.02]))
    assert found.tolist() == pytest.approx([0.5, 0.04, 0.04, 0.04])


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_benjamini_hochberg_equals_scipy_and_is_at_most_holm(p_values: list[float]) -> None:
    from scipy import stats

    given_p = np.array(p_values)
    found = benjamini_hochberg(given_p)
    assert found == pytest.approx(stats.false_discovery_control(given_p), abs=1e-12)
    assert (found <= holm(given_p) + 1e-12).all()
