"""PromptPRF: what a language model says of the first documents goes into the query's prompt."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

import numpy as np

from harness.adapter import Adapter, Context, Need, Paper
from harness.answers import PAD, Answers, Ints, Rankings
from harness.errors import TouchstoneError
from harness.models.language import Chat, LanguageModel, LanguageModelSpec, language_model_identity
from harness.models.source import require_neural
from harness.prompt_index import (
    HybridSpec,
    PromptIndex,
    prompt_encoder,
    prompt_index,
    prompt_need,
    prompt_rankings,
)
from harness.prompt_reps import PromptEncoder, PromptSpec, Representations
from harness.spec import Json, Kind, digest
from harness.tasks.base import Task, blocks
from harness.tasks.rank import RankTask

CODE_VERSION = 1  # raise when a change here can move a feature
BLOCK, SHARD = 32, 64
Feature = Literal["keywords", "entities", "summary", "cot-keywords", "essay"]
ASKS: dict[str, tuple[str, int]] = {  # what is asked, and the most tokens of the answer
    "keywords": ("List 10 keywords of this passage, comma separated.", 64),
    "entities": ("List the named entities of this passage, comma separated.", 64),
    "summary": ("Summarise this passage in one sentence.", 64),
    "cot-keywords": (
        "Think step by step about what this passage answers, then list 10 keywords after 'Keywords:'.",
        256,
    ),
    "essay": ("Write a short essay on the topic of this passage.", 256),
}


@dataclass(frozen=True)
class Settings:
    """The paper gives no prompts or depths in what is published as text: these are the project's."""

    model: Annotated[str, "that makes vectors: hub id, folder, or stories260K"] = (
        "meta-llama/Llama-3.2-3B-Instruct"
    )
    revision: Annotated[str, "commit, tag or branch of its hub id"] = ""
    precision: Annotated[Literal["fp32", "bf16"], "of it"] = "fp32"
    extractor: Annotated[str, "that makes features, any language model; empty: the same"] = ""
    extractor_revision: Annotated[str, "commit, tag or branch of its hub id"] = ""
    feature: Annotated[Feature, "what is made of each document, once, without a query"] = "keywords"
    depth: Annotated[int, "k, first documents whose features are used; 0: PromptReps itself"] = 3
    feature_tokens: Annotated[int, "tokens a feature is cut at"] = 64
    block_tokens: Annotated[int, "tokens all features of a query are cut at"] = 512
    passage_words: Annotated[int, "words of a document that the extractor reads"] = 300
    feedback: Annotated[
        Literal["first-stage", "judged", "random"],
        "the documents used; the others are bounds to compare with",
    ] = "first-stage"

    def prompt_spec(self) -> PromptSpec:
        """The representations these settings name."""
        return PromptSpec(LanguageModelSpec(self.model, self.revision, self.precision))

    def extractor_spec(self, device: str = "cpu") -> LanguageModelSpec:
        """The model that makes features."""
        if not self.extractor:
            return LanguageModelSpec(self.model, self.revision, self.precision, device)
        return LanguageModelSpec(self.extractor, self.extractor_revision, self.precision, device)


