"""Best-first search of a semantic tree by a judge that scores small slates of nodes: LATTICE.

Gupta et al. 2025 (arXiv 2510.13217): scores of different slates are made comparable by fitting one latent
score a node and one bias a slate to all slates seen; a beam over path relevance chooses what to open next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from harness.answers import Ints
from harness.semantic_tree import SemanticTree

if TYPE_CHECKING:
    import torch

Doubles = npt.NDArray[np.float64]
Judge = Callable[[Sequence[int]], Sequence[float]]  # nodes, in the order shown, to scores in [0, 1]

FLOOR = 0.09  # local scores up to this are a node's path relevance themselves
TEMPERATURE = 5.0  # tau of the calibration
STEPS, RATE, DECAY, CLIP = 200, 1e-2, 1e-4, 1.0  # its AdamW
RARE = 1e-4  # weight of a seen leaf below the threshold when calibration items are drawn


@dataclass(frozen=True)
class WalkSpec:
    """iterations, beam: nodes opened are at most their product. path: f, the share of a node's own score in
    its path relevance. calibration: leaves seen before that are shown again with new ones.

    fit: the share of the squared error in the calibration's loss, the rest is Plackett-Luce of the slates'
    rankings; 0 < fit <= 1. calibrated: whether leaves are ranked by fitted scores. beam_score: what path
    relevance in the beam is computed from.
    """

    iterations: int = 20
    beam: int = 2
    path: float = 0.5
    calibration: int = 10
    fit: float = 1.0
    calibrated: bool = True
    beam_score: Literal["local", "calibrated"] = "local"
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Slate:
    """Nodes shown together, as int64[n], and what the judge gave each, float64[n]."""

    nodes: npt.NDArray[np.int64]
    scores: Doubles


@dataclass
class Walk:
    """One query's search. local: the judge's score of each node when it was first shown; relevance: along
    its path; slates: all that was shown.
    """

    tree: SemanticTree
    judge: Judge
    spec: WalkSpec
    hidden: frozenset[int] = frozenset()
    local: dict[int, float] = field(default_factory=dict)
    relevance: dict[int, float] = field(default_factory=lambda: {0: 1.0})
    opened: set[int] = field(default_factory=set)
    slates: list[Slate] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(self.spec.seed)

    def run(self) -> tuple[Ints, Doubles]:
        """(documents int32[n], scores float64[n]) of every leaf reached, best first."""
        for _ in range(self.spec.iterations):
            front = self._front()
            if not front:
                break
            for node in front:
                self._open(node)
            if self.spec.beam_score == "calibrated":
                self._refresh()
        return self._ranked()

    def _front(self) -> list[int]:
        """The unopened inner nodes of the highest path relevance; of equals, the one seen first."""
        open_ = [n for n in self.relevance if not self.tree.is_leaf(n) and n not in self.opened]
        return sorted(open_, key=lambda node: -self.relevance[node])[: self.spec.beam]

    def _open(self, node: int) -> None:
        children = [c for c in self.tree.children(node).tolist() if not self._is_hidden(c)]
        self.opened.add(node)
        if not children:
            return
        shown = np.array([*children, *self._calibration_items(children)], np.int64)
        shown = self._random.permutation(shown)
        slate = Slate(shown, np.asarray(self.judge(shown.tolist()), np.float64))
        self.slates.append(slate)
        given = dict(zip(slate.nodes.tolist(), slate.scores.tolist(), strict=True))
        for child in children:
            self.local[child] = given[child]
            self.relevance[child] = self.along(given[child], self.relevance[node])

    def along(self, score: float, parent: float) -> float:
        """The path relevance of a node by its own score and its parent's path relevance."""
        return score if score <= FLOOR else self.spec.path * score + (1.0 - self.spec.path) * parent

    def _is_hidden(self, node: int) -> bool:
        return self.tree.is_leaf(node) and self.tree.document(node) in self.hidden

    def _calibration_items(self, children: list[int]) -> list[int]:
        """Nodes seen before that tie a new slate to earlier ones."""
        if not self.tree.is_leaf(children[0]):
            level = self.tree.depth(children[0])
            known = [n for n in self.local if not self.tree.is_leaf(n) and self.tree.depth(n) == level]
            return [max(known, key=lambda node: self.local[node])] if known and level > 1 else []
        seen = [node for node in self.local if self.tree.is_leaf(node)]
        if len(seen) <= self.spec.calibration:
            return seen
        scores = np.array([self.local[node] for node in seen])
        weights = np.where(scores > two_component_threshold(scores), 4.0 ** (2.0 * scores), RARE)
        drawn = self._random.choice(
            len(seen), self.spec.calibration, replace=False, p=weights / weights.sum()
        )
        return [seen[place] for place in drawn.tolist()]

    def _refresh(self) -> None:
        """Path relevance from fitted scores, parents before their children."""
        fitted = calibrated_scores(self.slates, self.spec.fit)
        for node in self.local:
            self.relevance[node] = self.along(fitted[node], self.relevance[int(self.tree.parents[node])])

    def _ranked(self) -> tuple[Ints, Doubles]:
        leaves = [node for node in self.local if self.tree.is_leaf(node)]
        own = calibrated_scores(self.slates, self.spec.fit) if self.spec.calibrated and leaves else self.local
        f = self.spec.path
        scores = np.array(
            [(1 - f) * self.relevance[int(self.tree.parents[leaf])] + f * own[leaf] for leaf in leaves]
        )
        order = np.argsort(-scores, kind="stable")
        docs = np.array([self.tree.document(leaf) for leaf in leaves], np.int32)
        return docs[order], scores[order]


