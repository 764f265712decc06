from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import TouchstoneError
from harness.models.batching import BatchLimits
from harness.models.language import (
    LanguageModel,
    LanguageModelSpec,
    Request,
    language_model_identity,
    load_language_model,
)
from harness.models.tokenizer import shared_prefix
from tests.models.tiny import write_language_model
from tests.needs import needs

pytestmark = needs("torch")

REQUESTS = [
    Request("the cat sat on", (" a mat", " the dog", " sky blue")),
    Request("Answer:", (" A", " B", " C", " D")),
    Request("dog", ("s", "", " was small small")),
    Request("the big red house is", (" far",)),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_language_model(tmp_path_factory.mktemp("tiny") / "lm")


@pytest.fixture(scope="module")
def model(folder: Path) -> LanguageModel:
    return load_language_model(LanguageModelSpec(str(folder)))


def every_logit(model: Any, ids: list[int]) -> Any:
    """float64[tokens, vocabulary] of one sequence by the model itself: no batch, no cache, no picking."""
    import torch

    with torch.inference_mode():
        return model._network.model(input_ids=torch.tensor([ids])).logits[0].double()


def plain(model: Any, prompt: str, continuation: str) -> float:
    """One sequence, all logits, one token after the other."""
    before, whole = model.encode(prompt), model.encode(prompt + continuation)
    shared = shared_prefix(before, whole)
    logprobs = every_logit(model, whole).log_softmax(-1)
    return sum(float(logprobs[i - 1, whole[i]]) for i in range(shared, len(whole)))


def test_batches_equal_the_plain_path(model: LanguageModel) -> None:
    found = model.continuation_logprobs(REQUESTS)
    assert [len(row) for row in found] == [3, 4, 3, 1]
    assert all(row.dtype == np.float32 for row in found)
    for request, row in zip(REQUESTS, found, strict=True):
        expected = [plain(model, request.prompt, continuation) for continuation in request.continuations]
        np.testing.assert_allclose(row, expected, atol=1e-5)
    assert found[2][1] == 0  # an empty continuation is certain


def test_one_row_batches_give_the_same(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    together = model.continuation_logprobs(REQUESTS)
    monkeypatch.setattr("harness.models.causal.batch_limits", lambda device: BatchLimits(1, 1))
    for a, b in zip(together, model.continuation_logprobs(REQUESTS), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_one_token_choices_share_one_input(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    network = model._network  # type: ignore[attr-defined]
    logits = network.logits

    def counted(batch: Any, places: Any, cache: Any = None) -> Any:
        seen.append(len(batch.ids))
        return logits(batch, places, cache)

    monkeypatch.setattr(network, "logits", counted)
    choices = (" A", " B", " C", " D")
    assert all(
        len(model.encode("Answer:" + choice)) == len(model.encode("Answer:")) + 1 for choice in choices
    )
    model.continuation_logprobs([Request("Answer:", choices)])
    assert sum(seen) == 1


def test_a_boundary_inside_a_token_is_split_at_the_last_common_token(model: LanguageModel) -> None:
    """``abc`` is one token: nothing of the prompt ``ab`` remains, and the whole token is predicted."""
    assert len(model.encode("dog abc")) < len(model.encode("dog ab")) + len(model.encode("c"))
    (row,) = model.continuation_logprobs([Request("dog ab", ("c",))])
    assert row[0] == pytest.approx(plain(model, "dog ab", "c"), abs=1e-5)


@pytest.mark.parametrize(
    "first, second, shared",
    [
        ([], [], 0),
        ([1], [], 0),
        ([1, 2], [1, 2, 3], 2),
        ([1, 2], [1, 3], 1),
        ([1, 2, 3], [1, 2], 2),
        ([1], [2], 0),
    ],
)
def test_shared_prefix(first: list[int], second: list[int], shared: int) -> None:
    assert shared_prefix(first, second) == shared


def test_a_long_prompt_loses_its_beginning_and_is_counted(folder: Path) -> None:
    model = load_language_model(LanguageModelSpec(str(folder)))
    assert model.max_tokens == 64
    ids = model.encode("dog " * 100 + "the cat sat on a mat.")
    tail = model.decode(ids[-64:])
    assert model.encode(tail) == ids[-64:]
    long = Request(model.decode(ids), (" A", " B"))
    found = model.continuation_logprobs([long, Request(tail, (" A", " B")), long])
    assert model.truncated == 2
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
    assert model.generate(long.prompt, 4) == model.generate(model.decode(ids[-60:]), 4)
    assert model.truncated == 3


def test_a_start_token_stays_in_front(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model._tokenizer, "start", 7)
    assert model._fitted([7, 1, 2, 3, 4], 3) == [7, 3, 4]
    assert model._fitted([7, 1], 3) == [7, 1]
    assert model._fitted([1, 2, 3, 4], 3) == [2, 3, 4]


def test_what_does_not_fit_is_an_error(model: LanguageModel) -> None:
    with pytest.raises(
        TouchstoneError, match=r"a continuation of \d+ tokens does not fit .the model reads 64"
    ):
        model.continuation_logprobs([Request("dog", (" xyz" * 50,))])
    with pytest.raises(TouchstoneError, match="no room for a prompt in 64 tokens"):
        model.generate("dog", 64)


def test_an_empty_prompt_starts_with_the_end_token(model: Any) -> None:
    """The tokenizer has no start token: documents were separated by its end token."""
    (row,) = model.continuation_logprobs([Request("", ("dog",))])
    ids = [0, *model.encode("dog")]
    logprobs = every_logit(model, ids).log_softmax(-1)
    assert row[0] == pytest.approx(sum(float(logprobs[i - 1, ids[i]]) for i in range(1, len(ids))), abs=1e-5)


def greedy(model: Any, prompt: str, steps: int) -> list[int]:
    """Prompt and likeliest tokens, every step computed from the start."""
    ids: list[int] = model.encode(prompt)
    for _ in range(steps):
        ids.append(int(every_logit(model, ids)[-1].argmax()))
    return ids


def test_greedy_text_is_the_likeliest_token_each_time(model: Any) -> None:
    ids = greedy(model, "the cat", 8)
    assert 0 not in ids
    assert model.generate("the cat", 8) == model.decode(ids)[len("the cat") :]


def test_generation_ends_at_an_end_token(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    prompt, ids = len(model.encode("the cat")), greedy(model, "the cat", 8)
    monkeypatch.setattr(model._tokenizer, "stop", frozenset({ids[prompt + 2]}))
    end = prompt + ids[prompt:].index(ids[prompt + 2])
    assert model.generate("the cat", 8) == model.decode(ids[:end])[len("the cat") :]


def test_no_requests(model: LanguageModel) -> None:
    assert model.continuation_logprobs([]) == []


def test_identity(folder: Path, tmp_path: Path) -> None:
    spec = LanguageModelSpec(str(folder))
    assert load_language_model(spec).identity == {**language_model_identity(spec), "device": "cpu"}
    assert language_model_identity(
        LanguageModelSpec(str(folder), precision="bf16")
    ) != language_model_identity(spec)
    other = write_language_model(tmp_path / "lm", window=32)
    assert language_model_identity(LanguageModelSpec(str(other))) != language_model_identity(spec)
