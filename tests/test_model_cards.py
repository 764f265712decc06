"""What is known of models: found by the names that runs give, counted and classed."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.adapter import settings_doc
from harness.catalog import shipped
from harness.errors import TouchstoneError
from harness.model_cards import ModelCard, card_of, licence_of, read_cards, size_class
from harness.registry import find_adapters

CARDS = {
    "small": ModelCard("small", 20.0, "MIT"),
    "medium": ModelCard("medium", 90.0, "Apache-2.0"),
    "large": ModelCard("large", 8_000.0, "MIT"),
}


@pytest.mark.parametrize("name", ["small", "owner/small", "/models/small", "owner/small.bin"])
def test_a_model_is_known_by_its_short_name(name: str) -> None:
    assert card_of(name, CARDS) is CARDS["small"]
    assert card_of("other", CARDS) is None


@pytest.mark.parametrize(
    ("models", "size", "licence"),
    [
        ((), "no model", "no model"),
        (("small",), "under 100 M", "MIT"),
        (("small", "medium"), "100 M to 1 B", "Apache-2.0, MIT"),
        (("large", "small"), "1 B to 10 B", "MIT"),
        (("small", "other"), "unknown", "MIT, unknown"),
    ],
)
def test_models_together(models: tuple[str, ...], size: str, licence: str) -> None:
    assert size_class(models, CARDS) == size
    assert licence_of(models, CARDS) == licence


def test_the_shipped_cards_are_sound(tmp_path: Path) -> None:
    cards = read_cards([shipped("suites")])
    assert "all-MiniLM-L6-v2" in cards and all(
        card.parameters > 0 and card.licence for card in cards.values()
    )
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "x.yaml").write_text("- {name: x, licence: MIT, parameter: 1}\n")
    with pytest.raises(TouchstoneError, match="did you mean 'parameters'"):
        read_cards([tmp_path])


def test_every_model_that_an_adapter_names_has_a_card() -> None:
    cards = read_cards([shipped("suites")])
    named = {
        default
        for adapter in find_adapters().adapters.values()
        for name, default, _ in settings_doc(adapter)
        if name in ("model", "language_model") and isinstance(default, str) and default
    }
    assert len(named) > 5
    assert sorted(name for name in named if card_of(name, cards) is None) == []
