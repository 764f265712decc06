"""Keys and values of texts that were read, lent to the texts that continue them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.models.batching import Longs, to_device

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Stretch:
    """What a batch left in every layer: keys and values float[rows, heads, width, size].

    mask int64[rows, width]: 0 where a row was padded.
    """

    keys: list[torch.Tensor]
    values: list[torch.Tensor]
    mask: Longs


@dataclass(frozen=True, eq=False)
class Past:
    """The stretches before some texts, in order. rows: int64[texts] for each, the texts' rows in it."""

    stretches: tuple[Stretch, ...] = ()
    rows: tuple[Longs, ...] = ()

    @property
    def width(self) -> int:
        """Tokens held for a text, padding included."""
        return sum(stretch.mask.shape[1] for stretch in self.stretches)

    def select(self, texts: Longs) -> Past:
        """The past of some of the texts."""
        return Past(self.stretches, tuple(rows[texts] for rows in self.rows))

    def extended(self, stretch: Stretch, texts: Longs) -> Past:
        """The past of texts that continue row ``texts[i]`` of a batch, *stretch* being that batch's."""
        chosen = self.select(texts)
        return Past((*self.stretches, stretch), (*chosen.rows, texts))

    def mask(self, texts: int) -> Longs:
        """int64[texts, width]."""
        parts = [stretch.mask[rows] for stretch, rows in zip(self.stretches, self.rows, strict=True)]
        return np.concatenate([np.empty((texts, 0), np.int64), *parts], axis=1)


def lending_cache(past: Past, layers: int, device: str) -> Any:
    """A transformers cache for one batch over *past*; ``taken`` reads from it what the batch left.

    The lent keys are joined with the batch's own in the layer that needs them and are not stored: a prefix is
    held once, however many texts continue it.
    """
    from transformers.cache_utils import Cache, DynamicLayer

    rows = [
        None if stretch.mask.shape[0] == 1 else to_device({"rows": at}, device)["rows"]
        for stretch, at in zip(past.stretches, past.rows, strict=True)
    ]

    class LendingLayer(DynamicLayer):  # type: ignore[no-untyped-call]
        """The keys of a whole text, of which only the new ones stay here."""

        def __init__(self, number: int) -> None:
            super().__init__()  # type: ignore[no-untyped-call]
            self.number = number
            self.is_initialized = True

        def update(
            self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
        ) -> tuple[torch.Tensor, torch.Tensor]:
            self.keys, self.values = key_states, value_states
            held = [(stretch.keys[self.number], stretch.values[self.number]) for stretch in past.stretches]
            return (
                _joined([pair[0] for pair in held], rows, key_states),
                _joined([pair[1] for pair in held], rows, value_states),
            )

        def get_seq_length(self, *_: Any) -> int:
            return past.width + (self.keys.shape[-2] if self.keys is not None else 0)

    return Cache(layers=[LendingLayer(number) for number in range(layers)])


def taken(cache: Any, mask: Longs) -> Stretch:
    """What a batch left in its cache."""
    return Stretch([layer.keys for layer in cache.layers], [layer.values for layer in cache.layers], mask)


def _joined(
    held: Sequence[torch.Tensor], rows: Sequence[torch.Tensor | None], new: torch.Tensor
) -> torch.Tensor:
    import torch

    if not held:
        return new
    parts = [
        part.expand(new.shape[0], -1, -1, -1) if at is None else part[at.to(part.device)]
        for part, at in zip(held, rows, strict=True)
    ]
    return torch.cat([*parts, new], dim=-2)
