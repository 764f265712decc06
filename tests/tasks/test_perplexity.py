from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from harness.answers import TokenLosses
from harness.data.dataset import Source
from harness.data.text import TextReader
from harness.errors import TouchstoneError
from harness.execute import Session
from harness.models.language import LanguageModelSpec, load_language_model
from harness.registry import parse_method
from harness.spec import Kind, RunSpec, TaskSpec
from harness.tasks.perplexity import PerplexityTask
from tests.models.tiny import write_language_model
from tests.needs import needs
from tests.test_execute import quiet

ALL = ("-BPB", "BytePPL", "WordPPL", "TokenPPL")


def made(*texts: str, measures: tuple[str, ...] = ALL) -> PerplexityTask:
    spec = TaskSpec("t", Kind.PERPLEXITY, "d", measures)
    names = tuple(f"n{i}" for i in range(len(texts)))
    return PerplexityTask(spec, names, texts, "", np.arange(len(texts), dtype=np.int32))


def test_measures_are_ratios_of_sums() -> None:
    task = made("one two", "é")
    losses = TokenLosses.of(task.items, [np.array([1.0, 2.0]), np.array([4.0])])
    summary = task.score(losses).summary()
    assert summary["BytePPL"].value == pytest.approx(math.exp(7 / 9))
    assert summary["WordPPL"].value == pytest.approx(math.exp(7 / 3))
    assert summary["TokenPPL"].value == pytest.approx(math.exp(7 / 3))
    assert summary["-BPB"].value == pytest.approx(-7 / 9 / math.log(2))
    assert summary["BytePPL"].low <= summary["BytePPL"].value <= summary["BytePPL"].high
    assert task.score(losses).counts == {"missing": 0, "bytes": 9, "words": 3, "tokens": 3}


def test_what_is_wrong_is_named() -> None:
    task = made("one", "two")
    one = TokenLosses.of(np.array([0], np.int32), [np.array([1.0])])
    with pytest.raises(TouchstoneError, match=r"text 'n1': a text has no losses"):
        task.score(one)
    with pytest.raises(TouchstoneError, match=r"text 'n1': NaN or infinite loss"):
        task.check(TokenLosses.of(task.items, [np.array([1.0]), np.array([np.nan])]))
    with pytest.raises(TouchstoneError, match=r"text 'n0': no tokens"):
        task.check(TokenLosses.of(task.items, [np.array([]), np.array([1.0])]))
    with pytest.raises(TouchstoneError, match="mismatched shapes"):
        task.check(TokenLosses(task.items, np.zeros(2, np.float32), np.array([0, 1])))
    with pytest.raises(TouchstoneError, match="'Acc' does not fit perplexity"):
        made("one", measures=("Acc",))


def test_parts_join_in_the_order_of_items() -> None:
    a = TokenLosses.of(np.array([2, 0], np.int32), [np.array([1.0, 2]), np.array([3.0])])
    b = TokenLosses.of(np.array([1], np.int32), [np.array([4.0])])
    whole = TokenLosses.concatenate([a, b])
    assert whole.items.tolist() == [0, 1, 2]
    assert whole.losses.tolist() == [3, 4, 1, 2]
    assert whole.sums.tolist() == [3, 4, 3]
    assert len(TokenLosses.concatenate([])) == 0


@needs("torch")
@pytest.mark.parametrize("stride", [0, 5])
def test_rolling_windows_predict_every_token_once(session: Session, tmp_path: Path, stride: int) -> None:
    folder = write_language_model(tmp_path / "lm", window=16)
    model = load_language_model(LanguageModelSpec(str(folder)))
    run = RunSpec(parse_method(f"hf-lm(model={folder},stride={stride})"), session.catalog.task("prose"))
    planned = session.plan(run)
    record = session.execute(planned, quiet)
    task = planned.task
    assert isinstance(task, PerplexityTask)
    stored = session.store.answers(record, task)
    assert isinstance(stored, TokenLosses)
    assert session.store.verify(record, task) == []
    total = 0.0
    for item in task.items:
        ids = model.encode(task.text(int(item)))
        row = stored.select(np.array([item], np.int32)).losses
        assert len(row) == len(ids)
        for place, token in enumerate(ids):
            # The text up to this token, as far back as its window lets it see.
            if stride:
                last = min(place - place % stride + stride, len(ids))
                first, start = max(0, last - 17), last <= 16
            else:
                first, start = max(0, place - place % 16 - 1), place < 16
            context = [0] * start + ids[first:place]
            (logits,) = model.next_token_logits([context])
            expected = np.logaddexp.reduce(logits.astype(float)) - float(logits[token])
            assert row[place] == pytest.approx(expected, abs=1e-4), place
        total += float(row.sum())
    size = sum(len(text.encode()) for text in task.texts)
    assert record.scores["BytePPL"].value == pytest.approx(math.exp(total / size), rel=1e-5)


def test_folders_files_and_lines_of_text(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "two.md").write_text("two")
    (tmp_path / "one.txt").write_text("one")
    (tmp_path / "blank.txt").write_text(" \n")
    (tmp_path / "code.py").write_text("no")
    assert TextReader(Source("text", str(tmp_path))).texts() == [("b/two.md", "two"), ("one.txt", "one")]
    assert TextReader(Source("text", str(tmp_path / "one.txt"))).texts() == [("one.txt", "one")]
    lines = tmp_path / "lines.jsonl"
    lines.write_text('{"id": "x", "text": "one"}\n\n{"text": "two"}\n')
    assert TextReader(Source("text", str(lines))).texts() == [("x", "one"), ("3", "two")]
    lines.write_text('{"text": "one"}\n{"words": 2}\n')
    with pytest.raises(TouchstoneError, match=r"lines.jsonl:2: expected an object with a 'text'"):
        TextReader(Source("text", str(lines))).texts()
    (tmp_path / "one.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(TouchstoneError, match=r"one.txt: not UTF-8"):
        TextReader(Source("text", str(tmp_path))).texts()
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(TouchstoneError, match="no texts"):
        TextReader(Source("text", str(empty))).texts()
