"""What language models need of a tokenizer, and the tokenizers of transformers model folders."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Protocol

from harness.errors import TouchstoneError
from harness.models.prompts import Chat
from harness.models.source import ModelFiles, from_folder


class Tokenizer(Protocol):
    """Text to token ids and back."""

    @property
    def start(self) -> int | None:
        """The token that an empty prompt consists of, when there is one."""

    @property
    def stop(self) -> frozenset[int]:
        """The tokens that end a text."""

    @property
    def splits_words(self) -> bool:
        """Whether no token reaches over a space between two other characters."""

    @property
    def chats(self) -> bool:
        """Whether it has a chat template."""

    def encode(self, text: str) -> list[int]:
        """Token ids, with what is put in front."""

    def encode_many(self, texts: Sequence[str], start: bool) -> list[list[int]]:
        """Token ids of many texts at once; what is put in front only with *start*."""

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids."""

    def encode_chat(self, chat: Chat) -> list[int]:
        """Token ids of a chat, ready for the assistant's answer; a TouchstoneError without a template."""


class FolderTokenizer:
    """The tokenizer of a transformers model folder; what it puts after a text (an end token) is left out."""

    def __init__(self, files: ModelFiles) -> None:
        from transformers import AutoTokenizer

        self._folder = str(files.folder)
        self._tokenizer: Any = from_folder(AutoTokenizer, files.folder)
        start, end = self._tokenizer.bos_token_id, self._tokenizer.eos_token_id
        self.start = start if start is not None else end
        ends = files.read_json("generation_config.json").get("eos_token_id", end)
        self.stop = frozenset(e for e in (ends if isinstance(ends, list) else [ends]) if isinstance(e, int))
        bare, full = self._ids("a", special=False), self._ids("a", special=True)
        self.splits_words = _splits_words(self._tokenizer)
        self.chats = bool(self._tokenizer.chat_template)
        self._after = len(full) - shared_start(full, bare) - len(bare)

    def encode(self, text: str) -> list[int]:
        """Token ids, with what the tokenizer puts in front."""
        ids = self._ids(text, special=True)
        return ids[: len(ids) - self._after]

    def encode_many(self, texts: Sequence[str], start: bool) -> list[list[int]]:
        """Token ids of many texts at once; what the tokenizer puts in front only with *start*."""
        if not texts:
            return []
        rows: list[list[int]] = self._tokenizer(list(texts), add_special_tokens=start, verbose=False)[
            "input_ids"
        ]
        return [row[: len(row) - self._after] for row in rows] if start else rows

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids, without special tokens."""
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def encode_chat(self, chat: Chat) -> list[int]:
        """Token ids of the model's own chat template, which writes the special tokens itself."""
        if not self.chats:
            raise no_template(self._folder)
        try:
            text: str = self._tokenizer.apply_chat_template(
                chat.plain(), tokenize=False, add_generation_prompt=True
            )
        except Exception as error:  # a template may raise anything, jinja2's own errors among them
            raise TouchstoneError(
                "the model's chat template refuses the messages", where=self._folder, why=str(error)
            ) from error
        return self._ids(text, special=False)

    def _ids(self, text: str, special: bool) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"]
        return ids


def _splits_words(tokenizer: Any) -> bool:
    """Byte-pair encoding over words found by a pattern, as GPT-2 began it; SentencePiece works otherwise."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return False
    body = json.loads(backend.to_str())
    splitter = body.get("pre_tokenizer") or {}
    parts = splitter.get("pretokenizers", [splitter])
    words = any(
        part.get("type") == "Split" or (part.get("type") == "ByteLevel" and part.get("use_regex"))
        for part in parts
    )
    known = all(part.get("type") in ("Split", "ByteLevel", "Digits") for part in parts)
    plain = (body.get("normalizer") or {"type": "NFC"}).get("type") == "NFC"
    return body["model"]["type"] == "BPE" and words and known and plain


def no_template(where: str) -> TouchstoneError:
    """The error of a model that is not made for chats."""
    return TouchstoneError("the model has no chat template", where=where, fix="give the prompt as text")


def shared_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """How many leading tokens two sequences have in common."""
    for position, (a, b) in enumerate(zip(first, second, strict=False)):
        if a != b:
            return position
    return min(len(first), len(second))


def shared_start(full: Sequence[int], bare: Sequence[int]) -> int:
    """Where *bare* begins in *full*; 0 when it is not in it."""
    width = len(bare)
    return next((i for i in range(len(full) - width + 1) if list(full[i : i + width]) == list(bare)), 0)
