"""Dense and sparse representations of texts from a language model that is asked for one word.

PromptReps (Zhuang et al. 2024, arXiv 2404.18424): the last hidden state before the word is a dense vector,
the next-token logits there a sparse one, from one forward pass. Prompts as in the authors' code.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.answers import Floats, Ints
from harness.errors import TouchstoneError
from harness.models.language import Chat, LanguageModel, LanguageModelSpec, Message, language_model_identity
from harness.models.late import TokenVectors
from harness.models.profile import Role
from harness.sparse import SparseRows
from harness.spec import Json

CODE_VERSION = 1  # raise when a change here can move a representation
SYSTEM = "You are an AI assistant that can understand human language."
KINDS: dict[Role, tuple[str, str]] = {"query": ("Query", "query"), "document": ("Passage", "passage")}
MOST_WORDS, MOST_TERMS, FALLBACK, SCALE = 10, 128, 10, 100.0

Variant = Literal["token", "first-word", "multi-token", "multi-token-reps", "multi-word-reps"]


@dataclass(frozen=True)
class PromptSpec:
    """model: any that gives hidden states. text_tokens: length that texts are cut at.

    variant: the token after the prompt (the paper's main form); or the tokens written until the first word or
    the closing quote ends, as one vector (mean; largest logits) or each for itself.
    """

    model: LanguageModelSpec
    variant: Variant = "token"
    text_tokens: int = 512
    literal_backslash_n: bool = True

    @property
    def identity(self) -> dict[str, Json]:
        """All that a representation depends on besides the kind of device."""
        return {
            "language_model": language_model_identity(self.model),
            "variant": self.variant,
            "text_tokens": self.text_tokens,
            "literal_backslash_n": self.literal_backslash_n,
            "code": CODE_VERSION,
        }


@dataclass(frozen=True, eq=False)
class Representations:
    """vectors: one or more of length 1 for each text; sparse: one row a text, whole weights."""

    vectors: TokenVectors
    sparse: SparseRows


class PromptEncoder:
    """Texts to representations."""

    def __init__(self, spec: PromptSpec, model: LanguageModel) -> None:
        self._spec, self.model = spec, model
        self._front = len(model.encode(""))
        self._words: dict[str, tuple[int, ...]] = {}

    def encode(self, texts: Sequence[str], role: Role, feedback: Sequence[str] = ()) -> Representations:
        """feedback: a block for each text that stands between it and the instruction; '' for none."""
        extra = list(feedback) or [""] * len(texts)
        prompts = [self.prompt(text, role, block) for text, block in zip(texts, extra, strict=True)]
        written = self._written(prompts)
        whole = [[*prompt, *tokens] for prompt, tokens in zip(prompts, written, strict=True)]
        places = [range(len(p) - 1, len(w)) for p, w in zip(prompts, whole, strict=True)]
        found = self.model.states_and_logits(whole, places)
        rows, vectors = [], []
        for text, (states, logits) in zip(texts, found, strict=True):
            kept = states if self._spec.variant.endswith("reps") else states.mean(axis=0, keepdims=True)
            vectors.append(kept / np.maximum(np.linalg.norm(kept, axis=1, keepdims=True), 1e-12))
            rows.append(sparse_row(logits.max(axis=0), self.terms(text)))
        starts = np.cumsum([0, *map(len, vectors)]).astype(np.int64)
        values = np.concatenate(vectors).astype(np.float32) if vectors else np.empty((0, 1), np.float32)
        return Representations(TokenVectors(values, starts), SparseRows.of(rows))

    def prompt(self, text: str, role: Role, block: str = "") -> list[int]:
        """Token ids: the text is cut by itself, and once more where the window has no room."""
        before, after = self._around(role, block)
        own = self._bare(text)[: self._spec.text_tokens]
        room = self.model.max_tokens - len(before) - len(after) - MOST_WORDS
        if room < 1:
            raise TouchstoneError(
                "the prompt leaves no room for a text", why=f"the model reads {self.model.max_tokens} tokens"
            )
        return [*before, *own[:room], *after]

    def _around(self, role: Role, block: str) -> tuple[list[int], list[int]]:
        """What stands before and after a text, found by what prompts of two texts have in common."""
        first, second = (self._asked(text, role, block) for text in ("x", "7"))
        shared = next(i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b)
        ends = zip(reversed(first), reversed(second), strict=False)
        after = next(i for i, (a, b) in enumerate(ends) if a != b)
        return first[:shared], first[len(first) - after :]

    def _asked(self, text: str, role: Role, block: str) -> list[int]:
        label, name = KINDS[role]
        count = "three words" if self._spec.variant == "multi-word-reps" else "one word"
        theirs = "Make sure your words are" if count == "three words" else "Make sure your word is"
        gap = "\\n" if self._spec.literal_backslash_n else "\n"
        told = f" {block}" if block else ""
        user = (
            f'{label}: "{text}".{told} Use {count} to represent the {name} in a retrieval task. '
            f"{theirs} in lowercase.{gap}"
        )
        answer = 'The words are: "' if count == "three words" else 'The word is: "'
        if not self.model.chats:
            return self.model.prompt_ids(f"{SYSTEM}\n{user}\n{answer}")
        chat = Chat((Message("system", SYSTEM), Message("user", user)))
        return [*self.model.prompt_ids(chat), *self._bare(answer)]

    def _written(self, prompts: list[list[int]]) -> list[list[int]]:
        """The tokens that the model writes before its last representation, by the variant."""
        if self._spec.variant == "token":
            return [[] for _ in prompts]
        ends = re.compile(r'["\s]' if self._spec.variant == "first-word" else '"')
        found = []
        for generated in self.model.generate_many(prompts, MOST_WORDS):
            ids = list(generated.ids)
            cut = next((n for n in range(1, len(ids) + 1) if ends.search(self._told(ids[:n]))), len(ids) + 1)
            found.append(ids[: cut - 1])
        return found

    def _told(self, ids: list[int]) -> str:
        return self.model.decode(ids).lstrip()

    def terms(self, text: str) -> Ints:
        """The tokens that a sparse vector may hold: those of the text's lower-cased words, alone and without
        a space before them, stop words and punctuation left out.
        """
        from bm25s.stopwords import STOPWORDS_EN_PLUS  # NLTK's list

        kept: set[int] = set()
        for word in re.findall(r"\w+(?:['-]\w+)*", text.lower()):
            if word not in self._words:
                self._words[word] = () if word in STOPWORDS_EN_PLUS else tuple(self._bare(word))
            kept.update(self._words[word])
        return np.array(sorted(kept), np.int32)

    def _bare(self, text: str) -> list[int]:
        return self.model.encode(text)[self._front :]


def sparse_row(logits: Floats, terms: Ints) -> dict[int, float]:
    """round(100 log(1 + ReLU(logit))) of the largest 128 of *terms*; of the whole vocabulary's 10 largest
    when none of the terms is left.
    """
    terms = terms[terms < len(logits)]
    weights = np.round(SCALE * np.log1p(np.maximum(logits[terms], 0.0)))
    order = np.lexsort((terms, -weights))[:MOST_TERMS]
    kept = {int(terms[i]): float(weights[i]) for i in order if weights[i] > 0}
    if kept:
        return kept
    best = np.argsort(-logits, kind="stable")[:FALLBACK]
    weights = np.round(SCALE * np.log1p(np.maximum(logits[best], 0.0)))
    return {int(term): float(weight) for term, weight in zip(best, weights, strict=True) if weight > 0}
