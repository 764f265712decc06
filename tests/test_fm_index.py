"""The FM-index against counting by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import TouchstoneError
from harness.fm_index import FmIndex, build_fm_index, suffix_array

END = 2
TOY = build_fm_index([[5, 6, 7], [5, 6, 8], [6, 7, 5, 6]], END)
passages = st.lists(st.lists(st.integers(3, 7), max_size=12), min_size=1, max_size=6)


def occurrences(texts: list[list[int]], wanted: list[int]) -> list[tuple[int, int]]:
    """(passage, position) of every occurrence, overlapping ones too."""
    width = len(wanted)
    return [
        (number, place)
        for number, text in enumerate(texts)
        for place in range(len(text) - width + 1)
        if text[place : place + width] == wanted
    ]


@pytest.mark.parametrize(
    ("tokens", "count", "following"),
    [([5, 6], 3, {2, 7, 8}), ([6, 7], 2, {2, 5}), ([2, 5], 2, {6}), ([2, 6], 0, set()), ([9], 0, set())],
)
def test_hand_worked_counts(tokens: list[int], count: int, following: set[int]) -> None:
    span = TOY.find(tokens)
    assert span.count == count
    assert set(TOY.continuations(span)[0].tolist()) == following


def test_the_empty_sequence_counts_every_token() -> None:
    assert TOY.continuations(TOY.find([]))[1].sum() == len(TOY) == 13


@settings(max_examples=150, deadline=None)
@given(passages, st.lists(st.integers(3, 7), min_size=1, max_size=4))
def test_equal_to_counting(texts: list[list[int]], wanted: list[int]) -> None:
    index = build_fm_index(texts, END)
    found = occurrences(texts, wanted)
    span = index.find(wanted)
    assert span.count == len(found)
    after = [[*text, END][place + len(wanted)] for text, place in ((texts[n], p) for n, p in found)]
    symbols, counts = index.continuations(span)
    assert dict(zip(symbols.tolist(), counts.tolist(), strict=True)) == {
        s: after.count(s) for s in set(after)
    }
    assert sorted(index.passage_of(index.locate(span)).tolist()) == sorted(n for n, _ in found)
    assert [index.passage(number) for number in range(index.passages)] == [[*text, END] for text in texts]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 3), max_size=40))
def test_suffixes_are_sorted(symbols: list[int]) -> None:
    text = np.array([*symbols, 0], np.int32)
    found = suffix_array(text).tolist()
    assert found == sorted(range(len(text)), key=lambda start: text[start:].tolist())


def test_saved_and_opened(tmp_path: Path) -> None:
    TOY.save(tmp_path)
    opened = FmIndex.open(tmp_path)
    assert opened.find([5, 6]) == TOY.find([5, 6])
    assert opened.passage(2) == TOY.passage(2)


def test_nothing_to_index() -> None:
    with pytest.raises(TouchstoneError, match="no passages"):
        build_fm_index([], END)
