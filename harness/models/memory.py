"""How large a batch fits: bytes by arithmetic from the model's shape and what is free now."""

from __future__ import annotations

from typing import Any

from harness.gauges import free_bytes
from harness.models.batching import BatchLimits
from harness.models.network import Network

SHARE = 0.7  # of the free bytes: the rest is for fragments and for what the arithmetic leaves out
FLOAT = 4


def bytes_per_token(network: Network, past: int, scored: float) -> float:
    """Bytes at the peak of a forward pass for each token of a batch.

    Activations of one layer (hidden states and the wider of attention and feed-forward, a few copies each),
    keys and values of all layers, a mask row over the past, and for the share *scored* of the tokens their
    logits in fp32 with one copy. The joined keys of a long past are counted by ``bytes_per_row``.
    """
    shape = network.config.get_text_config()
    hidden, inner = _number(shape, "hidden_size"), _number(shape, "intermediate_size")
    layers = 6 * hidden + 3 * max(inner, 4 * hidden)
    keys = 2 * network.layers * network.key_width
    vocabulary: float = scored * _number(shape, "vocab_size") * 2 * FLOAT
    return float(network.item_bytes * (layers + keys) + vocabulary + 2 * (past + 1))


def bytes_per_row(network: Network, past: int) -> float:
    """Bytes for each text of a batch that continues *past* tokens: one layer's keys and values, joined and
    repeated for every query head.
    """
    query_width = _number(network.config.get_text_config(), "hidden_size")
    return float(network.item_bytes * 2 * past * (network.key_width + query_width))


def fitting_limits(limits: BatchLimits, network: Network, past: int, scored: float) -> BatchLimits:
    """*limits*, lowered to what fits into the memory that is free."""
    room = SHARE * free_bytes(network.device)
    if not room:
        return limits
    tokens = int(room / 2 / bytes_per_token(network, past, scored))
    rows = int(room / 2 / bytes_per_row(network, past)) if past else limits.rows
    return BatchLimits(max(1, min(limits.tokens, tokens)), max(1, min(limits.rows, rows)))


def _number(config: Any, name: str) -> int:
    return int(getattr(config, name, None) or 0)
