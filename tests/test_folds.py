"""Folds: every query answered once, by what never saw it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import TouchstoneError
from harness.execute import Session
from harness.folds import cross_fit, positives, relevant_grade
from harness.tasks.rank import RankTask


@given(st.integers(3, 40), st.integers(2, 7), st.floats(0.05, 0.95), st.integers(0, 3))
def test_folds_answer_each_query_once_and_never_train_on_it(
    n: int, folds: int, dev: float, seed: int
) -> None:
    names = [f"q{i}" for i in range(n)]
    found = cross_fit(names, folds, dev, seed)
    assert sorted(item for fold in found for item in fold.test.tolist()) == list(range(n))
    for fold in found:
        assert len(fold.train) and len(fold.dev) and len(fold.test)
        assert sorted([*fold.train, *fold.dev, *fold.test]) == list(range(n))
    again = cross_fit(names, folds, dev, seed)
    assert all(np.array_equal(a.train, b.train) for a, b in zip(found, again, strict=True))


def test_a_split_moves_with_names_not_places() -> None:
    names = [f"q{i}" for i in range(12)]
    forward, backward = cross_fit(names, 3), cross_fit(names[::-1], 3)
    for one, other in zip(forward, backward, strict=True):
        assert {names[i] for i in one.test} == {names[::-1][i] for i in other.test}


def test_positives_are_what_the_measures_count(session: Session) -> None:
    task = session.task(session.catalog.task("toy"))
    assert isinstance(task, RankTask)
    assert relevant_grade(task) == 1
    strict = replace(task, spec=replace(task.spec, measures=("nDCG@10", "AP(rel=2)")))
    assert relevant_grade(strict) == 2
    assert [len(docs) for docs in positives(task, task.items[:2])] == [5, 5]
    docs = positives(strict, task.items[:1])[0]
    assert len(docs) == 2 and set(docs.tolist()) < set(task.relevant(0)[0].tolist())


def test_too_few_queries_to_split() -> None:
    with pytest.raises(TouchstoneError, match="cannot split 2 queries"):
        cross_fit(["a", "b"])
