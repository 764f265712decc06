from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import vectors
from harness.answers import PAD, Floats
from harness.assets import Assets
from harness.models.batching import Progress
from harness.models.profile import Role
from harness.spec import Json
from harness.vectors import SearchSpec, corpus_vectors, top_k
from tests.needs import needs


class Letters:
    """An encoder that counts letters; it stops with an error at a text that it is told to refuse."""

    dimension = 26
    device = "cpu"

    def __init__(self, name: str = "letters", refuse: str = "", query_prompt: str = "") -> None:
        self.identity: dict[str, Json] = {"model": name, "query_prompt": query_prompt}
        self.refuse = refuse
        self.encoded: list[str] = []

    def encode(self, texts: Sequence[str], role: Role, progress: Progress | None = None) -> Floats:
        if self.refuse and self.refuse in texts:
            raise RuntimeError(self.refuse)
        self.encoded += texts
        return np.array([[text.count(chr(97 + i)) for i in range(26)] for text in texts], np.float32)


class Lines:
    """A corpus of strings."""

    def __init__(self, lines: Sequence[str], digest: str = "lines") -> None:
        self.lines, self.digest = lines, digest

    def __len__(self) -> int:
        return len(self.lines)

    def texts(self, start: int, stop: int) -> list[str]:
        return list(self.lines[start:stop])


LINES = Lines([f"{'abc' * (i % 7)} line {chr(97 + i % 26)}" for i in range(25)])


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "SHARD", 10)


def test_vectors_of_a_corpus_are_made_once(tmp_path: Path) -> None:
    encoder, told = Letters(), list[tuple[int, int]]()
    found, asset = corpus_vectors(
        encoder, LINES, Assets(tmp_path).get_or_make, lambda a, b: told.append((a, b))
    )
    assert isinstance(found, np.memmap)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, Letters().encode(LINES.lines, "document"))
    assert told == [(10, 25), (20, 25), (25, 25)]
    assert asset.made_now
    assert sorted(path.name for path in asset.path.iterdir()) == ["asset.json", "seconds.json", "vectors.npy"]
    again, asset = corpus_vectors(encoder, LINES, Assets(tmp_path).get_or_make)
    np.testing.assert_array_equal(again, found)
    assert not asset.made_now
    assert len(encoder.encoded) == 25


def test_another_encoder_or_corpus_is_another_asset(tmp_path: Path) -> None:
    get = Assets(tmp_path).get_or_make
    paths = {
        corpus_vectors(encoder, corpus, get)[1].path
        for encoder in (Letters(), Letters("other"))
        for corpus in (LINES, Lines(LINES.lines, "other"))
    }
    assert len(paths) == 4
    assert not corpus_vectors(Letters(query_prompt="find: "), LINES, get)[1].made_now


def test_an_interrupted_attempt_loses_its_shard_only(tmp_path: Path) -> None:
    get = Assets(tmp_path).get_or_make
    with pytest.raises(RuntimeError):
        corpus_vectors(Letters(refuse=LINES.lines[17]), LINES, get)
    (partial,) = (tmp_path / "vectors").glob("*.partial")
    assert len(list(partial.glob("shards/*.npy"))) == 1
    (partial / "shards" / "0000000000-0000000010.json").write_text('{"seconds": 1000}')
    encoder = Letters()
    found, asset = corpus_vectors(encoder, LINES, get)
    assert encoder.encoded == LINES.lines[10:]
    np.testing.assert_array_equal(found, Letters().encode(LINES.lines, "document"))
    assert asset.seconds > 1000  # the first attempt's time counts


def test_an_attempt_interrupted_while_tidying_up_encodes_nothing_again(tmp_path: Path) -> None:
    get = Assets(tmp_path).get_or_make
    found, asset = corpus_vectors(Letters(), LINES, get)
    (asset.path / "asset.json").unlink()
    partial = asset.path.with_suffix(".partial")
    asset.path.rename(partial)
    (partial / "shards").mkdir()
    (partial / "shards" / "0000000010-0000000020.npy").write_bytes(b"half removed")
    encoder = Letters()
    again, later = corpus_vectors(encoder, LINES, get)
    assert encoder.encoded == []
    assert later.seconds == pytest.approx(asset.seconds, abs=1e-3)
    np.testing.assert_array_equal(again, found)


def test_kill_9_loses_one_shard(tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from harness import vectors
from harness.assets import Assets
from tests.test_vectors import LINES, Letters
vectors.SHARD = 10
class Killed(Letters):
    def encode(self, texts, role, progress=None):
        if LINES.lines[17] in texts:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().encode(texts, role)
vectors.corpus_vectors(Killed(), LINES, Assets(Path({str(tmp_path)!r})).get_or_make)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL
    encoder = Letters()
    corpus_vectors(encoder, LINES, Assets(tmp_path).get_or_make)
    assert encoder.encoded == LINES.lines[10:]


sizes = st.tuples(st.integers(1, 9), st.integers(1, 40), st.integers(1, 6), st.integers(1, 50))


@needs("torch")
@settings(deadline=None, max_examples=60)
@given(sizes, st.integers(1, 5), st.integers(1, 17), st.integers(0, 2**32 - 1))
def test_top_k_equals_a_full_sort(
    shape: tuple[int, int, int, int], query_block: int, doc_block: int, seed: int
) -> None:
    """On small whole numbers, whose products are exact and tie often."""
    n_queries, n_docs, width, k = shape
    random = np.random.default_rng(seed)
    queries = random.integers(-4, 5, (n_queries, width)).astype(np.float32)
    docs = random.integers(-4, 5, (n_docs, width)).astype(np.float32)
    found, scores = top_k(queries, docs, SearchSpec(k, "cpu", query_block, doc_block))
    every = queries @ docs.T
    held = min(k, n_docs)
    np.testing.assert_array_equal(scores[:, :held], -np.sort(-every, axis=1)[:, :held])
    np.testing.assert_array_equal(np.take_along_axis(every, found[:, :held], 1), scores[:, :held])
    assert all(len(set(row)) == held for row in found[:, :held].tolist())
    assert (found[:, held:] == PAD).all()
    assert np.isneginf(scores[:, held:]).all()
    assert found.dtype == np.int32
    assert scores.dtype == np.float32


@needs("torch")
def test_top_k_on_unit_vectors_equals_a_full_sort(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    vectors_ = random.normal(size=(3000, 32)).astype(np.float32)
    vectors_ /= np.linalg.norm(vectors_, axis=1, keepdims=True)
    np.save(tmp_path / "docs.npy", vectors_)
    docs = np.load(tmp_path / "docs.npy", mmap_mode="r")
    found, scores = top_k(vectors_[:50], docs, SearchSpec(20, docs=700))
    exact = vectors_[:50].astype(np.float64) @ vectors_.astype(np.float64).T
    order = np.argsort(-exact, axis=1)[:, :20]
    np.testing.assert_allclose(scores, np.take_along_axis(exact, order, 1), atol=1e-6)
    np.testing.assert_array_equal(found, order)
    assert found[:, 0].tolist() == list(range(50))
