"""SEAL's weights and sums against hand-worked values and a plain loop."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.fm_index import FmIndex, build_fm_index
from harness.ngrams import Covered, Evidence, EvidenceSpec, Key, key_weight

END = 2
SIZE = 10  # vocabulary


@pytest.mark.parametrize(
    ("logprob", "count", "expected"),
    [(-1.0, 4, 17.349), (-1.0, 400, 0.0), (-6.0, 4, 0.0), (math.log(9 / 1005), 4, 0.0), (-1.0, 0, 0.0)],
)
def test_hand_worked_weights(logprob: float, count: int, expected: float) -> None:
    found = key_weight(np.array([logprob]), np.array([float(count)]), 1000, 5.0, 2.0)
    assert found[0] == pytest.approx(expected, abs=2e-3)


def test_hand_worked_cover() -> None:
    index = build_fm_index([[3, 4, 5]], END)
    first, second = (Key(t, index.find(t), 1.0) for t in ((3,), (3, 4, 5)))
    covered = Covered([first, second], 1)
    row = np.array([0])
    covered.add(first, row)
    assert 1 - 0.8 * covered.share(second, row)[0] == pytest.approx(0.2 + 0.8 * 2 / 3)
    covered.add(second, row)
    assert 1 - 1.0 * covered.share(second, row)[0] == 0.0


def plain(index: FmIndex, number: int, keys: list[Key], unigrams: np.ndarray, spec: EvidenceSpec) -> float:
    """The score of one passage, place by place. Keys come heaviest first."""
    text = index.passage(number)[:-1]
    if number + 1 < index.passages:
        text = [END, *text]
    free, covered, total, best = [True] * len(text), set[int](), 0.0, 0.0
    for key in keys:
        width = len(key.tokens)
        starts = [
            start
            for start in range(len(text) - width + 1)
            if tuple(text[start : start + width]) == key.tokens and all(free[start : start + width])
        ]
        if starts:
            held = set(key.tokens)
            total += key.weight * (1 - spec.repeat + spec.repeat * len(held - covered) / len(held))
            best = max(best, key.weight)
            covered |= held
        for start in starts:
            free[start : start + width] = [False] * width
    for token in {token for token, open_ in zip(text, free, strict=True) if open_}:
        total += unigrams[token] * (1 - spec.repeat if token in covered else 1)
    return (1 - spec.single_key) * total + spec.single_key * best


@settings(max_examples=120, deadline=None)
@given(
    st.lists(st.lists(st.integers(3, 6), min_size=1, max_size=10), min_size=1, max_size=5),
    st.lists(
        st.lists(st.integers(3, 6), min_size=1, max_size=3).map(tuple), min_size=1, max_size=6, unique=True
    ),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.sampled_from([0, 3, 100]),
    st.integers(0, 1000),
)
def test_equal_to_a_plain_loop(
    texts: list[list[int]], grams: list[tuple[int, ...]], single: float, hits: int, seed: int
) -> None:
    index, generator = build_fm_index(texts, END), np.random.default_rng(seed)
    weights = generator.permutation(len(grams)) + 0.5
    keys = [Key(gram, index.find(gram), float(w)) for gram, w in zip(grams, weights, strict=True)]
    unigrams = np.where(generator.random(SIZE) < 0.5, generator.random(SIZE), 0.0)
    spec = EvidenceSpec(max_hits=hits, single_key=single)
    docs, scores = Evidence(index, spec).ranked(keys, unigrams, 10)
    order = sorted(keys, key=lambda key: -key.weight)
    rare = {
        number
        for key in order
        if 0 < key.span.count <= hits
        for number, text in enumerate(texts)
        if key.tokens in [tuple(text[i : i + len(key.tokens)]) for i in range(len(text))]
    }
    expected = {n: s for n in rare if (s := plain(index, n, order, unigrams, spec)) > 0}
    assert dict(zip(docs.tolist(), scores.round(9).tolist(), strict=True)) == {
        n: round(s, 9) for n, s in expected.items()
    }
    assert all(a >= b for a, b in itertools.pairwise(scores))


def test_twins_tie_and_order_does_not_matter() -> None:
    texts = [[3, 4, 5], [6, 7], [3, 4, 5], [3, 8]]
    unigrams = np.zeros(SIZE)
    for turned in (texts, texts[::-1]):
        index = build_fm_index(turned, END)
        keys = [Key(t, index.find(t), w) for t, w in (((3, 4), 2.0), ((3,), 1.0))]
        docs, scores = Evidence(index, EvidenceSpec()).ranked(keys, unigrams, 10)
        found = {tuple(turned[doc]): score for doc, score in zip(docs, scores, strict=True)}
        assert found == {(3, 4, 5): 2.0, (3, 8): 1.0}
        assert len(docs) == 3
