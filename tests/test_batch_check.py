"""Answers at batch 1 against answers in a run's batches."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from harness.adapter import Adapter, Context
from harness.answers import PAD, Answers, Choices, Rankings, Texts
from harness.batch_check import FILE, check_batching, compare_answers, read_batch_check
from harness.cli import group
from harness.errors import TouchstoneError
from harness.execute import Session
from harness.modes import mode
from harness.registry import parse_method
from harness.spec import Kind, RunSpec
from harness.tasks.base import Task, blocks
from tests.models.tiny import write_encoder
from tests.needs import needs
from tests.test_execute import quiet, run
from tests.toys import same_answers


class Unsteady(Adapter):
    """Its best two documents change places when the block holds one item."""

    name = "unsteady"
    family = "toys"
    kinds = frozenset({Kind.RANK})
    about = "Depends on its batches."

    def run(self, task: Task, context: Context) -> Iterator[Answers]:
        for items in blocks(task.items, 4):
            answers = same_answers(task, items)
            assert isinstance(answers, Rankings)
            scores = answers.scores.copy()
            scores[:, 0] -= 1.5 if len(items) == 1 else 0.0
            yield replace(answers, scores=scores)


def rankings(docs: list[list[int]], scores: list[list[float]]) -> Rankings:
    items = np.arange(len(docs), dtype=np.int32)
    return Rankings(items, np.array(docs, np.int32), np.array(scores, np.float32))


INF = float("inf")


@pytest.mark.parametrize(
    ("left", "right", "found"),
    [
        (rankings([[3, 1]], [[2, 1]]), rankings([[3, 1]], [[2, 1]]), (0.0, 0, 0)),
        (rankings([[3, 1]], [[2, 1]]), rankings([[1, 3]], [[1.5, 1.25]]), (0.75, 2, 1)),
        (rankings([[3, 1], [2, 4]], [[2, 1]] * 2), rankings([[3, 1], [2, 5]], [[2, 1]] * 2), (0.0, 1, 1)),
        (rankings([[3, PAD]], [[2, -INF]]), rankings([[3]], [[2.5]]), (0.5, 0, 0)),
        (rankings([[3]], [[2]]), rankings([[4]], [[9]]), (0.0, 1, 1)),
    ],
)
def test_what_counts_as_a_change_of_a_ranking(
    left: Rankings, right: Rankings, found: tuple[float, int, int]
) -> None:
    assert compare_answers(left, right) == pytest.approx(found)


def test_what_counts_as_a_change_of_a_choice_or_a_text() -> None:
    items = np.arange(2, dtype=np.int32)
    one = Choices(items, np.array([[-1, -2, -INF], [-1, -2, -3]], np.float32))
    two = Choices(items, np.array([[-1.5, -2, -INF], [-2.5, -2, -3]], np.float32))
    assert compare_answers(one, two) == (1.5, 0, 1)
    texts = Texts(items, ("a", "b"), ((), ()))
    assert compare_answers(texts, replace(texts, texts=("a", "c"))) == (None, 0, 1)


@pytest.mark.parametrize(
    ("method", "task", "changed"), [("bm25", "toy", 0), ("random", "quiz", 0), ("rag", "quest", 0)]
)
def test_steady_methods_change_nothing(session: Session, method: str, task: str, changed: int) -> None:
    record = run(session, method, task)
    planned = session.plan(RunSpec(parse_method(method), session.catalog.task(task)))
    check = check_batching(session, record, planned, 4, quiet)
    assert (check.items, check.changed_items, check.largest_difference or 0.0) == (4, changed, 0.0)
    assert read_batch_check(session.store.folder(record)) == check
    assert session.store.get(record.id) == record
    assert session.store.verify(record, session.task(record.run.task)) == []


def test_an_unsteady_method_is_caught(session: Session) -> None:
    record = run(session, "tests.test_batch_check:Unsteady")
    planned = session.plan(RunSpec(record.run.method, record.run.task))
    check = check_batching(session, record, planned, 100, quiet)
    assert (check.items, check.largest_difference, check.changed_items) == (6, 1.5, 6)
    assert check.changed_ranks == 12


@needs("torch")
def test_models_score_row_by_row_and_the_command_says_what_differs(
    toy_places: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.models import encoder
    from harness.models.batching import run_batches

    sizes: dict[bool, set[int]] = {True: set(), False: set()}

    def seen(lengths: Any, limits: Any, batch: Callable[[Any], None], *rest: Any) -> int:
        single = mode().single_rows

        def told(rows: Any) -> None:
            sizes[single].add(len(rows))
            batch(rows)

        return run_batches(lengths, limits, told, *rest)

    monkeypatch.setattr(encoder, "run_batches", seen)
    method = f"dense(model={write_encoder(tmp_path / 'encoder')})"
    results = ["--results", str(toy_places / "results")]
    runner = CliRunner()
    assert runner.invoke(group, ["run", "--task", "toy", "--method", method, *results]).exit_code == 0
    shown = runner.invoke(group, ["check-batching", method, "toy", *results])
    assert shown.exit_code == 0, shown.output
    assert "largest difference of a score" in shown.output
    assert sizes[True] == {1} and max(sizes[False]) > 1
    check = read_batch_check(next(toy_places.glob("results/toy/*/*")))
    assert check is not None and check.items == 6
    assert check.largest_difference is not None and check.largest_difference < 1e-4


def test_a_check_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    assert read_batch_check(tmp_path) is None
    (tmp_path / FILE).write_text("{")
    with pytest.raises(TouchstoneError, match="cannot read the check of batches"):
        read_batch_check(tmp_path)
    (tmp_path / FILE).write_text(json.dumps({"items": 3}))
    with pytest.raises(TouchstoneError, match="missing"):
        read_batch_check(tmp_path)
