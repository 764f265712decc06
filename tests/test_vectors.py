from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import vectors
from harness.answers import Floats, Ints
from harness.assets import Assets
from harness.models.batching import Progress
from harness.models.profile import Role
from harness.spec import Json
from harness.vectors import corpus_vectors, query_vectors


class Letters:
    """An encoder that counts letters; it stops with an error at a text that it is told to refuse."""

    dimension = 26
    device = "cpu"

    def __init__(self, name: str = "letters", refuse: str = "", **prompts: str) -> None:
        self.prompts = {"query_prompt": "", "document_prompt": "", **prompts}
        self.identity: dict[str, Json] = {"model": name, **self.prompts}
        self.refuse = refuse
        self.encoded: list[str] = []

    def encode(self, texts: Sequence[str], role: Role, progress: Progress | None = None) -> Floats:
        if self.refuse and self.refuse in texts:
            raise RuntimeError(self.refuse)
        self.encoded += texts
        texts = [self.prompts[f"{role}_prompt"] + text for text in texts]
        return np.array([[text.count(chr(97 + i)) for i in range(26)] for text in texts], np.float32)


class Lines:
    """A corpus of strings."""

    def __init__(self, lines: Sequence[str], digest: str = "lines") -> None:
        self.lines, self.digest = lines, digest

    def __len__(self) -> int:
        return len(self.lines)

    def texts(self, start: int, stop: int) -> list[str]:
        return list(self.lines[start:stop])

    def texts_of(self, docs: Ints) -> list[str]:
        return [self.lines[doc] for doc in docs]


LINES = Lines([f"{'abc' * (i % 7)} line {chr(97 + i % 26)}" for i in range(25)])
LONGEST_FIRST = sorted(LINES.lines, key=len, reverse=True)


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
    assert corpus_vectors(Letters(document_prompt="text: "), LINES, get)[1].made_now


@pytest.mark.parametrize("prompts", [{}, {"query_prompt": "find: "}, {"document_prompt": "read: "}])
def test_a_text_in_both_roles_has_two_vectors(tmp_path: Path, prompts: dict[str, str]) -> None:
    get = Assets(tmp_path).get_or_make
    encoder = Letters(**prompts)
    documents, first = corpus_vectors(encoder, LINES, get)
    queries, second = query_vectors(encoder, LINES.lines, get)
    assert first.path != second.path and second.made_now
    np.testing.assert_array_equal(queries, Letters(**prompts).encode(LINES.lines, "query"))
    np.testing.assert_array_equal(documents, Letters(**prompts).encode(LINES.lines, "document"))
    assert (queries == documents).all() == (not prompts)
    assert not query_vectors(encoder, LINES.lines, get)[1].made_now
    assert query_vectors(encoder, LINES.lines[::-1], get)[1].made_now
    other = Letters(**{**prompts, "document_prompt": "x"})
    assert not query_vectors(other, LINES.lines, get)[1].made_now


texts = st.lists(st.text("ab", max_size=4), min_size=1, max_size=40)


@given(texts, st.integers(1, 7), st.integers(1, 9))
def test_equal_texts_are_encoded_once_longest_first_over_the_whole_corpus(
    lines: list[str], shard: int, read: int
) -> None:
    encoder = Letters()
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(vectors, "SHARD", shard)
        patch.setattr(vectors, "READ", read)
        found = np.array(corpus_vectors(encoder, Lines(lines), Assets(Path(folder)).get_or_make)[0])
    np.testing.assert_array_equal(found, Letters().encode(lines, "document"))
    assert encoder.encoded == sorted(dict.fromkeys(lines), key=len, reverse=True)


def test_an_interrupted_attempt_loses_its_shard_only(tmp_path: Path) -> None:
    get = Assets(tmp_path).get_or_make
    with pytest.raises(RuntimeError):
        corpus_vectors(Letters(refuse=LONGEST_FIRST[17]), LINES, get)
    (partial,) = (tmp_path / "vectors").glob("*.partial")
    assert len(list(partial.glob("shards/*.npy"))) == 1
    (partial / "shards" / "0000000000-0000000010.json").write_text('{"seconds": 1000}')
    encoder = Letters()
    found, asset = corpus_vectors(encoder, LINES, get)
    assert encoder.encoded == LONGEST_FIRST[10:]
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
from tests.test_vectors import LINES, LONGEST_FIRST, Letters
vectors.SHARD = 10
class Killed(Letters):
    def encode(self, texts, role, progress=None):
        if LONGEST_FIRST[17] in texts:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().encode(texts, role)
vectors.corpus_vectors(Killed(), LINES, Assets(Path({str(tmp_path)!r})).get_or_make)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL
    encoder = Letters()
    corpus_vectors(encoder, LINES, Assets(tmp_path).get_or_make)
    assert encoder.encoded == LONGEST_FIRST[10:]
