"""A causal language model answers multiple-choice questions and predicts texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from harness.adapter import Adapter, Context, Need, Paper
from harness.answers import Answers, Choices, Floats, TokenLosses
from harness.errors import TouchstoneError
from harness.models.language import (
    LanguageModel,
    LanguageModelSpec,
    Request,
    counted,
    language_model_identity,
    require_language_model,
)
from harness.spec import Json, Kind
from harness.tasks.base import Task, blocks
from harness.tasks.choose import ChooseTask
from harness.tasks.perplexity import PerplexityTask

LEAST, MOST = (
    128,
    512,
)  # questions of a block: whole subjects, since they share the beginning of their prompts
TEXTS = 64


@dataclass(frozen=True)
class Settings:
    """Which model, and what counts as its answer."""

    model: Annotated[
        str, "a hub id, a folder, a llama2.c file, stories260K, or a server: http://host:8000/v1#name"
    ] = "EleutherAI/pythia-160m"
    revision: Annotated[str, "commit, tag or branch of a hub id"] = ""
    precision: Annotated[Literal["fp32", "bf16"], "of the model"] = "fp32"
    answer: Annotated[Literal["letter", "text"], "what answers: the letter or the text of a choice"] = (
        "letter"
    )
    normalise: Annotated[
        Literal["none", "characters", "prior"],
        "log-probabilities as they are, by character, or less those without the question",
    ] = "none"
    stride: Annotated[int, "perplexity: tokens that each window adds; 0: windows do not overlap"] = 0


class HfLm(Adapter):
    """Log-probabilities of `` A``, `` B``, ... or of the choices' texts after the task's prompt; of texts,
    those of all tokens in windows.

    normalise=characters is what lm-evaluation-harness calls acc_norm; normalise=prior is the
    domain-conditional PMI of Holtzman et al. 2021.
    """

    name = "hf-lm"
    family = "language"
    kinds = frozenset({Kind.CHOOSE, Kind.PERPLEXITY})
    about = "A causal language model: the likeliest choice after the prompt, and the perplexity of texts."
    paper = Paper(
        "Measuring massive multitask language understanding", 2021, "https://arxiv.org/abs/2009.03300"
    )
    extras = ("neural",)
    Settings = Settings

    def check(self) -> None:
        """The model's packages are here, and the stride is none or positive."""
        require_language_model(self.name, self.settings.model)
        if self.settings.stride < 0:
            raise TouchstoneError(f"stride is {self.settings.stride}", where=self.name, fix="0 or more")

    def made_with(self) -> dict[str, Json]:
        """The model's identity."""
        return {"language_model": language_model_identity(self._spec("cpu"))}

    def need(self, task: Task) -> Need:
        """The model's."""
        return Need.of_language_model(self._spec("cpu"))

    def notes(self, task: Task) -> tuple[str, ...]:
        """What counts as an answer where it is not the letter."""
        s = self.settings
        if not isinstance(task, ChooseTask) or (s.answer, s.normalise) == ("letter", "none"):
            return ()
        return (f"scored by the choice's {s.answer}, normalised by: {s.normalise}",)

    def run(self, task: Task, context: Context) -> Iterator[Answers]:
        """Blocks of questions of whole subjects, or of TEXTS texts."""
        with context.meter.phase("load"):
            model = context.language_model(self._spec(context.device))
        if isinstance(task, PerplexityTask):
            yield from self._predicted(task, model, context)
            return
        assert isinstance(task, ChooseTask)
        done = 0
        for items in task.group_blocks(LEAST, MOST):
            with context.meter.phase("answer"), counted(model, context.meter):
                rows = self._answers(task.select(items), model)
            logprobs = np.full((len(items), max(map(len, rows))), -np.inf, np.float32)
            for row, values in enumerate(rows):
                logprobs[row, : len(values)] = values
            done += len(items)
            context.progress("answer", done, len(task.items))
            yield Choices(items, logprobs)

    def _answers(self, task: ChooseTask, model: LanguageModel) -> Sequence[Floats]:
        """A value for each choice of each question."""
        items = task.items.tolist()
        choices = [task.labels(i) if self.settings.answer == "letter" else task.texts(i) for i in items]
        requests = [
            Request(task.prompt(item), texts, task.shorter_prompts(item))
            for item, texts in zip(items, choices, strict=True)
        ]
        if self.settings.normalise == "prior":
            requests += [
                Request(task.prior_prompt(item), texts) for item, texts in zip(items, choices, strict=True)
            ]
        values = model.continuation_logprobs(requests)
        if self.settings.normalise == "prior":
            pairs = zip(values[: len(items)], values[len(items) :], strict=True)
            return [_log_softmax(given - unasked) for given, unasked in pairs]
        if self.settings.normalise == "characters":
            sizes = [np.array([max(1, len(text) - 1) for text in texts], np.float32) for texts in choices]
            return [_log_softmax(value / size) for value, size in zip(values, sizes, strict=True)]
        return values

    def _predicted(self, task: PerplexityTask, model: LanguageModel, context: Context) -> Iterator[Answers]:
        """Losses of every token of each text."""
        done = 0
        for items in blocks(task.items, TEXTS):
            with context.meter.phase("answer"), counted(model, context.meter):
                windows = [self._windows(model, task.text(int(item))) for item in items]
                values = iter(model.token_logprobs([pair for pairs in windows for pair in pairs]))
                rows = [-np.concatenate([next(values) for _ in pairs]) for pairs in windows]
            done += len(items)
            context.progress("answer", done, len(task.items))
            yield TokenLosses.of(items, rows)

    def _windows(self, model: LanguageModel, text: str) -> list[tuple[list[int], list[int]]]:
        """(context, targets): every token of a text is predicted once. Windows that do not overlap give each
        window's first token the one before it alone; a stride gives every token all that fits.
        """
        ids = model.encode(text)
        start, found = model.prompt_ids("")[:1], []
        targets = ids[1:] if ids[:1] == start else ids
        step = min(self.settings.stride or model.max_tokens, model.max_tokens)
        for place in range(0, len(targets), step):
            part = targets[place : place + step]
            room = 1 if not self.settings.stride else model.max_tokens + 1 - len(part)
            before = targets[max(0, place - room) : place] if place else start
            if place and place < room:
                before = [*start, *before]
            found.append((before, part))
        return found

    def _spec(self, device: str) -> LanguageModelSpec:
        s = self.settings
        return LanguageModelSpec(s.model, s.revision, s.precision, device)


def _log_softmax(values: Floats) -> Floats:
    normalised: Floats = values - np.logaddexp.reduce(values)
    return normalised
