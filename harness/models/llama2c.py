"""Checkpoints and tokenizers in the format of llama2.c (version 0: seven integers, then fp32 tensors)."""

from __future__ import annotations

import heapq
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.answers import Floats
from harness.errors import TouchstoneError
from harness.models.prompts import Chat
from harness.models.tokenizer import no_template

HEADER = struct.Struct("<7i")
MAGIC = 0x616B3432  # "ak42": the later, versioned exports
BOS = 1
EOS = 2
FIRST_BYTE = 3  # token of byte 0
WORD = re.compile(r" [^ ]*|[^ ]+")
MOST_WORDS = 100_000  # that are kept merged
BYTE_PIECE = re.compile(rb"<0x([0-9A-Fa-f]{2})>")


@dataclass(frozen=True)
class Shape:
    """The header of a checkpoint. shared: the output layer is the token table."""

    dim: int
    hidden_dim: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    vocab_size: int
    max_seq_len: int
    shared: bool

    @property
    def head_size(self) -> int:
        """Width of an attention head."""
        return self.dim // self.n_heads

    def tensors(self) -> list[tuple[str, tuple[int, ...]]]:
        """(name, shape) of every tensor, in file order, those of a kind stacked over the layers."""
        layers, dim, kv_dim = self.n_layers, self.dim, self.n_kv_heads * self.head_size
        turns = (self.max_seq_len, self.head_size // 2)
        listed: list[tuple[str, tuple[int, ...]]] = [
            ("embed_tokens", (self.vocab_size, dim)),
            ("input_layernorm", (layers, dim)),
            ("self_attn.q_proj", (layers, dim, dim)),
            ("self_attn.k_proj", (layers, kv_dim, dim)),
            ("self_attn.v_proj", (layers, kv_dim, dim)),
            ("self_attn.o_proj", (layers, dim, dim)),
            ("post_attention_layernorm", (layers, dim)),
            ("mlp.gate_proj", (layers, self.hidden_dim, dim)),
            ("mlp.down_proj", (layers, dim, self.hidden_dim)),
            ("mlp.up_proj", (layers, self.hidden_dim, dim)),
            ("norm", (dim,)),
            ("cosines", turns),
            ("sines", turns),
        ]
        return listed if self.shared else [*listed, ("lm_head", (self.vocab_size, dim))]


def read_shape(path: Path) -> Shape:
    """The header of a checkpoint, checked."""
    with path.open("rb") as handle:
        head = handle.read(HEADER.size)
    if len(head) < HEADER.size:
        raise _malformed(path, f"{len(head)} bytes, the header alone takes {HEADER.size}")
    numbers = HEADER.unpack(head)
    if numbers[0] == MAGIC:
        raise _malformed(path, f"an export of version {numbers[1]}", fix="export it as version 0")
    dim, hidden, layers, heads, kv_heads, vocab, length = numbers
    if min(dim, hidden, layers, heads, kv_heads, abs(vocab), length) < 1 or max(map(abs, numbers)) > 2**24:
        raise _malformed(path, f"implausible header {numbers}")
    if dim % heads or heads % kv_heads or (dim // heads) % 2:
        raise _malformed(path, f"{dim} dimensions, {heads} heads and {kv_heads} key heads do not divide")
    return Shape(dim, hidden, layers, heads, kv_heads, abs(vocab), length, shared=vocab > 0)


def read_tensors(path: Path) -> tuple[Shape, dict[str, Floats]]:
    """The header and every tensor, memory-mapped; a file that is too short or too long is an error."""
    shape = read_shape(path)
    listed = shape.tensors()
    wanted = HEADER.size + 4 * sum(int(np.prod(size)) for _, size in listed)
    held = path.stat().st_size
    if held != wanted:
        raise _malformed(path, f"{held:,} bytes instead of {wanted:,}")
    values = np.memmap(path, "<f4", "r", offset=HEADER.size)
    tensors, start = {}, 0
    for name, size in listed:
        stop = start + int(np.prod(size))
        tensors[name] = np.asarray(values[start:stop], np.float32).reshape(size)
        start = stop
    return shape, tensors


def load_llama2c(path: Path) -> Any:
    """The checkpoint as a transformers ``LlamaForCausalLM`` in fp32."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    shape, tensors = read_tensors(path)
    config = LlamaConfig(
        vocab_size=shape.vocab_size,
        hidden_size=shape.dim,
        intermediate_size=shape.hidden_dim,
        num_hidden_layers=shape.n_layers,
        num_attention_heads=shape.n_heads,
        num_key_value_heads=shape.n_kv_heads,
        max_position_embeddings=shape.max_seq_len,
        rms_norm_eps=1e-5,
        bos_token_id=BOS,
        eos_token_id=EOS,
        tie_word_embeddings=shape.shared,
    )
    model = LlamaForCausalLM(config)
    model.load_state_dict({name: torch.tensor(value) for name, value in _named(shape, tensors).items()})
    return model


def _named(shape: Shape, tensors: dict[str, Floats]) -> dict[str, Floats]:
    """Tensors under the names of transformers, layer by layer."""
    named = {
        "model.embed_tokens.weight": tensors["embed_tokens"],
        "model.norm.weight": tensors["norm"],
        "lm_head.weight": tensors["embed_tokens" if shape.shared else "lm_head"],
    }
    for name, value in tensors.items():
        if name in ("embed_tokens", "norm", "lm_head", "cosines", "sines"):
            continue
        for layer in range(shape.n_layers):
            weight = value[layer]
            if name == "self_attn.q_proj":
                weight = halves(weight, shape.n_heads)
            elif name == "self_attn.k_proj":
                weight = halves(weight, shape.n_kv_heads)
            named[f"model.layers.{layer}.{name}.weight"] = weight
    return named


def halves(weight: Floats, heads: int) -> Floats:
    """Rows reordered within each head from pairs (0, 1), (2, 3), ... to pairs (0, h/2), (1, h/2 + 1), ...

    llama2.c rotates neighbouring rows by position, transformers rows half a head apart.
    """
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).transpose(0, 2, 1, 3).reshape(rows, columns)


class Llama2cTokenizer:
    """Byte-pair encoding by scores, as in llama2.c: BOS, then a space and the text, of which the best pair is
    merged until none is left; characters outside the vocabulary become bytes."""

    def __init__(self, pieces: Sequence[bytes], scores: Sequence[float]) -> None:
        self._pieces = list(pieces)
        self._scores = list(scores)
        self._ids = {piece: number for number, piece in enumerate(self._pieces)}
        # Where no piece goes on past a space, every word is merged by itself, and only once.
        self.splits_words = not any(b" " in piece[1:] for piece in self._pieces)
        self._words: dict[str, list[int]] = {}
        self.stop = frozenset({BOS, EOS})
        self.start = BOS
        self.chats = False

    @classmethod
    def read(cls, path: Path, vocab_size: int) -> Llama2cTokenizer:
        """The tokenizer of a file: for each of *vocab_size* tokens a score, a length and that many bytes."""
        data = path.read_bytes()
        pieces: list[bytes] = []
        scores: list[float] = []
        position = 4  # after the length of the longest token
        for number in range(vocab_size):
            if position + 8 > len(data):
                raise _malformed(path, f"ends before token {number} of {vocab_size}")
            score, length = struct.unpack_from("<fi", data, position)
            position += 8 + length
            if length < 0 or position > len(data):
                raise _malformed(path, f"token {number} has the length {length}")
            pieces.append(data[position - length : position])
            scores.append(score)
        if position != len(data):
            raise _malformed(path, f"{len(data) - position} bytes after the last of {vocab_size} tokens")
        return cls(pieces, scores)

    def encode(self, text: str) -> list[int]:
        """Token ids of *text*, BOS first."""
        return [BOS, *self._bare(f" {text}")] if text else [BOS]

    def _bare(self, text: str) -> list[int]:
        """Token ids of *text* as it stands."""
        if not self.splits_words:
            return self._word(text)
        ids: list[int] = []
        for word in WORD.findall(text):
            if word not in self._words:
                if len(self._words) > MOST_WORDS:
                    self._words.clear()
                self._words[word] = self._word(word)
            ids += self._words[word]
        return ids

    def _word(self, text: str) -> list[int]:
        ids: list[int] = []
        for letter in text:
            raw = letter.encode()
            known = self._ids.get(raw)
            ids += [byte + FIRST_BYTE for byte in raw] if known is None else [known]
        return self._merged(ids)

    def encode_many(self, texts: Sequence[str], start: bool) -> list[list[int]]:
        """Token ids of each text, BOS first; without *start*, not."""
        return [self.encode(text) if start else self._bare(text) for text in texts]

    def encode_chat(self, chat: Chat) -> list[int]:
        """A TouchstoneError: these checkpoints have no chat template."""
        raise no_template("a llama2.c checkpoint")

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids. The space that ``encode`` puts after BOS is taken away again."""
        parts: list[bytes] = []
        for previous, token in zip([0, *ids], ids, strict=False):
            if token in (BOS, EOS):
                continue
            piece = self._pieces[token]
            if previous == BOS:
                piece = piece.removeprefix(b" ")
            byte = BYTE_PIECE.fullmatch(piece)
            parts.append(bytes([int(byte[1], 16)]) if byte else piece)
        return b"".join(parts).decode(errors="replace")

    def _merged(self, ids: list[int]) -> list[int]:
        """Merge the pair of the highest score, the leftmost of equals, until no pair is a token.

        Live tokens form a linked list. A heap holds candidate pairs; outdated ones are dropped.
        """
        tokens: list[int | None] = list(ids)
        after = list(range(1, len(ids) + 1))
        before = list(range(-1, len(ids) - 1))
        heap: list[tuple[float, int, int, int, int]] = []

        def offer(left: int) -> None:
            right = after[left] if left >= 0 else len(tokens)
            if right >= len(tokens):
                return
            first, second = tokens[left], tokens[right]
            assert first is not None and second is not None
            merged = self._ids.get(self._pieces[first] + self._pieces[second])
            if merged is not None:
                heapq.heappush(heap, (-self._scores[merged], left, merged, first, second))

        for left in range(len(ids) - 1):
            offer(left)
        while heap:
            _, left, merged, first, second = heapq.heappop(heap)
            right = after[left]
            if right >= len(tokens) or tokens[left] != first or tokens[right] != second:
                continue
            tokens[left], tokens[right] = merged, None
            after[left] = after[right]
            if after[left] < len(tokens):
                before[after[left]] = left
            offer(before[left])
            offer(left)
        return [token for token in tokens if token is not None]


def _malformed(path: Path, why: str, fix: str = "") -> TouchstoneError:
    return TouchstoneError("not a llama2.c file", where=str(path), why=why, fix=fix)
