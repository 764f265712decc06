"""BERT over texts laid end to end, without padding: what a processor computes fastest.

The layers are those of transformers' ``BertModel``; only the layout differs. Linear layers see one row a
token; query, key and value are one product; attention runs over stretches of texts of equal length, which
need no mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.models.batching import Longs

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Run:
    """Neighbouring texts of one length: *count* texts of *length* tokens, from token *start*."""

    start: int
    count: int
    length: int

    @property
    def tokens(self) -> slice:
        """Their tokens."""
        return slice(self.start, self.start + self.count * self.length)


def runs_of(lengths: Longs) -> list[Run]:
    """The stretches of equal length, in order; every text has a token at least."""
    found: list[Run] = []
    start = 0
    for length in lengths.tolist():
        if found and found[-1].length == length:
            found[-1] = Run(found[-1].start, found[-1].count + 1, length)
        else:
            found.append(Run(start, 1, length))
        start += length
    return found


@dataclass(frozen=True)
class Layer:
    """One layer's parameters; qkv: weight and bias of query, key and value together."""

    qkv: tuple[torch.Tensor, torch.Tensor]
    attended: Any
    attended_norm: Any
    wide: Any
    narrow: Any
    norm: Any


def is_bert(model: Any) -> bool:
    """Whether *model* is a plain BERT encoder, computed as here."""
    config = model.config
    return (
        type(model).__name__ == "BertModel"
        and config.hidden_act == "gelu"
        and not config.is_decoder
        and getattr(config, "position_embedding_type", "absolute") == "absolute"
    )


class PackedBert:
    """The encoder layers of a ``BertModel``, whose weights it uses."""

    def __init__(self, model: Any) -> None:
        import torch

        config, embeddings = model.config, model.embeddings
        self._heads = int(config.num_attention_heads)
        self._words, self._norm = embeddings.word_embeddings.weight, embeddings.LayerNorm
        with torch.no_grad():
            self._types = embeddings.token_type_embeddings.weight[0]
            self._positions = embeddings.position_embeddings.weight
            self._layers = [_layer(layer) for layer in model.encoder.layer]

    def states(self, ids: torch.Tensor, runs: list[Run]) -> torch.Tensor:
        """[tokens, d]: the last layer's states. ids: int64[tokens], the texts of *runs* end to end."""
        import torch

        positions = torch.cat([torch.arange(run.length).repeat(run.count) for run in runs])
        states: torch.Tensor = self._norm(self._words[ids].add_(self._types).add_(self._positions[positions]))
        for layer in self._layers:
            states = self._through(layer, states, runs)
        return states

    def _through(self, layer: Layer, states: torch.Tensor, runs: list[Run]) -> torch.Tensor:
        import torch
        from torch.nn.functional import linear, scaled_dot_product_attention

        qkv = linear(states, *layer.qkv)
        context = torch.empty_like(states)
        for run in runs:
            # [3, texts, heads, length, d of a head]
            parts = qkv[run.tokens].view(run.count, run.length, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
            mixed = scaled_dot_product_attention(parts[0], parts[1], parts[2])
            context[run.tokens] = mixed.transpose(1, 2).reshape(run.count * run.length, -1)
        states = layer.attended_norm(layer.attended(context).add_(states))
        wide = torch.ops.aten.gelu_(layer.wide(states))
        narrow: torch.Tensor = layer.norm(layer.narrow(wide).add_(states))
        return narrow


def _layer(layer: Any) -> Layer:
    import torch

    own = layer.attention.self
    parts = (own.query, own.key, own.value)
    qkv = torch.cat([part.weight for part in parts]), torch.cat([part.bias for part in parts])
    attention = layer.attention.output
    return Layer(
        qkv,
        attention.dense,
        attention.LayerNorm,
        layer.intermediate.dense,
        layer.output.dense,
        layer.output.LayerNorm,
    )


def pool_runs(states: torch.Tensor, runs: list[Run], pooling: str) -> torch.Tensor:
    """[texts, d]: the mean over each text's tokens, its first token, or its last one."""
    import torch

    rows = []
    for run in runs:
        texts = states[run.tokens].view(run.count, run.length, -1)
        rows.append(texts.mean(1) if pooling == "mean" else texts[:, 0 if pooling == "cls" else -1])
    return torch.cat(rows)
