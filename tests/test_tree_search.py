"""The walk and its calibration, with judges whose knowledge is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from harness.semantic_tree import SemanticTree, TreeSpec, build_tree
from harness.tree_search import Slate, Walk, WalkSpec, calibrated_scores, two_component_threshold
from tests.needs import needs

pytestmark = needs("torch")


@dataclass
class Numbered:
    """Documents with a title and a text."""

    count: int

    def __len__(self) -> int:
        return self.count

    def titles_and_texts(self, start: int, stop: int) -> list[tuple[str, str]]:
        return [(f"title {n}", f"common word{'abcdefgh'[n % 8]} text") for n in range(start, stop)]


def tree_of(documents: int, branching: int = 4) -> SemanticTree:
    vectors = np.random.default_rng(3).normal(size=(documents, 6)).astype(np.float32)
    return build_tree(vectors, Numbered(documents), TreeSpec(branching))


def leaves_below(tree: SemanticTree, node: int) -> set[int]:
    if tree.is_leaf(node):
        return {tree.document(node)}
    return set().union(*(leaves_below(tree, child) for child in tree.children(node).tolist()))


@pytest.mark.parametrize("documents", [1, 4, 5, 60, 200])
def test_every_document_is_one_leaf(documents: int, tmp_path: Path) -> None:
    tree = tree_of(documents)
    assert leaves_below(tree, 0) == set(range(documents))
    assert max(len(tree.children(node)) for node in range(tree.inner)) <= 4
    assert len(tree.members) == tree.inner - 1 + documents
    tree.save(tmp_path)
    again = SemanticTree.open(tmp_path)
    assert again.descriptions == tree.descriptions
    assert np.array_equal(again.parents, tree.parents)


def test_equal_vectors_are_split_evenly() -> None:
    tree = build_tree(np.ones((40, 3), np.float32), Numbered(40), TreeSpec(4))
    assert leaves_below(tree, 0) == set(range(40))
    assert max(tree.depth(node) for node in range(tree.inner + 40)) <= 4


def test_descriptions_tell_what_sets_a_node_apart() -> None:
    tree = tree_of(60)
    assert not any("common" in told for told in tree.descriptions)  # in every document
    assert all("word" in told and "title" in told for told in tree.descriptions)


@pytest.mark.parametrize("seed", range(5))
def test_an_oracle_reaches_every_relevant_leaf(seed: int) -> None:
    tree = tree_of(120)
    gold = set(np.random.default_rng(seed).choice(120, 3, replace=False).tolist())

    def oracle(nodes: Sequence[int]) -> list[float]:
        return [1.0 if leaves_below(tree, node) & gold else 0.0 for node in nodes]

    deepest = max(tree.depth(tree.inner + doc) for doc in gold)
    walk = Walk(tree, oracle, WalkSpec(iterations=deepest * len(gold), beam=1))
    docs, _ = walk.run()
    assert set(docs[: len(gold)].tolist()) == gold
    assert len(walk.slates) <= deepest * len(gold)


def test_path_relevance_by_hand() -> None:
    walk = Walk(tree_of(5), lambda nodes: [0.0] * len(nodes), WalkSpec())
    assert walk.along(0.6, 1.0) == pytest.approx(0.80)
    assert walk.along(0.8, 0.80) == pytest.approx(0.80)
    assert walk.along(1.0, 0.80) == pytest.approx(0.90)
    assert walk.along(0.09, 1.0) == 0.09
    assert walk.along(0.10, 1.0) == pytest.approx(0.55)
    greedy = Walk(tree_of(5), lambda nodes: [0.0] * len(nodes), WalkSpec(path=1.0))
    assert greedy.along(0.4, 1.0) == 0.4


@pytest.mark.parametrize("path", [0.0, 0.5, 1.0])
def test_calls_are_bounded_and_nothing_is_judged_twice_as_a_child(path: float) -> None:
    tree, generator = tree_of(200), np.random.default_rng(1)
    spec = WalkSpec(iterations=7, beam=2, path=path)
    shown: list[list[int]] = []

    def judge(nodes: Sequence[int]) -> list[float]:
        shown.append(list(nodes))
        return generator.random(len(nodes)).tolist()

    walk = Walk(tree, judge, spec)
    docs, scores = walk.run()
    assert len(shown) == len(walk.opened) <= 14
    assert len(set(docs.tolist())) == len(docs)
    assert (np.diff(scores) <= 1e-12).all()
    assert max(map(len, shown)) <= 4 + spec.calibration


def test_the_same_query_twice_gives_the_same_ranking() -> None:
    tree = tree_of(200)

    def judge(nodes: Sequence[int]) -> list[float]:
        return [((node * 7919) % 101) / 100 for node in nodes]

    spec = WalkSpec(path=0.0)  # ties everywhere
    first, second = (Walk(tree, judge, spec).run() for _ in range(2))
    assert np.array_equal(first[0], second[0])


def test_hidden_documents_are_never_shown() -> None:
    tree, hidden = tree_of(60), frozenset({3, 17, 40})

    def judge(nodes: Sequence[int]) -> list[float]:
        assert not {tree.document(n) for n in nodes if tree.is_leaf(n)} & hidden
        return [0.5] * len(nodes)

    docs, _ = Walk(tree, judge, WalkSpec(iterations=100), hidden).run()
    assert set(docs.tolist()) == set(range(60)) - hidden


def biased_slates(bias: float, seed: int) -> tuple[list[Slate], np.ndarray]:
    """Thirty nodes in overlapping slates of eight, each slate shifted by up to *bias*."""
    generator = np.random.default_rng(seed)
    truth, slates = generator.random(30), []
    for _ in range(25):
        nodes = generator.choice(30, 8, replace=False)
        shift = generator.uniform(-bias, bias)
        noise = generator.normal(0, 0.02, 8)
        slates.append(Slate(nodes, np.clip(truth[nodes] + shift + noise, 0, 1)))
    return slates, truth


def raw_means(slates: list[Slate], count: int) -> np.ndarray:
    first: dict[int, float] = {}
    for slate in slates:
        for node, score in zip(slate.nodes.tolist(), slate.scores.tolist(), strict=True):
            first.setdefault(node, score)
    return np.array([first[node] for node in range(count)])


@pytest.mark.parametrize("fit", [1.0, 0.5])
def test_calibration_recovers_what_biases_hide(fit: float) -> None:
    gains = []
    for seed in range(5):
        slates, truth = biased_slates(0.3, seed)
        fitted = calibrated_scores(slates, fit)
        ours = spearmanr([fitted[node] for node in range(30)], truth).statistic
        gains.append(ours - spearmanr(raw_means(slates, 30), truth).statistic)
    assert np.mean(gains) > 0.02
    assert min(gains) > 0


def test_calibration_does_no_harm_without_biases_and_keeps_one_slates_order() -> None:
    slates, truth = biased_slates(0.0, 0)
    fitted = calibrated_scores(slates)
    assert spearmanr([fitted[node] for node in range(30)], truth).statistic > 0.99
    one = Slate(np.arange(4), np.array([0.2, 0.9, 0.4, 0.0]))
    single = calibrated_scores([one])
    assert sorted(single, key=lambda node: -single[node]) == [1, 2, 0, 3]
    assert max(single.values()) == pytest.approx(1.0)


def test_calibrated_ranking_beats_raw_scores_under_a_biased_judge() -> None:
    tree, wins = tree_of(200), []
    for seed in range(12):
        generator = np.random.default_rng(seed)
        truth = generator.random(200) ** 3
        best = {n: max(truth[list(leaves_below(tree, n))]) for n in range(tree.inner)}

        def judge(nodes: Sequence[int], g: np.random.Generator = generator, t: np.ndarray = truth,
                  b: dict[int, float] = best) -> list[float]:  # fmt: skip
            shift = g.uniform(-0.35, 0.35)
            raw = [t[tree.document(n)] if tree.is_leaf(n) else b[n] for n in nodes]
            return np.clip(np.array(raw) + shift, 0, 1).tolist()

        found = []
        for calibrated in (True, False):
            spec = WalkSpec(iterations=12, path=1.0, calibrated=calibrated)
            docs, _ = Walk(tree, judge, spec).run()
            found.append(truth[docs[:10]].sum())
        wins.append(found[0] - found[1])
    assert np.mean(wins) > 0


def test_beam_scores_may_be_the_fitted_ones() -> None:
    tree = tree_of(60)
    walk = Walk(
        tree, lambda nodes: [0.5 + 0.4 * (n % 2) for n in nodes], replace(WalkSpec(), beam_score="calibrated")
    )
    docs, _ = walk.run()
    assert len(docs)
    assert max(walk.relevance.values()) <= 1.0 + 1e-9


def test_threshold_lies_between_two_groups() -> None:
    scores = np.concatenate([np.full(20, 0.1), np.full(20, 0.8)]) + np.linspace(-0.05, 0.05, 40)
    assert 0.2 < two_component_threshold(scores) < 0.7
    assert two_component_threshold(np.full(5, 0.3)) == pytest.approx(0.3)
