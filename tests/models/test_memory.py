"""The arithmetic of batch sizes, and that batches follow it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.models import memory
from harness.models.batching import BatchLimits
from harness.models.language import LanguageModelSpec, load_language_model
from harness.models.memory import bytes_per_row, bytes_per_token, fitting_limits, free_bytes
from tests.models.tiny import write_language_model
from tests.needs import needs

pytestmark = needs("torch")
LIMITS = BatchLimits(2048, 128)


@pytest.fixture
def model(tmp_path: Path) -> Any:
    return load_language_model(LanguageModelSpec(str(write_language_model(tmp_path / "lm", 512, "llama"))))


def test_bytes_by_the_models_shape(model: Any) -> None:
    """32 dimensions, 64 inside, 2 layers, 2 key heads of 8, fp32."""
    network = model._network
    assert network.key_width == 16
    layer, keys = 6 * 32 + 3 * 128, 2 * 2 * 16
    assert bytes_per_token(network, 0, 0.0) == 4 * (layer + keys) + 2
    logits = 2 * 4 * network.config.vocab_size
    assert bytes_per_token(network, 0, 1.0) - bytes_per_token(network, 0, 0.0) == logits
    assert bytes_per_row(network, 100) == 4 * 2 * 100 * (16 + 32)


def test_limits_shrink_with_the_room(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    network = model._network
    assert free_bytes("cpu") > 2**20
    assert fitting_limits(LIMITS, network, 0, 0.0) == LIMITS
    token = bytes_per_token(network, 0, 0.0)
    monkeypatch.setattr(memory, "free_bytes", lambda _device: int(100 * token * 2 / memory.SHARE) + 1)
    assert fitting_limits(LIMITS, network, 0, 0.0) == BatchLimits(100, 128)
    assert fitting_limits(LIMITS, network, 0, 1.0).tokens < 100
    assert fitting_limits(LIMITS, network, 400, 0.0).rows < 10
    monkeypatch.setattr(memory, "free_bytes", lambda _device: 1)
    assert fitting_limits(LIMITS, network, 400, 1.0) == BatchLimits(1, 1)
    monkeypatch.setattr(memory, "free_bytes", lambda _device: 0)  # the system does not say
    assert fitting_limits(LIMITS, network, 400, 1.0) == LIMITS


def test_little_room_changes_no_answer(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = ["the cat sat on", "dog", "the big red house is far"]
    expected, texts = model.next_token_logits(prompts), model.generate_many(prompts, 6)
    monkeypatch.setattr(memory, "free_bytes", lambda _device: 1)
    np.testing.assert_allclose(model.next_token_logits(prompts), expected, atol=1e-4)
    assert [one.ids for one in model.generate_many(prompts, 6)] == [one.ids for one in texts]
