"""Corrections of p-values for the number of tests."""

from __future__ import annotations

import numpy as np

from harness.stats.intervals import Doubles, checked


def holm(p_values: Doubles) -> Doubles:
    """float64[m]: p-values adjusted for m tests by Holm 1979's step-down method."""
    p_values = checked(p_values)
    order = np.argsort(p_values, kind="stable")
    steps = p_values[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted


def benjamini_hochberg(p_values: Doubles) -> Doubles:
    """float64[m]: p-values adjusted by Benjamini & Hochberg 1995's step-up method.

    Rejecting those below q keeps the expected share of false rejections below q for independent tests; Holm
    keeps the chance of any below it.
    """
    p_values = checked(p_values)
    order = np.argsort(p_values, kind="stable")[::-1]
    steps = p_values[order] * len(p_values) / np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1.0, np.minimum.accumulate(steps))
    return adjusted
