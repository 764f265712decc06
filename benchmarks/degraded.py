"""Methods that were made worse on purpose, for the behaviour of ``touchstone check``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from adapters.dense.dense import Dense
from harness.adapter import Context
from harness.assets import Assets
from harness.dense import DenseAdapter, DenseVectors
from harness.models.encoder import load_encoder
from harness.spec import Json
from harness.tasks.rank import RankTask


class Int8Dense(Dense):
    """``dense`` with the linear layers of its encoder in int8: torch's dynamic quantisation."""

    name = "int8-dense"
    about = "The encoder's linear layers in int8."

    def made_with(self) -> dict[str, Json]:
        """The encoder's identity and what was done to it."""
        return {**super().made_with(), "quantised": "int8 dynamic"}

    def vectors(self, task: RankTask, context: Context) -> DenseVectors:
        """As the encoder in int8 gives them, kept apart from those of the whole encoder."""
        import torch
        from torch.ao.quantization import quantize_dynamic

        spec = self.settings.encoder_spec(context.device)
        encoder: Any = load_encoder(spec)
        encoder._model = quantize_dynamic(encoder._model, {torch.nn.Linear}, dtype=torch.qint8)
        encoder._packed = None  # holds weights of its own
        apart = Assets(context.assets.root / "int8")
        return DenseAdapter.vectors(self, task, replace(context, assets=apart, kept={spec: encoder}))
