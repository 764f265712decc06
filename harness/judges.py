"""Who scores a slate of texts for a query: a language model in JSON, its likelihood, or a cosine."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.adapter import Context
from harness.answers import Floats
from harness.dense import DenseVectors
from harness.models.language import Chat, LanguageModel, Request
from harness.semantic_tree import SemanticTree
from harness.spec import Json, digest
from harness.tasks.rank import RankTask

SYSTEM = "You judge how relevant passages and groups of passages are to a query."
ASK = """{task}

Query: {query}

Candidates:
{candidates}

Think step by step, then answer with one JSON object: {{"reasoning": "...", "ranking": [ids, best first],
"relevance_scores": [[id, score from 0 to 100], ...]}}, with every id once."""


class Slates:
    """What a judge sees of a tree's nodes: an inner node's description, the first words of a document."""

    def __init__(self, task: RankTask, tree: SemanticTree, words: int) -> None:
        self._task, self.tree, self._words = task, tree, words

    def texts(self, nodes: Sequence[int]) -> list[str]:
        """One text a node."""
        docs = np.array([self.tree.document(n) for n in nodes if self.tree.is_leaf(n)], np.int32)
        leaves = iter(self._task.corpus.texts_of(docs))
        return [
            " ".join(next(leaves).split()[: self._words])
            if self.tree.is_leaf(n)
            else self.tree.descriptions[n]
            for n in nodes
        ]


class Reader:
    """A language model answers in JSON with scores from 0 to 100.

    An id that the answer leaves out gets 0; an answer that cannot be read is counted.
    """

    def __init__(
        self, model: LanguageModel, slates: Slates, context: Context, instruction: str, max_new_tokens: int
    ) -> None:
        self._model, self._slates, self._context = model, slates, context
        self._instruction, self._most = instruction, max_new_tokens

    def scores(self, query: str, nodes: Sequence[int]) -> list[float]:
        """In [0, 1], one a node."""
        texts = self._slates.texts(nodes)
        lines = "\n".join(f"[{number}] {text}" for number, text in enumerate(texts))
        prompt = ASK.format(task=self._instruction, query=query, candidates=lines)
        found = read_scores(self._model.generate(Chat.ask(prompt, SYSTEM), self._most), len(texts))
        if not found:
            self._context.meter.count("judgements that could not be read")
        return [found.get(number, 0.0) for number in range(len(texts))]


def read_scores(text: str, count: int) -> dict[int, float]:
    """Scores / 100 by id from a model's answer; empty when it holds no such list."""
    held = re.search(r'"relevance_scores"\s*:\s*(\[.*?\]\s*\])', text, re.DOTALL)
    try:
        pairs = json.loads(held[1]) if held else []
        scores = {int(number): float(score) / 100.0 for number, score in pairs}
    except (ValueError, TypeError):
        return {}
    return {n: min(1.0, max(0.0, v)) for n, v in scores.items() if 0 <= n < count and math.isfinite(v)}


class Likelihood:
    """The mean probability (geometric) that a language model gives the query's tokens after a text."""

    def __init__(self, model: LanguageModel, slates: Slates) -> None:
        self._model, self._slates = model, slates

    def scores(self, query: str, nodes: Sequence[int]) -> list[float]:
        """In (0, 1), one a node."""
        tokens = max(1, len(self._model.encode(query)) - len(self._model.encode("")))
        requests = [Request(f"{text}\nQuestion:", (f" {query}",)) for text in self._slates.texts(nodes)]
        rows = self._model.continuation_logprobs(requests)
        return [math.exp(float(row[0]) / tokens) for row in rows]


class Cosine:
    """The cosine of the encoder's vectors of query and text, 0 below 0."""

    def __init__(self, tree: SemanticTree, vectors: DenseVectors) -> None:
        self._tree, self._vectors = tree, vectors
        self._inner = _description_vectors(tree, vectors)
        self._query: tuple[str, Any] = ("", None)

    def scores(self, query: str, nodes: Sequence[int]) -> list[float]:
        """By the corpus vectors of documents, and the descriptions' of inner nodes."""
        tree, documents = self._tree, self._vectors.documents
        if self._query[1] is None or self._query[0] != query:
            self._query = (query, _unit(self._vectors.encode([query]))[0])
        rows = [documents[tree.document(n)] if tree.is_leaf(n) else self._inner[n] for n in nodes]
        cosines = _unit(np.stack(rows)) @ self._query[1]
        return [min(1.0, max(0.0, float(value))) for value in cosines]


def _description_vectors(tree: SemanticTree, vectors: DenseVectors) -> Floats:
    """float32[inner nodes, d]; cached."""
    told = list(tree.descriptions)
    key: dict[str, Json] = {
        "encoder": vectors.encoder.identity,
        "texts": digest([*told], 32),
        "role": "document",
    }

    def make(folder: Path) -> None:
        np.save(folder / "vectors.npy", vectors.encoder.encode(told, "document"))

    found: Floats = np.load(vectors.context.asset("description-vectors", key, make).path / "vectors.npy")
    return found


def _unit(vectors: Floats) -> Floats:
    unit: Floats = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return unit
