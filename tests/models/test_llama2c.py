from __future__ import annotations

import random
import struct
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import TouchstoneError
from harness.models.language import LanguageModelSpec, language_model_identity, load_language_model
from harness.models.llama2c import HEADER, MAGIC, Llama2cTokenizer, halves, read_shape, read_tensors
from tests.needs import DATA, needs

STORIES = DATA / "models" / "stories260K"
SHAPE = (8, 12, 2, 4, 2, 20, 16)  # dim, hidden, layers, heads, key heads, vocabulary, length


def write_checkpoint(path: Path, header: tuple[int, ...] = SHAPE) -> Path:
    """A checkpoint of random weights."""
    path.write_bytes(HEADER.pack(*header))
    count = sum(int(np.prod(size)) for _, size in read_shape(path).tensors())
    values = np.random.default_rng(0).normal(0, 0.3, count).astype("<f4")
    path.write_bytes(HEADER.pack(*header) + values.tobytes())
    return path


def write_tokenizer(path: Path, pieces: list[bytes]) -> Path:
    """A tokenizer whose later pieces have lower scores."""
    body = b"".join(struct.pack("<fi", -float(i), len(piece)) + piece for i, piece in enumerate(pieces))
    path.write_bytes(struct.pack("<i", max(map(len, pieces))) + body)
    return path


def slow_merges(tokenizer: Llama2cTokenizer, pieces: list[bytes]) -> list[bytes]:
    """The definition: look at all pairs, merge the leftmost of the highest score, start again."""
    while True:
        pairs = []
        for place, pair in enumerate(pairwise(pieces)):
            if b"".join(pair) in tokenizer._ids:
                pairs.append((tokenizer._scores[tokenizer._ids[b"".join(pair)]], -place))
        if not pairs:
            return pieces
        at = -max(pairs)[1]
        pieces = [*pieces[:at], pieces[at] + pieces[at + 1], *pieces[at + 2 :]]


SMALL = Llama2cTokenizer(
    [
        b"<unk>",
        b"\n<s>\n",
        b"\n</s>\n",
        *(b"<0x%02X>" % byte for byte in range(256)),
        b" ",
        b"a",
        b"b",
        b"c",
        b"ab",
        b"bc",
        b"aa",
        b"abc",
        b" a",
        b"aab",
        b"cab",
    ],
    [0.0] * 259 + [0.0] * 4 + [-1.0, -1.0, -1.0, -5.0, -3.0, -2.0, -0.5],
)


@given(st.text("abc", max_size=40))
def test_merging_with_a_heap_equals_the_definition(text: str) -> None:
    letters = [letter.encode() for letter in " " + text] if text else []
    expected = [1, *(SMALL._ids[piece] for piece in slow_merges(SMALL, letters))]
    assert SMALL.encode(text) == expected


@given(st.text(max_size=30))
def test_decoding_gives_the_text_back(text: str) -> None:
    assert SMALL.decode(SMALL.encode(text)) == text


def test_unknown_characters_become_bytes() -> None:
    assert SMALL.encode("é") == [1, SMALL._ids[b" "], 0xC3 + 3, 0xA9 + 3]
    assert SMALL.decode([0xC3 + 3]) == "\N{REPLACEMENT CHARACTER}"