class PromptPrf(Adapter):
    """Two dense searches over one index; features are made once a document."""

    name = "promptprf"
    family = "feedback"
    kinds = frozenset({Kind.RANK})
    about = "Features of the first documents, made by a language model, go into the query's prompt."
    paper = Paper(
        "Pseudo Relevance Feedback is Enough to Close the Gap Between Small and Large Dense Retrieval Models",
        2025,
        "https://arxiv.org/abs/2503.14887",
    )
    extras = ("neural",)
    Settings = Settings

    def check(self) -> None:
        """torch and transformers are installed, and the settings mean something."""
        require_neural(self.name)
        s = self.settings
        if s.depth < 0 or min(s.feature_tokens, s.block_tokens, s.passage_words) < 1:
            raise TouchstoneError("settings out of range", where=self.name, fix="depth >= 0, lengths >= 1")
        if s.feature not in get_args(Feature):
            raise TouchstoneError(f"there is no feature '{s.feature}'", fix=", ".join(get_args(Feature)))

    def made_with(self) -> dict[str, Json]:
        """The identities of the model, the prompt and the extractor."""
        made: dict[str, Json] = {"prompt": self.settings.prompt_spec().identity, "features": CODE_VERSION}
        if self.settings.depth:
            made["extractor"] = language_model_identity(self.settings.extractor_spec())
        return made

    def need(self, task: Task) -> Need:
        """Both models, or the one that does both, and the vectors."""
        s = self.settings
        need = prompt_need(s.prompt_spec(), task)
        return need + Need.of_language_model(s.extractor_spec()) if s.depth and s.extractor else need

    def notes(self, task: Task) -> tuple[str, ...]:
        """The models, and what is the project's own."""
        s = self.settings
        return (
            f"vectors of {s.model}, features of {s.extractor or s.model}; the paper's are Llama 3 models",
            "(adapted) prompts of features, their lengths and where they stand in the query's prompt",
        )

    def run(self, task: Task, context: Context) -> Iterator[Answers]:
        """Blocks of BLOCK queries. Features are those of all documents that the task's queries find first,
        so that a part of the task is answered as the whole is.
        """
        assert isinstance(task, RankTask)
        spec, search = self.settings.prompt_spec(), HybridSpec("dense", device=context.device)
        with context.meter.phase("load"):
            encoder = prompt_encoder(spec, context)
        with context.meter.phase("index"):
            index = prompt_index(encoder, spec, task, context)
        blocks_of = self._blocks(task, encoder, index, context) if self.settings.depth else {}
        done = 0
        for items in blocks(task.items, BLOCK):
            with context.meter.phase("search"):
                told = [blocks_of.get(item, "") for item in items.tolist()]
                queries = encoder.encode(task.select(items).queries(), "query", told)
                answers = prompt_rankings(task, items, queries, index, search)
            done += len(items)
            context.progress("search", done, len(task.items))
            yield answers

    def _blocks(
        self, task: RankTask, encoder: PromptEncoder, index: PromptIndex, context: Context
    ) -> dict[int, str]:
        """The block of features of every query, in rank order; '' where all are empty."""
        with context.meter.phase("feedback"):
            docs = self._feedback(task, encoder, index, context)
        with context.meter.phase("features"):
            model = context.language_model(self.settings.extractor_spec(context.device))
            features = self._features(task, np.unique(docs[docs != PAD]), model, context)
        return {
            item: self._block([features[doc] for doc in row.tolist() if doc != PAD], encoder.model)
            for item, row in enumerate(docs)
        }

    def _feedback(self, task: RankTask, encoder: PromptEncoder, index: PromptIndex, context: Context) -> Ints:
        """int32[queries of the task, depth]."""
        s, every = self.settings, np.arange(len(task.query_ids), dtype=np.int32)
        found = np.full((len(every), s.depth), PAD, np.int32)
        if s.feedback == "first-stage":
            search = HybridSpec("dense", device=context.device)
            whole = task.select(every)
            for items in blocks(every, BLOCK):
                queries: Representations = encoder.encode(whole.select(items).queries(), "query")
                ranked: Rankings = prompt_rankings(whole, items, queries, index, search)
                found[items] = ranked.resized(s.depth).docs
            return found
        random = np.random.default_rng(context.seed)
        for item in every.tolist():
            docs, grades = task.relevant(item)
            chosen = docs[grades > 0][np.argsort(-grades[grades > 0], kind="stable")][: s.depth]
            if s.feedback == "random":
                chosen = random.choice(len(task.corpus), min(s.depth, len(task.corpus)), replace=False)
            found[item, : len(chosen)] = chosen
        return found

    def _features(self, task: RankTask, docs: Ints, model: LanguageModel, context: Context) -> dict[int, str]:
        """The feature of each document, from the cache or made now; no query takes part."""
        s = self.settings
        key: dict[str, Json] = {
            "extractor": model.identity,
            "feature": s.feature,
            "ask": list(ASKS[s.feature]),
            "passage_words": s.passage_words,
            "corpus": task.corpus.digest,
            "documents": digest(docs.tolist(), 32),
            "code": CODE_VERSION,
        }

        def make(folder: Path) -> None:
            for start in range(0, len(docs), SHARD):
                path = folder / f"shard-{start:08}.json"
                if not path.exists():
                    told = self._asked(task.corpus.texts_of(docs[start : start + SHARD]), model)
                    path.with_suffix(".tmp").write_text(json.dumps(told), encoding="utf-8")
                    path.with_suffix(".tmp").rename(path)
                context.meter.count("features made", min(SHARD, len(docs) - start))
                context.progress("features", min(start + SHARD, len(docs)), len(docs))

        folder = context.asset("features", key, make).path
        texts = [
            text for path in sorted(folder.glob("shard-*.json")) for text in json.loads(path.read_text())
        ]
        return dict(zip(docs.tolist(), texts, strict=True))

    def _asked(self, passages: Sequence[str], model: LanguageModel) -> list[str]:
        ask, most = ASKS[self.settings.feature]
        cut = [" ".join(text.split()[: self.settings.passage_words]) for text in passages]
        texts = [f'Passage: "{text}"\n{ask}' for text in cut]
        prompts = [Chat.ask(text) if model.chats else f"{text}\n" for text in texts]
        found = [" ".join(told.text.split()) for told in model.generate_many(prompts, most)]
        if self.settings.feature == "cot-keywords":
            found = [text.rpartition("Keywords:")[2].strip() for text in found]
        return found

    def _block(self, features: Sequence[str], model: LanguageModel) -> str:
        """Cut in tokens of the model that reads it."""
        s, front = self.settings, len(model.encode(""))
        cut = [model.decode(model.encode(text)[front:][: s.feature_tokens]).strip() for text in features]
        told = " ".join(f"{rank}) {text}" for rank, text in enumerate(cut, 1) if text)
        if not told:
            return ""
        whole = f"Related {s.feature} from top documents: {told}"
        return model.decode(model.encode(whole)[front:][: s.block_tokens]).strip()
