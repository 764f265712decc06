"""A multiple-choice baseline without a language model: the choice closest to the question."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from harness.adapter import Adapter, Context
from harness.answers import Answers, Choices
from harness.models.encoder import Encoder, EncoderSpec, encoder_identity
from harness.models.source import PACKAGED_MODEL, require_neural
from harness.spec import Json, Kind
from harness.tasks.base import Task, blocks
from harness.tasks.choose import ChooseTask

BLOCK = 256


@dataclass(frozen=True)
class Settings:
    """Which encoder."""

    model: Annotated[str, "the packaged all-MiniLM-L6-v2, a folder, or a hub id"] = PACKAGED_MODEL


class EmbeddingChoice(Adapter):
    """Cosine of the question with each choice's text; their log-softmax stands for log-probabilities."""

    name = "embedding-choice"
    family = "language"
    kinds = frozenset({Kind.CHOOSE})
    about = "The choice whose sentence vector has the highest cosine with the question's; sees no examples."
    extras = ("neural",)
    Settings = Settings

    def check(self) -> None:
        """torch and transformers are installed."""
        require_neural(self.name)

    def made_with(self) -> dict[str, Json]:
        """The encoder's identity."""
        return {"encoder": encoder_identity(self._spec("cpu"))}

    def run(self, task: Task, context: Context) -> Iterator[Answers]:
        """Blocks of BLOCK questions."""
        assert isinstance(task, ChooseTask)
        with context.meter.phase("load"):
            encoder = context.encoder(self._spec(context.device))
        for items in blocks(task.items, BLOCK):
            with context.meter.phase("answer"):
                answers = closest(encoder, task.select(items))
            yield answers

    def _spec(self, device: str) -> EncoderSpec:
        return EncoderSpec(self.settings.model, normalise="yes", device=device)


def closest(encoder: Encoder, task: ChooseTask) -> Choices:
    """Log-softmax over each question's choices of their cosines with it; -inf beyond its choices."""
    asked = [task.question(int(item)) for item in task.items]
    questions = encoder.encode([question.text for question in asked], "query")
    choices = encoder.encode([choice for question in asked for choice in question.choices], "document")
    counts = np.array([len(question.choices) for question in asked])
    cosines = np.full((len(asked), counts.max()), -np.inf)
    held = np.arange(counts.max()) < counts[:, None]
    cosines[held] = (choices * np.repeat(questions, counts, axis=0)).sum(axis=1)
    return Choices(
        task.items, (cosines - np.logaddexp.reduce(cosines, axis=1, keepdims=True)).astype(np.float32)
    )
