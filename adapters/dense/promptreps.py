"""PromptReps: a language model asked for one word gives a dense and a sparse vector of a text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from harness.adapter import Adapter, Context, Need, Paper
from harness.answers import Answers
from harness.errors import TouchstoneError
from harness.models.language import LanguageModelSpec
from harness.models.source import require_neural
from harness.prompt_index import HybridSpec, prompt_encoder, prompt_index, prompt_need, prompt_rankings
from harness.prompt_reps import PromptSpec, Variant
from harness.spec import Json, Kind
from harness.tasks.base import Task, blocks
from harness.tasks.rank import RankTask

BLOCK = 32


@dataclass(frozen=True)
class Settings:
    """Defaults are the paper's main form."""

    model: Annotated[str, "a causal language model with hidden states: hub id, folder, or stories260K"] = (
        "meta-llama/Meta-Llama-3-8B-Instruct"
    )
    revision: Annotated[str, "commit, tag or branch of a hub id"] = ""
    precision: Annotated[Literal["fp32", "bf16"], "of the model"] = "fp32"
    mode: Annotated[Literal["dense", "sparse", "hybrid"], "which of the two vectors ranks, or both"] = (
        "hybrid"
    )
    alpha: Annotated[float, "share of the dense scores in hybrid"] = 0.5
    variant: Annotated[Variant, "the token after the prompt, or the words that the model writes"] = "token"
    text_tokens: Annotated[int, "tokens a text is cut at"] = 512
    literal_backslash_n: Annotated[bool, "prompts hold a backslash and an n, as the shipped files do"] = True
    pool: Annotated[int, "documents of each run that are fused"] = 1000

    def prompt_spec(self) -> PromptSpec:
        """The representations these settings name."""
        model = LanguageModelSpec(self.model, self.revision, self.precision)
        return PromptSpec(model, self.variant, self.text_tokens, self.literal_backslash_n)


class PromptReps(Adapter):
    """Zero-shot: nothing is trained."""

    name = "promptreps"
    family = "dense"
    kinds = frozenset({Kind.RANK})
    about = (
        "A language model is asked for one word; its state and its logits there are the vectors of a text."
    )
    paper = Paper(
        "PromptReps: Prompting Large Language Models to Generate Dense and Sparse Representations for "
        "Zero-Shot Document Retrieval",
        2024,
        "https://arxiv.org/abs/2404.18424",
    )
    extras = ("neural",)
    Settings = Settings

    def check(self) -> None:
        """torch and transformers are installed, and the share is one."""
        require_neural(self.name)
        if not 0.0 <= self.settings.alpha <= 1.0 or self.settings.pool < 1:
            raise TouchstoneError("settings out of range", where=self.name, fix="0 <= alpha <= 1, pool >= 1")

    def made_with(self) -> dict[str, Json]:
        """The model's identity and the prompt's."""
        return {"prompt": self.settings.prompt_spec().identity}

    def need(self, task: Task) -> Need:
        """The model, and the vectors."""
        return prompt_need(self.settings.prompt_spec(), task)

    def notes(self, task: Task) -> tuple[str, ...]:
        """The model, and what a model without a chat template reads."""
        model = self.settings.model
        ran = f"representations of {model}; the paper's main model is Llama-3-8B-Instruct"
        plain = "(adapted) a model without a chat template reads the prompt as plain text"
        return (ran, plain) if model == "stories260K" else (ran,)

    def run(self, task: Task, context: Context) -> Iterator[Answers]:
        """Blocks of BLOCK queries."""
        assert isinstance(task, RankTask)
        s, spec = self.settings, self.settings.prompt_spec()
        with context.meter.phase("load"):
            encoder = prompt_encoder(spec, context)
        with context.meter.phase("index"):
            index = prompt_index(encoder, spec, task, context)
        search = HybridSpec(s.mode, s.alpha, s.pool, context.device)
        done = 0
        for items in blocks(task.items, BLOCK):
            with context.meter.phase("search"):
                queries = encoder.encode(task.select(items).queries(), "query")
                answers = prompt_rankings(task, items, queries, index, search)
            done += len(items)
            context.progress("search", done, len(task.items))
            yield answers
