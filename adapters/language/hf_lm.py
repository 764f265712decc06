"""A causal language model answers a multiple-choice question by the likeliest letter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from harness.adapter import Adapter, Context, Paper
from harness.answers import Answers, Choices
from harness.models.language import LanguageModelSpec, Request, language_model_identity
from harness.models.source import require_neural
from harness.spec import Json, Kind
from harness.tasks.base import Task, blocks
from harness.tasks.choose import ChooseTask

BLOCK = 32


@dataclass(frozen=True)
class Settings:
    """Which model."""

    model: Annotated[str, "a hub id, a folder, a llama2.c file, or stories260K"] = "EleutherAI/pythia-160m"
    revision: Annotated[str, "commit, tag or branch of a hub id"] = ""
    precision: Annotated[Literal["fp32", "bf16"], "of the model"] = "fp32"


class HfLm(Adapter):
    """Log-probabilities of `` A``, `` B``, ... after the task's prompt."""

    name = "hf-lm"
    family = "language"
    kinds = frozenset({Kind.CHOOSE})
    about = (
        "A causal language model; the choice is the letter with the highest log-probability after the prompt."
    )
    paper = Paper(
        "Measuring massive multitask language understanding", 2021, "https://arxiv.org/abs/2009.03300"
    )
    extras = ("neural",)
    Settings = Settings

    def check(self) -> None:
        """torch and transformers are installed."""
        require_neural(self.name)

    def made_with(self) -> dict[str, Json]:
        """The model's identity."""
        return {"language_model": language_model_identity(self._spec("cpu"))}

    def run(self, task: Task, context: Context) -> Iterator[Answers]:
        """Blocks of BLOCK questions."""
        assert isinstance(task, ChooseTask)
        with context.meter.phase("load"):
            model = context.language_model(self._spec(context.device))
        done = 0
        for items in blocks(task.items, BLOCK):
            with context.meter.phase("answer"):
                requests = [Request(task.prompt(int(item)), task.labels(int(item))) for item in items]
                cut = model.truncated
                rows = model.continuation_logprobs(requests)
                if model.truncated > cut:
                    context.meter.count("prompts cut to the model's window", model.truncated - cut)
                logprobs = np.full((len(items), max(map(len, rows))), -np.inf, np.float32)
                for row, values in enumerate(rows):
                    logprobs[row, : len(values)] = values
            done += len(items)
            context.progress("answer", done, len(task.items))
            yield Choices(items, logprobs)

    def _spec(self, device: str) -> LanguageModelSpec:
        s = self.settings
        return LanguageModelSpec(s.model, s.revision, s.precision, device)
