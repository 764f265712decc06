"""What every adapter promises, on toy tasks: the same test for all of them."""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path

import numpy as np
import pytest

from harness.adapter import Adapter, code_digest, settings_doc
from harness.answers import Choices, Rankings, Texts, TokenLosses
from harness.execute import Session, read_answers
from harness.registry import find_adapters, parse_method
from harness.spec import Kind, RunSpec, canonical, digest
from tests.needs import needs
from tests.test_execute import quiet

TASKS = {Kind.RANK: "toy", Kind.CHOOSE: "quiz", Kind.GENERATE: "quest", Kind.PERPLEXITY: "prose"}
NEEDS = {"neural": "minilm", "lucene": "java", "faiss": "faiss"}
ADAPTERS = find_adapters().adapters


def _parameters() -> list[typing.Any]:
    return [
        pytest.param(
            adapter, kind, id=f"{name}-{kind.value}", marks=[needs(*(NEEDS[e] for e in adapter.extras))]
        )
        for name, adapter in sorted(ADAPTERS.items())
        for kind in sorted(adapter.kinds)
    ]


def test_there_are_adapters_and_none_is_broken() -> None:
    found = find_adapters()
    assert found.broken == {}
    assert len(found.adapters) >= 10


@pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=list(ADAPTERS))
def test_an_adapter_describes_itself(adapter: type[Adapter]) -> None:
    assert adapter.about and adapter.family and adapter.kinds
    assert adapter.__module__.split(".")[1] == adapter.family
    assert adapter.__doc__
    for name, default, meaning in settings_doc(adapter):
        assert meaning, f"the setting {name} is not documented"
        canonical(list(default) if isinstance(default, tuple) else default)
    assert adapter.paper is None or adapter.paper.url.startswith("https://")
    assert len(code_digest(adapter)) == 16
    source = Path(typing.cast(str, __import__(adapter.__module__, fromlist=["x"]).__file__))
    assert len(source.read_text().splitlines()) <= 250


@pytest.mark.parametrize(("adapter", "kind"), _parameters())
def test_answers_are_whole_repeatable_and_can_be_cut(
    adapter: type[Adapter], kind: Kind, session: Session, tiny_models: dict[str, dict[str, str]]
) -> None:
    settings = ",".join(f"{key}={value}" for key, value in tiny_models.get(adapter.name, {}).items())
    run = RunSpec(parse_method(f"{adapter.name}({settings})"), session.catalog.task(TASKS[kind]))
    planned = session.plan(run)
    task = planned.task
    assert planned.adapter.need(task).bytes >= 0
    assert digest(planned.made_with) == digest(session.plan(run).made_with)
    record = session.execute(planned, quiet)
    assert record.counts["missing"] == 0
    whole = read_answers(session.answers(planned, quiet).path)
    assert whole.items.tolist() == task.items.tolist()
    assert session.store.verify(record, task) == []

    # The same items asked for alone give the same answers: a run may be cut and gone on with anywhere.
    context = session.context(planned, quiet)
    part = [task.check(answers) for answers in planned.adapter.run(task.select(task.items[3:5]), context)]
    items = np.concatenate([answers.items for answers in part])
    assert sorted(items.tolist()) == [3, 4]
    for answers in part:
        if isinstance(answers, Rankings) and isinstance(whole, Rankings):
            same = whole.select(answers.items).resized(answers.depth)
            assert np.array_equal(same.docs, answers.docs)
            np.testing.assert_allclose(same.scores, answers.scores, rtol=1e-4, atol=1e-5)
        elif isinstance(answers, Texts) and isinstance(whole, Texts):
            rows = np.searchsorted(whole.items, answers.items).tolist()
            assert [whole.texts[row] for row in rows] == list(answers.texts)
            assert [whole.pages[row] for row in rows] == list(answers.pages)
        elif isinstance(answers, TokenLosses) and isinstance(whole, TokenLosses):
            np.testing.assert_allclose(whole.select(answers.items).losses, answers.losses, atol=1e-4)
        elif isinstance(answers, Choices) and isinstance(whole, Choices):
            np.testing.assert_allclose(whole.logprobs[answers.items], answers.logprobs, rtol=1e-4, atol=1e-4)


def test_code_digest_ignores_words_and_sees_logic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = (
        '"""Doc."""\nfrom tests.toys import Slow\n'
        'class Mine(Slow):\n    """Doc."""\n    name = "mine"\n    def twice(self):\n        return 2\n'
    )
    variants = {
        "mine_a": source,
        "mine_b": source.replace("Doc.", "Other words.").replace(
            "        return 2", "        # why\n        return 2"
        ),
        "mine_c": source.replace("return 2", "return 3"),
    }
    monkeypatch.syspath_prepend(str(tmp_path))
    digests = {}
    for name, text in variants.items():
        (tmp_path / f"{name}.py").write_text(text)
        digests[name] = code_digest(__import__(name).Mine)
    assert digests["mine_a"] == digests["mine_b"] != digests["mine_c"]


def test_settings_are_frozen() -> None:
    for adapter in ADAPTERS.values():
        assert dataclasses.is_dataclass(adapter.Settings)
        assert adapter.Settings.__dataclass_params__.frozen  # type: ignore[attr-defined]
