"""Retrieval-augmented generation: a retriever finds documents, a reader answers from them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from harness.adapter import Adapter, Context, Need, Paper
from harness.answers import PAD, Answers, Rankings, Texts
from harness.data.kilt import pages_of
from harness.errors import TouchstoneError
from harness.models.language import (
    LanguageModel,
    LanguageModelSpec,
    counted,
    language_model_identity,
    require_language_model,
)
from harness.spec import Json, Kind
from harness.tasks.base import Task, blocks
from harness.tasks.generate import GenerateTask

BLOCK = 32
EXTRACTIVE = "extractive"
SENTENCE = re.compile(r"(?<=[.!?])\s+")
Read = Callable[[str, list[str]], str]  # (question, passages best first) -> answer


@dataclass(frozen=True)
class Settings:
    """Who finds, who reads, and how much."""

    retriever: Annotated[str, "the method that ranks the documents"] = "bm25"
    reader: Annotated[
        str, "a language model (hub id, folder, llama2.c file, stories260K), or extractive: no model"
    ] = EXTRACTIVE
    revision: Annotated[str, "commit, tag or branch of the reader's hub id"] = ""
    precision: Annotated[Literal["fp32", "bf16"], "of the reader"] = "fp32"
    passages: Annotated[int, "how many of the best documents are read"] = 3
    words: Annotated[int, "words of each document that are read, from its beginning"] = 100
    pages: Annotated[int, "how many ranked pages are named as provenance"] = 20
    max_new_tokens: Annotated[int, "length of an answer at most"] = 32
    prompt: Annotated[str, "what the reader is given; {passages} and {question} are filled in"] = (
        "{passages}\n\nQuestion: {question}\nAnswer:"
    )


class Rag(Adapter):
    """Greedy text after a prompt of the best documents and the question; its first line is the answer.

    The reader ``extractive`` answers with the first sentence of the best document: what the retriever alone
    is worth.
    """

    name = "rag"
    family = "generative"
    kinds = frozenset({Kind.GENERATE})
    about = "Any retriever and any reader: the best documents go before the question into a language model."
    paper = Paper(
        "Retrieval-augmented generation for knowledge-intensive NLP tasks",
        2020,
        "https://arxiv.org/abs/2005.11401",
    )
    Settings = Settings

    def check(self) -> None:
        """The counts are positive, the prompt has its places, and a model's packages are here."""
        s = self.settings
        for name in ("passages", "words", "pages", "max_new_tokens"):
            if getattr(s, name) < 1:
                raise TouchstoneError(f"{name} is {getattr(s, name)}", where=self.name, fix="1 or more")
        for place in ("{passages}", "{question}"):
            if place not in s.prompt:
                raise TouchstoneError(f"the prompt lacks {place}", where=self.name)
        if s.reader != EXTRACTIVE:
            require_language_model(self.name, s.reader)

    def part_methods(self) -> tuple[str, ...]:
        """The retriever."""
        return (self.settings.retriever,)

    def made_with(self) -> dict[str, Json]:
        """The reader's identity; the engine adds the retriever's."""
        if self.settings.reader == EXTRACTIVE:
            return {}
        return {"language_model": language_model_identity(self._spec("cpu"))}

    def need(self, task: Task) -> Need:
        """The reader's; the retriever is a run of its own."""
        return Need() if self.settings.reader == EXTRACTIVE else Need.of_language_model(self._spec("cpu"))

    def run(self, task: Task, context: Context) -> Iterator[Answers]:
        """Blocks of BLOCK items."""
        assert isinstance(task, GenerateTask)
        task.documents()  # refuses before the retriever runs
        first = context.first_stage(self.settings.retriever)
        read = self._reader(context)
        done = 0
        for items in blocks(task.items, BLOCK):
            with context.meter.phase("answer"):
                answers = self._answers(task.select(items), first.select(items), read)
            done += len(items)
            context.progress("answer", done, len(task.items))
            yield answers

    def _answers(self, task: GenerateTask, ranked: Rankings, read: Read) -> Texts:
        corpus, s = task.documents(), self.settings
        texts, pages = [], []
        for question, row in zip(task.inputs(), ranked.docs, strict=True):
            docs = row[row != PAD]
            passages = [" ".join(text.split()[: s.words]) for text in corpus.texts_of(docs[: s.passages])]
            texts.append(read(question, passages))
            pages.append(pages_of(corpus.ids(docs))[: s.pages])
        return Texts(task.items, tuple(texts), tuple(pages))

    def _reader(self, context: Context) -> Read:
        if self.settings.reader == EXTRACTIVE:
            return lambda _question, passages: SENTENCE.split(passages[0])[0] if passages else ""
        with context.meter.phase("load"):
            model = context.language_model(self._spec(context.device))
        return lambda question, passages: self._written(model, context, question, passages)

    def _written(self, model: LanguageModel, context: Context, question: str, passages: list[str]) -> str:
        """The first line that is not blank of what the model writes."""
        filled = {"{passages}": "\n\n".join(passages), "{question}": question}
        prompt = re.sub(r"\{passages\}|\{question\}", lambda found: filled[found[0]], self.settings.prompt)
        with counted(model, context.meter):
            text = model.generate(prompt, self.settings.max_new_tokens)
        return text.strip().partition("\n")[0].strip()

    def _spec(self, device: str) -> LanguageModelSpec:
        s = self.settings
        return LanguageModelSpec(s.reader, s.revision, s.precision, device)
