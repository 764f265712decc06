"""What is known of models: found by the names that runs give, counted and classed."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.catalog import shipped
from harness.errors import TouchstoneError
from harness.model_cards import ModelCard, card_of, licence_of, read_cards, size_class

CARDS = {
    "small": ModelCard("small", "MIT", 20.0),
    "medium": ModelCard("medium", "Apache-2.0", 90.0),
    "large": ModelCard("large", "MIT", 8_000.0),
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
