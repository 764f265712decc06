"""Mixtures: the card's counts, no-ops of smoothing, allocation, and two-interest searchers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.answers import PAD
from harness.mixtures import (
    Mixture,
    allocation,
    allotted,
    alone,
    mixture,
    smoothed,
    spherical_k_means,
)

EYE = np.eye(3, dtype=np.float32)


def user(counts: tuple[int, int, int]) -> Mixture:
    """A searcher with so many documents in clusters A, B and C, each document its cluster's unit vector."""
    clusters = np.repeat(np.arange(3), counts)
    return mixture(EYE[clusters], clusters, 3)


def shares(part: Mixture) -> list[float]:
    found = np.zeros(3)
    found[part.clusters] = part.shares
    return found.tolist()


def test_the_worked_example() -> None:
    users = [user((6, 4, 0)), user((2, 0, 8)), user((0, 5, 5))]
    assert shares(users[0]) == pytest.approx([0.6, 0.4, 0.0])
    both = smoothed(users, 3)
    assert shares(both) == pytest.approx([0.8 / 3, 0.9 / 3, 1.3 / 3])
    np.testing.assert_allclose(both.centroids, EYE[both.clusters], atol=1e-6)
    assert allocation(np.array([0.6, 0.4]), 10).tolist() == [6, 4]
    assert allocation(np.array([0.8, 0.9, 1.3]) / 3, 10).tolist() == [3, 3, 4]


def test_smoothing_over_itself_or_equals_is_a_no_op() -> None:
    one = user((6, 4, 0))
    for parts in ([one], [one, one, one]):
        same = smoothed(parts, 3)
        assert same.clusters.tolist() == one.clusters.tolist()
        np.testing.assert_allclose(same.shares, one.shares)
        np.testing.assert_allclose(same.centroids, one.centroids, atol=1e-6)


def test_a_centroid_is_weighted_by_what_a_neighbour_has_in_it() -> None:
    heavy, light = user((0, 9, 1)), user((10, 0, 0))
    both = smoothed([heavy, light], 3)
    place = both.clusters.tolist().index(1)
    np.testing.assert_allclose(both.centroids[place], EYE[1], atol=1e-6)  # not pulled to zero by *light*


@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=8), st.integers(1, 60))
def test_allocation_sums_to_the_total(weights: list[float], total: int) -> None:
    given_shares = np.array(weights) / np.sum(weights)
    counts = allocation(given_shares, total)
    assert counts.sum() == total and (counts >= 0).all()
    assert (np.abs(counts - given_shares * total) < 1 + 1e-6).all()


def test_allotment_skips_what_is_seen_or_taken_and_tops_up() -> None:
    docs = np.array([[1, 2, 3], [2, 4, PAD]], np.int32)
    cosines = np.array([[0.9, 0.8, 0.7], [0.85, 0.6, -np.inf]], np.float32)
    chosen = allotted(docs, cosines, np.array([2, 1]), np.array([1], np.int32))
    assert [(doc, rank) for doc, rank, _ in chosen] == [(2, 0), (3, 0), (4, 1)]
    short = allotted(docs, cosines, np.array([1, 3]), np.empty(0, np.int32))
    assert sorted(doc for doc, _, _ in short) == [1, 2, 3, 4]  # row 1 has two: one more comes from row 0
    assert allotted(docs, cosines, np.array([0, 1]), np.empty(0, np.int32)) == [(2, 1, pytest.approx(0.85))]


def test_two_interests_are_both_found() -> None:
    """Two blobs in opposite directions, noise between them: the mean of the history points at the noise."""
    random = np.random.default_rng(0)
    ends = np.array([[1.0, 0.2, 0], [-1.0, 0.2, 0]])
    blobs = np.concatenate([end + 0.05 * random.normal(size=(20, 3)) for end in ends])
    noise = np.array([0, 1.0, 0]) + 0.05 * random.normal(size=(40, 3))
    documents = np.concatenate([blobs, noise]).astype(np.float32)
    documents /= np.linalg.norm(documents, axis=1, keepdims=True)
    _, cluster = spherical_k_means(documents, 3)
    history = np.array([0, 1, 2, 3, 20, 21, 22, 23])
    wanted = set(range(40)) - set(history.tolist())

    def recall(part: Mixture) -> float:
        cosines = part.centroids @ documents.T
        order = np.argsort(-cosines, axis=1)
        seen = np.array(history, np.int32)
        ranked = np.take_along_axis(cosines, order, 1)
        chosen = allotted(order.astype(np.int32), ranked, allocation(part.shares, 32), seen)
        assert len(chosen) == len({doc for doc, _, _ in chosen}) == 32
        assert not {doc for doc, _, _ in chosen} & set(history.tolist())
        return len({doc for doc, _, _ in chosen} & wanted) / len(wanted)

    one = Mixture(np.zeros(1, np.int32), np.ones(1), documents[history].mean(axis=0, keepdims=True))
    assert recall(mixture(documents[history], cluster[history], 5)) == 1.0
    assert recall(one) < 0.5
    # One cluster is the unimodal search.
    np.testing.assert_allclose(
        mixture(documents[history], np.zeros(8, np.int64), 5).centroids, one.centroids, atol=1e-6
    )


def test_k_means_leaves_no_cluster_empty_and_ignores_length() -> None:
    random = np.random.default_rng(1)
    vectors = random.normal(size=(60, 4)).astype(np.float32)
    centres, cluster = spherical_k_means(vectors, 7)
    assert set(cluster.tolist()) == set(range(7))
    np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 1.0, rtol=1e-5)
    scaled = vectors * random.uniform(0.5, 9, size=(60, 1)).astype(np.float32)
    assert np.array_equal(spherical_k_means(scaled, 7)[1], cluster)


def test_a_searcher_without_history_is_its_own_vector() -> None:
    part = alone(np.array([0.1, 0.9, 0.0], np.float32), EYE)
    assert part.clusters.tolist() == [1] and part.shares.tolist() == [1.0]
