from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from adapters.rerank.cross_encoder import CrossEncoderRerank, Settings, reranked
from harness.answers import PAD, Floats, Rankings
from harness.errors import TouchstoneError
from harness.execute import Session, read_answers
from harness.models.batching import Progress
from harness.models.reranker import RerankerSpec, load_reranker
from harness.registry import parse_method
from harness.spec import Json, RunSpec
from harness.tasks.rank import RankTask
from tests.models.tiny import write_classifier
from tests.needs import needs
from tests.test_execute import quiet


class Shortest:
    """Prefers short documents; remembers what it was asked."""

    def __init__(self) -> None:
        self.identity: dict[str, Json] = {}
        self.pairs: list[tuple[str, str]] = []

    def score(self, pairs: Sequence[tuple[str, str]], progress: Progress | None = None) -> Floats:
        self.pairs += pairs
        return np.array([-len(document) for _, document in pairs], np.float32)


def toy(session: Session) -> RankTask:
    """The toy task."""
    task = session.task(session.catalog.task("toy"))
    assert isinstance(task, RankTask)
    return task


def test_candidates_are_reordered_and_padding_stays_last(session: Session) -> None:
    task, reranker = toy(session), Shortest()
    docs = np.array([[0, 7, 3], [5, PAD, PAD], [PAD, PAD, PAD]], np.int32)
    scores = np.where(docs == PAD, -np.inf, 1).astype(np.float32)
    first = Rankings(np.array([4, 1, 2], np.int32), docs, scores)
    found = reranked(reranker, task, first)
    texts = task.corpus.texts(0, len(task.corpus))
    expected = [(4, 0), (4, 7), (4, 3), (1, 5)]
    assert reranker.pairs == [(task.query_texts[item], texts[doc]) for item, doc in expected]
    assert found.docs[0].tolist() == sorted([0, 7, 3], key=lambda doc: len(texts[doc]))
    assert found.docs[1:].tolist() == docs[1:].tolist()
    assert np.isneginf(found.scores[1:, 1:]).all()
    assert (np.diff(found.scores[0]) <= 0).all()


@needs("torch")
def test_only_the_first_stages_best_are_ranked(session: Session, tmp_path: Path) -> None:
    folder = write_classifier(tmp_path / "model", 1)
    spec = session.catalog.task("toy")
    planned = session.plan(RunSpec(parse_method(f"cross-encoder(model={folder},depth=4)"), spec))
    found = read_answers(session.answers(planned, quiet).path)
    first = read_answers(session.answers(session.plan(RunSpec(parse_method("bm25"), spec)), quiet).path)
    assert isinstance(found, Rankings)
    assert isinstance(first, Rankings)
    assert found.docs.shape == (6, 10)
    assert (found.docs[:, 4:] == PAD).all()
    found = found.resized(4)
    assert [set(row) for row in found.docs.tolist()] == [set(row) for row in first.docs[:, :4].tolist()]
    task, reranker = toy(session), load_reranker(RerankerSpec(str(folder)))
    (text,) = task.corpus.texts_of(found.docs[2, 1:2])
    assert reranker.score([(task.query_texts[2], text)])[0] == pytest.approx(found.scores[2, 1], abs=1e-5)


@needs("torch")
def test_the_run_depends_on_the_model_and_on_the_first_stage(session: Session, tmp_path: Path) -> None:
    spec = session.catalog.task("toy")
    one, two = write_classifier(tmp_path / "one", 1), write_classifier(tmp_path / "two", 2)
    settings = (f"model={one}", f"model={two}", f"model={one},first_stage=random")
    runs = [RunSpec(parse_method(f"cross-encoder({setting})"), spec) for setting in settings]
    assert len({session.plan(run).id for run in runs}) == 3


@needs("torch")
def test_a_depth_of_nothing_is_an_error() -> None:
    with pytest.raises(TouchstoneError, match="depth is 0"):
        CrossEncoderRerank(Settings(depth=0)).check()
