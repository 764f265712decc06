"""Numbers as text."""

from __future__ import annotations

import pytest

from harness.format import duration, interval_text, latency, probability, rate, score_text, signed, size
from harness.scores import Summary

SUMMARY = Summary(0.64512, 0.5981, 0.6904, 300)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 ms"),
        (0.0204, "20 ms"),
        (0.4, "0.4 s"),
        (38.2, "38 s"),
        (125, "2 min 5 s"),
        (12000, "3 h 20 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.000421, "0.42 ms"), (0.00812, "8.1 ms"), (0.12, "120 ms"), (2.41, "2.4 s")]
)
def test_latencies(seconds: float, text: str) -> None:
    assert latency(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1300, "1.3 kB"),
        (12_000_000, "12 MB"),
        (4.2e9, "4.2 GB"),
        (5e12, "5.0 TB"),
    ],
)
def test_sizes(count: float, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0312, "+0.031"), (-0.0312, "−0.031"), (-0.0004, "0.000"), (0.0, "0.000")]
)
def test_differences(value: float, text: str) -> None:
    assert signed(value) == text


@pytest.mark.parametrize(("p", "text"), [(0.0341, "0.034"), (0.0009, "< 0.001"), (1.0, "1.000")])
def test_probabilities(p: float, text: str) -> None:
    assert probability(p) == text


@pytest.mark.parametrize(("per_second", "text"), [(1042.3, "1,042"), (9.87, "9.9"), (0.0531, "0.053")])
def test_rates(per_second: float, text: str) -> None:
    assert rate(per_second) == text


def test_scores() -> None:
    assert interval_text(SUMMARY) == "[0.598, 0.690]"
    assert score_text(SUMMARY) == "0.6451 [0.598, 0.690]"
    assert score_text(None) == "FAILED"
