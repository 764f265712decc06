"""Reading what a language model answers about a slate."""

from __future__ import annotations

import pytest

from harness.judges import read_scores


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '{"reasoning": "x", "ranking": [1, 0], "relevance_scores": [[0, 20], [1, 95.5]]}',
            {0: 0.2, 1: 0.955},
        ),
        ('Sure!\n```json\n{"relevance_scores" : [[1, 100]\n]}\n```', {1: 1.0}),
        ('{"relevance_scores": [[0, 250], [1, -4]]}', {0: 1.0, 1: 0.0}),
        ('{"relevance_scores": [[7, 50], [0, 50]]}', {0: 0.5}),  # an id that was not shown
        ('{"relevance_scores": [["0", "50"]]}', {0: 0.5}),
        ('{"relevance_scores": [[0, NaN]]}', {}),
        ('{"relevance_scores": [[0, "high"]]}', {}),
        ('{"relevance_scores": [0, 1]}', {}),
        ('{"relevance_scores": []}', {}),
        ("Once upon a time", {}),
        ("", {}),
    ],
)
def test_scores_of_an_answer(text: str, expected: dict[int, float]) -> None:
    assert read_scores(text, 2) == pytest.approx(expected)
