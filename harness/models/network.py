"""One forward pass of a transformers causal model: logits or hidden states at chosen places only."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import TouchstoneError
from harness.models.batching import Longs, to_device

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Batch:
    """ids int64[rows, width]. mask int64[rows, held + width]: 1 where a key is real, None when all are.

    positions int64[rows, width]: where each token stands in its text; None counts from 0.
    """

    ids: Longs
    mask: Longs | None = None
    positions: Longs | None = None


@dataclass(frozen=True, eq=False)
class Places:
    """Where to read a batch: rows int64[n] and columns int64[n] of its ids."""

    rows: Longs
    columns: Longs


class Network:
    """A transformers causal model in memory, on one device or spread over several."""

    def __init__(self, model: Any) -> None:
        self.model = model.eval()
        self.config = model.config
        first = next(model.parameters())
        self.device, self.item_bytes = str(first.device), first.element_size()
        self.head: Any = model.get_output_embeddings()
        if self.head is None:
            raise TouchstoneError(
                "the model has no output layer",
                where=type(model).__name__,
                fix="name a causal language model",
            )
        accepted = inspect.signature(model.forward).parameters
        self.takes_positions = "position_ids" in accepted
        text = self.config.get_text_config()
        kinds = set(getattr(text, "layer_types", None) or ())
        self.layers = int(text.num_hidden_layers)
        self.window = _window(text, kinds)
        # Keys can be lent where a token's depend on its text alone, not on how long the text becomes later.
        self.reuses_keys = (
            self.takes_positions
            and not getattr(model, "_is_stateful", False)
            and kinds <= {"full_attention", "sliding_attention"}
            and not _stretches_positions(text)
        )
        # transformers 5.24 renamed the argument, and goes on taking the old name for a while.
        self._cache_name = "cache" if "cache" in accepted else "past_key_values"

    @property
    def key_width(self) -> int:
        """Numbers that a token's keys take in one layer."""
        text = self.config.get_text_config()
        heads = int(text.num_attention_heads)
        size = getattr(text, "head_dim", None) or int(text.hidden_size) // heads
        return int(getattr(text, "num_key_value_heads", None) or heads) * int(size)

    def logits(self, batch: Batch, places: Places, cache: Any = None) -> torch.Tensor:
        """float32[n, vocabulary] at *places*; with a cache its keys are read and this batch's are added.

        The rows are picked before the output layer, so that what the model does to logits after it (scaling,
        capping) is done, and no other position's logits are ever computed.
        """
        import torch

        with torch.inference_mode(), self._picking(places):
            found: torch.Tensor = self.model(**self._arguments(batch, cache)).logits
        return found[0].float()

    def hidden(self, batch: Batch, places: Places) -> torch.Tensor:
        """float32[n, dimensions] at *places*: the last layer after its norm, as the output layer reads it."""
        import torch

        with torch.inference_mode():
            states: torch.Tensor = self.model.base_model(**self._arguments(batch, None)).last_hidden_state
            picks = to_device({"rows": places.rows, "columns": places.columns}, str(states.device))
            return states[picks["rows"], picks["columns"]].float()

    def hidden_and_logits(self, batch: Batch, places: Places) -> tuple[torch.Tensor, torch.Tensor]:
        """Both of the above from one forward pass."""
        import torch

        with torch.inference_mode(), self._picking(places) as read:
            found: torch.Tensor = self.model(**self._arguments(batch, None)).logits
        return read[0][0].float(), found[0].float()

    def _arguments(self, batch: Batch, cache: Any) -> dict[str, Any]:
        arrays = {"input_ids": batch.ids}
        if batch.mask is not None:
            arrays["attention_mask"] = batch.mask
        if batch.positions is not None and self.takes_positions:
            arrays["position_ids"] = batch.positions
        arguments: dict[str, Any] = dict(to_device(arrays, self.device))
        arguments["use_cache"] = cache is not None
        if cache is not None:
            arguments[self._cache_name] = cache
        return arguments

    @contextmanager
    def _picking(self, places: Places) -> Iterator[list[torch.Tensor]]:
        """While open, the output layer reads float[1, n, dimensions]: the chosen rows alone, listed here."""
        read: list[torch.Tensor] = []

        def chosen(_module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
            states, *others = inputs
            picks = to_device({"rows": places.rows, "columns": places.columns}, str(states.device))
            read.append(states[picks["rows"], picks["columns"]][None])
            return (read[-1], *others)

        hook = self.head.register_forward_pre_hook(chosen)
        try:
            yield read
        finally:
            hook.remove()


def _window(config: Any, kinds: set[str]) -> int:
    """Tokens that some layer looks back over, 0 where all layers see everything."""
    used = getattr(config, "use_sliding_window", True) and (not kinds or "sliding_attention" in kinds)
    return int(getattr(config, "sliding_window", None) or 0) if used else 0


def _stretches_positions(config: Any) -> bool:
    """Whether the model turns its keys by an angle that depends on the length of the whole text."""
    settings = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    return any(name in str(settings) for name in ("dynamic", "longrope"))
