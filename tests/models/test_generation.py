from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import TouchstoneError
from harness.models.generation import GREEDY, Sampling, TokenTrie, cut_at_stop, draw_keys, pick

LOGITS = np.log(np.array([0.1, 0.4, 0.3, 0.2]))


@pytest.mark.parametrize(
    ("sampling", "key", "allowed", "token"),
    [
        (GREEDY, 0.9, None, 1),
        (GREEDY, 0.9, (0, 3), 3),
        (Sampling(1.0), 0.0, None, 1),
        (Sampling(1.0), 0.39, None, 1),
        (Sampling(1.0), 0.41, None, 2),
        (Sampling(1.0), 0.71, None, 3),
        (Sampling(1.0), 0.95, None, 0),
        (Sampling(1.0), 0.999999, (0,), 0),
        (Sampling(1.0, top_k=1), 0.999, None, 1),
        (Sampling(1.0, top_k=2), 0.999, None, 2),
        (Sampling(1.0, top_p=0.4), 0.999, None, 1),
        (Sampling(1.0, top_p=0.5), 0.999, None, 2),
        (Sampling(1e-3), 0.999, None, 1),
    ],
)
def test_pick(sampling: Sampling, key: float, allowed: tuple[int, ...] | None, token: int) -> None:
    assert pick(LOGITS, sampling, key, allowed) == token


@given(st.floats(0.1, 5), st.integers(0, 6), st.floats(0.01, 1), st.floats(0, 1, exclude_max=True))
def test_a_draw_is_always_one_of_the_allowed(heat: float, top_k: int, top_p: float, key: float) -> None:
    logits = np.random.default_rng(1).normal(size=20)
    assert pick(logits, Sampling(heat, top_k, top_p), key, {3, 7, 11}) in {3, 7, 11}


def test_draws_follow_the_distribution() -> None:
    keys = draw_keys(Sampling(1.0, seed=4), [1, 2], 20_000)
    drawn = np.bincount([pick(LOGITS, Sampling(1.0), float(key), None) for key in keys], minlength=4)
    np.testing.assert_allclose(drawn / len(keys), [0.1, 0.4, 0.3, 0.2], atol=0.02)
    assert not np.array_equal(keys[:5], draw_keys(Sampling(1.0, seed=5), [1, 2], 5))
    assert not np.array_equal(keys[:5], draw_keys(Sampling(1.0, seed=4), [1, 3], 5))


@pytest.mark.parametrize("wrong", [{"temperature": -1}, {"top_k": -1}, {"top_p": 0}, {"stop": ("",)}])
def test_settings_out_of_range(wrong: dict[str, object]) -> None:
    with pytest.raises(TouchstoneError, match="out of range"):
        Sampling(**wrong)  # type: ignore[arg-type]


def test_trie() -> None:
    trie = TokenTrie.of([[1, 2], [1, 2, 3], [4]], stop=9)
    found = {
        written: sorted(trie(written)) for written in [(), (1,), (1, 2), (1, 2, 3), (4,), (5,), (1, 5, 6)]
    }
    assert found == {
        (): [1, 4],
        (1,): [2],
        (1, 2): [3, 9],
        (1, 2, 3): [],
        (4,): [],
        (5,): [],
        (1, 5, 6): [],
    }
    with pytest.raises(TouchstoneError, match="empty sequence"):
        TokenTrie.of([[]], stop=9)


def test_cut_at_stop() -> None:
    assert cut_at_stop("one\ntwo. three", (".", "\n")) == ("one", True)
    assert cut_at_stop("one", (".",)) == ("one", False)