def test_halves_moves_neighbouring_pairs_half_a_head_apart() -> None:
    rows = np.arange(8, dtype=np.float32)[:, None]
    assert halves(rows, 2)[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


@pytest.mark.parametrize("shared", [True, False])
def test_tensors_fill_the_file(tmp_path: Path, shared: bool) -> None:
    header = (*SHAPE[:5], 20 if shared else -20, 16)
    shape, tensors = read_tensors(write_checkpoint(tmp_path / "x.bin", header))
    assert (shape.vocab_size, shape.shared, shape.head_size) == (20, shared, 2)
    assert ("lm_head" in tensors) is not shared
    assert tensors["self_attn.k_proj"].shape == (2, 4, 8)
    raw = np.frombuffer((tmp_path / "x.bin").read_bytes()[HEADER.size :], "<f4")
    np.testing.assert_array_equal(np.concatenate([tensor.ravel() for tensor in tensors.values()]), raw)


@pytest.mark.parametrize(
    "header, why",
    [
        ((0, 12, 2, 4, 2, 20, 16), "implausible header"),
        ((8, 12, 2, 4, 2, 0, 16), "implausible header"),
        ((8, 12, 2**30, 4, 2, 20, 16), "implausible header"),
        ((8, 12, 2, 3, 3, 20, 16), "do not divide"),
        ((8, 12, 2, 4, 3, 20, 16), "do not divide"),
        ((12, 12, 2, 4, 2, 20, 16), "do not divide"),
        ((MAGIC, 1, 2, 4, 2, 20, 16), "an export of version 1"),
    ],
)
def test_bad_headers(tmp_path: Path, header: tuple[int, ...], why: str) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(HEADER.pack(*header) + bytes(4096))
    with pytest.raises(TouchstoneError, match=f"x.bin: not a llama2.c file .*{why}"):
        read_tensors(path)


@pytest.mark.parametrize("change", [-4, 4])
def test_files_of_the_wrong_size(tmp_path: Path, change: int) -> None:
    path = write_checkpoint(tmp_path / "x.bin")
    data = path.read_bytes()
    path.write_bytes(data[:change] if change < 0 else data + bytes(change))
    with pytest.raises(TouchstoneError, match=f"{len(data) + change:,} bytes instead of {len(data):,}"):
        read_tensors(path)
    path.write_bytes(data[:10])
    with pytest.raises(TouchstoneError, match="10 bytes, the header alone takes 28"):
        read_shape(path)


def test_bad_tokenizers(tmp_path: Path) -> None:
    path = write_tokenizer(tmp_path / "tok.bin", [b"a", b"bc", b"d"])
    good = path.read_bytes()
    assert Llama2cTokenizer.read(path, 3)._pieces == [b"a", b"bc", b"d"]
    for data, size, why in (
        (good, 4, "ends before token 3 of 4"),
        (good, 2, "9 bytes after the last of 2 tokens"),
        (good[:-1], 3, "token 2 has the length 1"),
        (good[:8] + struct.pack("<i", -5) + good[12:], 3, "token 0 has the length -5"),
    ):
        path.write_bytes(data)
        with pytest.raises(TouchstoneError, match=why):
            Llama2cTokenizer.read(path, size)


def test_a_missing_tokenizer_and_a_missing_file_are_named(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "x.bin")
    with pytest.raises(TouchstoneError, match="the tokenizer of the checkpoint is missing"):
        language_model_identity(LanguageModelSpec(str(path)))
    with pytest.raises(TouchstoneError, match="there is no such checkpoint"):
        language_model_identity(LanguageModelSpec(str(tmp_path / "y.bin")))


def test_the_alias_needs_the_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOUCHSTONE_DATA")
    with pytest.raises(TouchstoneError, match="set TOUCHSTONE_DATA"):
        language_model_identity(LanguageModelSpec("stories260K"))


@needs("torch", "data")
@pytest.mark.parametrize("model", ["stories260K", str(STORIES), str(STORIES / "stories260K.bin")])
def test_greedy_text_equals_the_reference(model: str) -> None:
    """The text that the model's own page gives for llama2.c at temperature 0, 256 steps."""
    page = (STORIES / "stories260K.md").read_text()
    reference = page.partition("-t 0.0\n")[2].partition("\n```")[0]
    assert reference.startswith("Once upon a time")
    language_model = load_language_model(LanguageModelSpec(model))
    assert language_model.max_tokens == 512
    assert language_model.generate("", 256) == reference
    start, rest = reference[:100], reference[100:200]
    assert language_model.generate(start, 60).startswith(rest)


@needs("torch", "data")
def test_the_published_loss_is_reached_on_its_own_text() -> None:
    """The validation loss is 1.30 a token by the model's page; its own greedy text is likelier than that."""
    from harness.models.language import Request

    language_model = load_language_model(LanguageModelSpec("stories260K"))
    text = language_model.generate("", 200)
    (logprobs,) = language_model.continuation_logprobs([Request("", (text,))])
    assert -logprobs[0] / (len(language_model.encode(text)) - 1) < 1.0


@needs("data")
def test_words_merged_by_themselves_equal_the_whole_text() -> None:
    tokenizer = Llama2cTokenizer.read(STORIES / "tok512.bin", 512)
    assert tokenizer.splits_words
    draw = random.Random(0)
    for _ in range(200):
        text = "".join(
            draw.choices(["once", " upon", " ", "a", "time", "\n", "é", "<unk>", "there", " was"], k=12)
        )
        assert tokenizer.encode(text) == [1, *tokenizer._word(f" {text}")]
        assert tokenizer.encode_many([text], start=False) == [tokenizer._word(text)]
