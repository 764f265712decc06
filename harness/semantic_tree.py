"""A corpus as a tree: documents clustered by their vectors, every inner node with a description.

The paper's trees are built by a language model (LATTICE, Gupta et al. 2025); its construction code is not
published. Here vectors are split by spherical k-means, from the root down, until a node has few enough
children; descriptions are titles and the terms that set a node apart (tf-idf). (adapted)
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from harness.answers import Floats, Ints
from harness.mixtures import spherical_k_means

WORD = re.compile(r"[^\W\d_]{3,}")
BATCH = 2048


class Texts(Protocol):
    """What is needed of a corpus."""

    def __len__(self) -> int:
        """Number of documents."""

    def titles_and_texts(self, start: int, stop: int) -> list[tuple[str, str]]:
        """(title, text) of documents start..stop-1."""


@dataclass(frozen=True, eq=False)
class SemanticTree:
    """Inner nodes 0..m-1, 0 the root; node m + d is document d, a leaf.

    starts int64[m + 1] and members int32: the children of inner node i are members[starts[i]:starts[i + 1]].
    parents int32[m + n]: of every node, -1 for the root. descriptions: of inner nodes.
    """

    starts: npt.NDArray[np.int64]
    members: Ints
    parents: Ints
    descriptions: tuple[str, ...]

    @property
    def inner(self) -> int:
        """Number of inner nodes."""
        return len(self.starts) - 1

    def children(self, node: int) -> Ints:
        """The children of an inner node."""
        return self.members[self.starts[node] : self.starts[node + 1]]

    def is_leaf(self, node: int) -> bool:
        """Whether a node is a document."""
        return node >= self.inner

    def document(self, leaf: int) -> int:
        """The document of a leaf."""
        return leaf - self.inner

    def depth(self, node: int) -> int:
        """Steps from the root."""
        steps = 0
        while self.parents[node] >= 0:
            node, steps = int(self.parents[node]), steps + 1
        return steps

    def save(self, folder: Path) -> None:
        """tree.npz and descriptions.json."""
        np.savez(folder / "tree.npz", starts=self.starts, members=self.members, parents=self.parents)
        (folder / "descriptions.json").write_text(json.dumps(self.descriptions), encoding="utf-8")

    @classmethod
    def open(cls, folder: Path) -> SemanticTree:
        """The tree of a folder."""
        told = json.loads((folder / "descriptions.json").read_text(encoding="utf-8"))
        with np.load(folder / "tree.npz") as held:
            return cls(held["starts"], held["members"], held["parents"], tuple(told))


@dataclass(frozen=True)
class TreeSpec:
    """branching: the most children of a node; terms, titles: the most of each in a description."""

    branching: int = 12
    terms: int = 12
    titles: int = 4
    seed: int = 0


def build_tree(vectors: Floats, corpus: Texts, spec: TreeSpec) -> SemanticTree:
    """The tree of documents by *vectors* float32[n, d]."""
    groups: list[list[int] | Ints] = []  # children: numbers of inner nodes, or an array of documents
    _split(np.arange(len(vectors), dtype=np.int32), vectors, spec, groups)
    inner = len(groups)
    rows = [np.asarray(g, np.int32) + (inner if isinstance(g, np.ndarray) else 0) for g in groups]
    starts = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    members = np.concatenate(rows).astype(np.int32)
    parents = np.full(inner + len(vectors), -1, np.int32)
    parents[members] = np.repeat(np.arange(inner, dtype=np.int32), np.diff(starts))
    return SemanticTree(starts, members, parents, _described(corpus, rows, inner, spec))


def _split(docs: Ints, vectors: Floats, spec: TreeSpec, groups: list[list[int] | Ints]) -> int:
    """Append the inner node over *docs* and those below it; returns its number."""
    number = len(groups)
    if len(docs) <= spec.branching:
        groups.append(docs)
        return number
    children: list[int] = []
    groups.append(children)
    for part in _parts(docs, vectors, spec):
        children.append(_split(part, vectors, spec, groups))
    return number


def _parts(docs: Ints, vectors: Floats, spec: TreeSpec) -> list[Ints]:
    """*docs* in at most branching clusters; in even parts where their vectors do not tell them apart."""
    count = min(spec.branching, math.ceil(len(docs) / spec.branching))
    _, cluster = spherical_k_means(vectors[docs], count, spec.seed)
    parts = [docs[cluster == number] for number in range(count)]
    parts = [part for part in parts if len(part)]
    if len(parts) < 2:
        return list(np.array_split(docs, count))
    return parts


def _described(corpus: Texts, rows: Sequence[Ints], inner: int, spec: TreeSpec) -> tuple[str, ...]:
    """One description an inner node, from the leaves up: a node counts the terms of what is below it."""
    terms, titles, seen = _terms(corpus)
    counts: list[Counter[str]] = [Counter() for _ in range(inner)]
    leads: list[list[str]] = [[] for _ in range(inner)]
    for node in reversed(range(inner)):  # children have higher numbers than their parent
        for child in rows[node].tolist():
            below = counts[child] if child < inner else terms[child - inner]
            counts[node].update(below)
            lead = leads[child][:1] if child < inner else [titles[child - inner]]
            leads[node] += [title for title in lead if title]
    found = []
    for node in range(inner):
        weights = {term: times * math.log(len(corpus) / seen[term]) for term, times in counts[node].items()}
        apart = [term for term, weight in weights.items() if weight > 0]
        best = sorted(apart, key=lambda term: (-weights[term], term))[: spec.terms]
        found.append("; ".join([*leads[node][: spec.titles], ", ".join(best)]))
    return tuple(found)


def _terms(corpus: Texts) -> tuple[list[Counter[str]], list[str], Counter[str]]:
    """(terms of each document, its title, in how many documents each term is)."""
    terms, titles, seen = [], [], Counter[str]()
    for title, text in _documents(corpus):
        terms.append(Counter(WORD.findall(f"{title} {text}".lower())))
        titles.append(title)
        seen.update(terms[-1].keys())
    return terms, titles, seen


def _documents(corpus: Texts) -> Iterator[tuple[str, str]]:
    for start in range(0, len(corpus), BATCH):
        yield from corpus.titles_and_texts(start, min(start + BATCH, len(corpus)))
