from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.answers import Choices
from harness.data.mmlu import Question
from harness.errors import TouchstoneError
from harness.modes import Mode, in_mode
from harness.spec import Kind, TaskSpec
from harness.tasks.choose import BINS, ChooseTask


def made(
    groups: str, shots: int = 2, measures: tuple[str, ...] = ("Acc", "MacroAcc", "ECE", "Brier")
) -> ChooseTask:
    """One question for each letter, which is its group."""
    questions = tuple(Question(f"q{i}?", ("w", "x", "y", "z"), i % 4, g) for i, g in enumerate(groups))
    shown = {g: tuple(Question(f"e{i}?", ("1", "2", "3", "4"), i, g) for i in range(3)) for g in set(groups)}
    spec = TaskSpec("t", Kind.CHOOSE, "d", measures, shots=shots)
    return ChooseTask(spec, questions, shown, "", np.arange(len(groups), dtype=np.int32))


def test_the_standard_prompt_and_its_shorter_forms() -> None:
    task = made("a_b".replace("_", "") or "a")
    head = "The following are multiple choice questions (with answers) about a.\n\n"
    example = "e{0}?\nA. 1\nB. 2\nC. 3\nD. 4\nAnswer: {1}\n\n"
    asked = "q0?\nA. w\nB. x\nC. y\nD. z\nAnswer:"
    both = example.format(0, "A") + example.format(1, "B")
    assert task.prompt(0) == head + both + asked
    assert task.shorter_prompts(0) == (head + example.format(0, "A") + asked, head + asked)
    assert task.prior_prompt(0) == head + both + "Answer:"
    assert task.texts(0) == (" w", " x", " y", " z")
    assert made("a", shots=0).shorter_prompts(0) == ()


@pytest.mark.parametrize(
    ("groups", "least", "most", "sizes"),
    [
        ("aaabbbcc", 2, 10, [3, 3, 2]),
        ("aaabbbcc", 4, 10, [6, 2]),
        ("aaaaaaab", 2, 3, [3, 3, 1, 1]),
        ("abcdef", 3, 10, [3, 3]),
        ("abcd", 10, 10, [4]),
        ("a", 1, 1, [1]),
    ],
)
def test_blocks_keep_groups_together(groups: str, least: int, most: int, sizes: list[int]) -> None:
    task = made(groups)
    parts = list(task.group_blocks(least, most))
    assert np.concatenate(parts).tolist() == task.items.tolist()
    assert all(len(part) <= max(most, least + most) for part in parts)
    if groups != "aaaaaaab":
        assert [len(part) for part in parts] == sizes
    with in_mode(Mode(single_items=True)):
        assert all(len(part) == 1 for part in task.group_blocks(least, most))
    assert list(task.select(task.items[:0]).group_blocks(least, most)) == []


def test_calibration_against_the_definitions() -> None:
    """ECE by bins and Brier by sums, written out as their papers do."""
    draw = np.random.default_rng(0)
    task = made("ab" * 200)
    logits = draw.normal(0, 2, (400, 4))
    logprobs = (logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)).astype(np.float32)
    summary = task.score(Choices(task.items, logprobs)).summary()
    share, gold = np.exp(logprobs.astype(float)), np.arange(400) % 4
    sure, right = share.max(axis=1), share.argmax(axis=1) == gold
    expected = 0.0
    for low in np.arange(BINS) / BINS:
        inside = (sure >= low) & (sure < low + 1 / BINS)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - sure[inside].mean())
    assert summary["ECE"].value == pytest.approx(expected, abs=1e-6)
    brier = np.mean([sum((share[i, c] - (c == gold[i])) ** 2 for c in range(4)) for i in range(400)])
    assert summary["Brier"].value == pytest.approx(brier, abs=1e-6)
    assert summary["Acc"].value == pytest.approx(right.mean())


def test_missing_answers_count_as_wrong_and_sure() -> None:
    task = made("aabb")
    perfect = np.full((2, 4), -np.inf, np.float32)
    perfect[[0, 1], [1, 3]] = 0
    scores = task.score(Choices(np.array([1, 3], np.int32), perfect))
    assert scores.counts == {"missing": 2}
    assert scores.column("Acc").tolist() == [0, 1, 0, 1]
    assert scores.column("Brier").tolist() == [2, 0, 2, 0]
    assert scores.summary()["ECE"].value == pytest.approx(0.5)
    empty = task.score(Choices(np.empty(0, np.int32), np.empty((0, 4), np.float32)))
    assert empty.summary()["Acc"].value == 0


def test_scores_of_a_part_are_those_of_its_items() -> None:
    task = made("aabb")
    logprobs = np.log(np.full((4, 4), 0.25, np.float32))
    part = task.select(np.array([2, 3], np.int32)).score(Choices(task.items, logprobs))
    assert part.column("Acc").tolist() == [0, 0]
    assert replace(part, counts={}).items.tolist() == [2, 3]


def test_an_unknown_measure_is_refused() -> None:
    with pytest.raises(TouchstoneError, match="'nDCG@10' does not fit multiple choice"):
        made("a", measures=("nDCG@10",))