def calibrated_scores(slates: Sequence[Slate], fit: float = 1.0) -> dict[int, float]:
    """The latent score of every node shown, the largest being 1.

    Fits tau * a * theta_v + b_s to tau * score over all slates, errors weighted by max(0.1, sigma(score -
    0.5)), and for fit < 1 also the Plackett-Luce likelihood of each slate's ranking; AdamW, 200 steps.
    """
    import torch

    nodes, item = np.unique(np.concatenate([slate.nodes for slate in slates]), return_inverse=True)
    sizes = [len(slate.nodes) for slate in slates]
    given = torch.from_numpy(np.concatenate([slate.scores for slate in slates]))
    rows, columns = torch.from_numpy(item), torch.from_numpy(np.repeat(np.arange(len(slates)), sizes))
    start = np.bincount(item, given.numpy()) / np.bincount(item)
    theta = torch.from_numpy(start).requires_grad_()
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(len(slates), dtype=torch.float64, requires_grad=True)
    weights = torch.sigmoid(given - 0.5).clamp(min=0.1)
    optimiser = torch.optim.AdamW([theta, scale, bias], lr=RATE, weight_decay=DECAY)
    for _ in range(STEPS):
        optimiser.zero_grad()
        predicted = TEMPERATURE * scale * theta[rows] + bias[columns]
        loss = fit * (weights * (predicted - TEMPERATURE * given) ** 2).mean()
        if fit < 1.0:
            parts = zip(torch.split(predicted, sizes), torch.split(given, sizes), strict=True)
            loss = loss + (1.0 - fit) * sum(_plackett_luce(p, g) for p, g in parts) / len(sizes)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_([theta, scale, bias], CLIP)
        optimiser.step()
    latent = (scale * theta).detach().numpy()
    top = latent.max()
    latent = latent / top if top > 0 else latent
    return dict(zip(nodes.tolist(), latent.tolist(), strict=True))


def _plackett_luce(predicted: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
    """The negative log-likelihood of the ranking by *given* scores (stable), by *predicted* ones."""
    ordered = predicted[given.argsort(descending=True, stable=True)]
    return (ordered.flip(0).logcumsumexp(0) - ordered.flip(0)).mean()


def two_component_threshold(scores: Doubles, rounds: int = 50) -> float:
    """Where the two components of a Gaussian mixture over *scores* are equally likely (by EM).

    Without two groups to tell apart, the mean.
    """
    means, spread = np.array([scores.min(), scores.max()]), max(float(scores.std()), 1e-3)
    widths, shares = np.array([spread, spread]), np.array([0.5, 0.5])
    for _ in range(rounds):
        logs = np.log(shares) - np.log(widths) - 0.5 * ((scores[:, None] - means) / widths) ** 2
        parts = np.exp(logs - logs.max(axis=1, keepdims=True))
        parts /= parts.sum(axis=1, keepdims=True)
        mass = parts.sum(axis=0)
        if mass.min() < 1e-6:
            return float(scores.mean())
        shares, means = mass / mass.sum(), (parts * scores[:, None]).sum(axis=0) / mass
        widths = np.sqrt((parts * (scores[:, None] - means) ** 2).sum(axis=0) / mass).clip(min=1e-3)
    grid = np.linspace(means[0], means[1], 201)
    logs = np.log(shares) - np.log(widths) - 0.5 * ((grid[:, None] - means) / widths) ** 2
    above = np.flatnonzero(logs[:, 1] >= logs[:, 0])
    return float(grid[above[0]]) if len(above) else float(scores.mean())
