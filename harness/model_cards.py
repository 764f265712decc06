"""What is known of the models that methods run with: ``suites/models/*.yaml``, by the name that runs give."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.strict import read_yaml_list

SIZES = (
    (100.0, "under 100 M"),
    (1_000.0, "100 M to 1 B"),
    (10_000.0, "1 B to 10 B"),
    (float("inf"), "over 10 B"),
)
NO_MODEL, UNKNOWN = "no model", "unknown"


@dataclass(frozen=True)
class ModelCard:
    """A model. parameters: in millions; licence: "unknown" where nothing tells."""

    name: str
    parameters: float
    licence: str = UNKNOWN
    url: str = ""


def read_cards(folders: Iterable[Path]) -> dict[str, ModelCard]:
    """The cards of some folders of definitions, by name; the first of a name counts."""
    found: dict[str, ModelCard] = {}
    for path in (path for folder in folders for path in sorted(folder.glob("models/*.yaml"))):
        for card in read_yaml_list(path, ModelCard):
            found.setdefault(card.name, card)
    return found


def card_of(model: str, cards: Mapping[str, ModelCard]) -> ModelCard | None:
    """The card of a model as a run names it: with or without the owner, the folder or the file's ending."""
    short = model.replace("\\", "/").rpartition("/")[2]
    return cards.get(model) or cards.get(short) or cards.get(short.rpartition(".")[0])


def size_class(models: Iterable[str], cards: Mapping[str, ModelCard]) -> str:
    """The class of the parameters of *models* together."""
    names = list(models)
    held = [card_of(name, cards) for name in names]
    if not names:
        return NO_MODEL
    if not all(held):
        return UNKNOWN
    total = sum(card.parameters for card in held if card)
    return next(text for most, text in SIZES if total < most)


def licence_of(models: Iterable[str], cards: Mapping[str, ModelCard]) -> str:
    """The licences of *models*, each once."""
    held = {name: card_of(name, cards) for name in models}
    licences = sorted({card.licence if card else UNKNOWN for card in held.values()})
    return ", ".join(licences) or NO_MODEL
