"""kNN-Embed on the toy task: limits of its settings, histories without what is held out."""

from __future__ import annotations

import numpy as np
import pytest

from adapters.dense.knn_embed import KnnEmbed, Settings, halved
from harness.answers import PAD
from harness.errors import TouchstoneError
from harness.execute import Session
from harness.folds import positives
from harness.registry import make_adapter, parse_method
from tests.adapters.dense.test_dense import ranked
from tests.needs import needs


@needs("minilm")
def test_limits(session: Session) -> None:
    def docs(settings: str) -> np.ndarray:
        return ranked(session, f"knn-embed(seen=6,clusters=4,candidates=10,{settings})")[0].docs

    assert np.array_equal(docs("neighbours=1"), docs("mode=mixture"))
    assert (docs("neighbours=1") != docs("neighbours=6")).any()
    unimodal = docs("mode=unimodal")
    whole = ranked(session, "knn-embed(seen=6,clusters=1,candidates=10,mode=mixture)")[0].docs
    assert np.array_equal(whole, unimodal)  # one cluster
    for found in (unimodal, docs("order=cluster"), docs("top=1")):
        assert (found != PAD).all()
        assert all(len(set(row)) == 10 for row in found.tolist())


@needs("minilm")
def test_a_judged_history_is_neither_ranked_nor_scored(session: Session) -> None:
    settings = Settings(history="judged", clusters=4, candidates=10, mode="mixture")
    answers, task = ranked(session, "knn-embed(history=judged,clusters=4,candidates=10,mode=mixture)")
    for row, docs in enumerate(positives(task, task.items)):
        seen, held_out = halved(task, docs)
        assert sorted([*seen, *held_out]) == sorted(docs.tolist()) and len(seen) == 2
        assert not set(seen.tolist()) & set(answers.docs[row].tolist())
    scores = KnnEmbed(settings).score(task, answers)
    assert scores.column("held-out R@10").mean() == 1.0  # topics are apart: all of each is found
    assert scores.column("R@5").mean() <= 0.6


def test_mistakes() -> None:
    with pytest.raises(TouchstoneError, match="clusters is 0"):
        make_adapter(parse_method("knn-embed(clusters=0)")).check()
