"""The trie path against the plain path: recomputing every text whole and alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.data.dataset import Source
from harness.data.mmlu import MmluReader
from harness.models import trie
from harness.models.batching import BatchLimits, Ragged
from harness.models.language import LanguageModelSpec, Request, load_language_model
from harness.models.scoring import Work, plain_logprobs, score_pairs
from harness.models.trie import Node, plan_shared
from harness.spec import Kind, TaskSpec
from harness.tasks.choose import ChooseTask
from tests.models.tiny import FAMILIES, SLIDING, write_language_model
from tests.needs import DATA, needs

pytestmark = needs("torch")

SHOTS = "The following are questions about cats.\n\nthe cat sat on\nA. a mat\nB. sky\nAnswer: A\n\n"
LETTERS, TEXTS = (
    (" A", " B", " C", " D"),
    (" the big red house", " the big cat", " dog", "", " sky blue is far"),
)


def asked(count: int, continuations: tuple[str, ...]) -> list[Request]:
    words = ("small", "big red", "blue sky and green", "far")
    return [
        Request(f"{SHOTS}{'the dog ' * (number % 5)}{words[number % 4]} {number}\nAnswer:", continuations)
        for number in range(count)
    ]


REQUESTS = [*asked(9, LETTERS), *asked(6, TEXTS), Request("dog", LETTERS), Request(SHOTS + "dog", ("s",))]


def loaded(folder: Path, **options: Any) -> Any:
    return load_language_model(LanguageModelSpec(str(folder), **options))


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_language_model(tmp_path_factory.mktemp("tiny") / "lm", window=512, family=request.param)


@pytest.mark.parametrize("limits", [None, BatchLimits(1, 1), BatchLimits(200, 3)], ids=str)
def test_the_gate_in_fp32(folder: Path, limits: BatchLimits | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer changes, and no log-probability by more than rounding."""
    if limits:
        monkeypatch.setattr("harness.models.scoring.batch_limits", lambda _device: limits)
    model = loaded(folder)
    assert model._network.reuses_keys
    assert len(model.encode(SHOTS)) > 4 * SLIDING
    fast, plain = model.continuation_logprobs(REQUESTS), model.plain_logprobs(REQUESTS)
    for a, b in zip(fast, plain, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-4, rtol=0)
        assert a.argmax() == b.argmax()
    assert model.work.computed < 0.25 * model.work.given


def test_the_gate_in_bf16(folder: Path) -> None:
    """8 bits of mantissa: the bound is a tenth of a nat a token, and an answer may change only within it."""
    model = loaded(folder, precision="bf16")
    fast, plain = model.continuation_logprobs(REQUESTS), model.plain_logprobs(REQUESTS)
    for request, a, b in zip(REQUESTS, fast, plain, strict=True):
        most = max(len(model.encode("a" + text)) for text in request.continuations)
        np.testing.assert_allclose(a, b, atol=0.1 * most, rtol=0)


def test_a_model_that_lends_no_keys_gives_the_same(folder: Path) -> None:
    model = loaded(folder)
    shared = model.continuation_logprobs(REQUESTS)
    model._network.reuses_keys = False
    for a, b in zip(shared, model.continuation_logprobs(REQUESTS), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-4, rtol=0)


def test_running_out_of_memory_halves_batches_and_is_counted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = loaded(folder)
    expected = model.continuation_logprobs(REQUESTS)
    network = model._network
    logits = network.logits

    def small(batch: Any, places: Any, cache: Any = None) -> Any:
        if len(batch.ids) > 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return logits(batch, places, cache)

    monkeypatch.setattr(network, "logits", small)
    assert model.work.halved == 0
    for a, b in zip(expected, model.continuation_logprobs(REQUESTS), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-4, rtol=0)
    assert model.work.halved > 0


def test_random_trees_on_one_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every shape of sharing, deep ones too: a stretch of one token is worth a pass of its own here."""
    monkeypatch.setattr(trie, "LEAST_LENGTH", 1)
    monkeypatch.setattr(trie, "LEAST_SAVED", 1)
    network = loaded(write_language_model(tmp_path / "lm", 512, "mistral"))._network
    draw = np.random.default_rng(2)
    for _ in range(6):
        pairs = [
            (
                draw.integers(0, 2, draw.integers(1, 30)).tolist(),
                draw.integers(0, 2, draw.integers(0, 6)).tolist(),
            )
            for _ in range(30)
        ]
        for a, b in zip(score_pairs(network, pairs, Work()), plain_logprobs(network, pairs), strict=True):
            np.testing.assert_allclose(a, b, atol=2e-4, rtol=0)


@needs("data")
def test_the_gate_on_a_trained_model_and_real_questions() -> None:
    """stories260K on five-shot MMLU: its window holds fewer examples, and some prompts are cut."""
    reader = MmluReader(Source("mmlu", str(DATA / "mmlu")))
    dev, test = (
        tuple(q for q in reader.questions(split) if q.group == "anatomy") for split in ("dev", "test")
    )
    spec = TaskSpec("anatomy", Kind.CHOOSE, "mmlu", ("Acc",), shots=5)
    task = ChooseTask(spec, test[:24], {"anatomy": dev}, "", np.arange(24, dtype=np.int32))
    model = loaded(DATA / "models" / "stories260K")
    for texts in (ChooseTask.labels, ChooseTask.texts):
        requests = [Request(task.prompt(i), texts(task, i), task.shorter_prompts(i)) for i in range(24)]
        fast, plain = model.continuation_logprobs(requests), model.plain_logprobs(requests)
        np.testing.assert_allclose(np.stack(fast), np.stack(plain), atol=1e-4, rtol=0)
        assert np.array_equal(np.stack(fast).argmax(axis=1), np.stack(plain).argmax(axis=1))
    assert model.shortened == 4 * 24
    assert model.work.computed < model.work.given / 2


def spelled(node: Node, rows: list[list[int]], before: list[int]) -> dict[int, list[int]]:
    """The tokens of each input that a tree computes."""
    mine = before + rows[node.row][node.start : node.stop]
    found = {row: mine for row in node.rows.tolist() if len(rows[row]) == node.stop}
    for child in node.children:
        assert child.start == node.stop
        found |= spelled(child, rows, mine)
    return found


@pytest.mark.parametrize(("length", "saved"), [(1, 1), (3, 4), (16, 64)])
def test_plans_compute_every_sequence_once_whole(
    length: int, saved: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trie, "LEAST_LENGTH", length)
    monkeypatch.setattr(trie, "LEAST_SAVED", saved)
    draw = np.random.default_rng(1)
    for _ in range(20):
        rows = [
            list(row)
            for row in {tuple(draw.integers(0, 2, draw.integers(1, 12)).tolist()) for _ in range(40)}
        ]
        nodes = plan_shared(Ragged.of(rows))
        found: dict[int, list[int]] = {}
        for node in nodes:
            found |= spelled(node, rows, [])
        assert found == dict(enumerate(rows))
        assert sum(node.tokens for node in nodes) <= sum(map(len, rows))


def test_a_prefix_is_one_node_and_questions_its_children() -> None:
    prefix = list(range(100))
    rows = [[*prefix, *([200 + i] * 40), *tail] for i in range(8) for tail in ([], [1, 2], [3])]
    (root,) = plan_shared(Ragged.of(rows))
    assert (root.start, root.stop, len(root.children)) == (0, 100, 8)
    assert all(len(child.children) == 2 for child in root.children)
    assert root.tokens == 100 + 8 * (40 + 3)
