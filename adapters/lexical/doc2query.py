"""doc2query: queries that a model draws for a document are appended to it, then BM25."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from harness.adapter import Context, Need, Paper
from harness.data.corpus import Corpus
from harness.errors import TouchstoneError
from harness.lucene_adapter import LuceneAdapter, LuceneSettings
from harness.models.language import LanguageModelSpec
from harness.models.source import find_model, require_neural
from harness.models.stepwise import STORIES, SampleSpec, load_step_model, step_model_identity
from harness.spec import Json, Kind, digest
from harness.tasks.base import Task
from harness.tasks.rank import RankTask

CODE_VERSION = 1  # raise when a change here can move an expansion
SHARD = 256  # documents expanded between two writes: what an interruption loses at most


@dataclass(frozen=True)
class Settings(LuceneSettings):
    """Defaults are docTTTTTquery's: 40 queries a document, drawn from the 10 likeliest tokens."""

    model: Annotated[str, "an encoder-decoder or a causal model: hub id, folder, or stories260K"] = (
        "castorini/doc2query-t5-base-msmarco"
    )
    revision: Annotated[str, "commit, tag or branch of a hub id"] = ""
    precision: Annotated[Literal["fp32", "bf16"], "of the model"] = "fp32"
    queries: Annotated[int, "drawn for each document; 0: plain BM25"] = 40
    tokens: Annotated[int, "of a query at most"] = 64
    source_tokens: Annotated[int, "that the model reads of a document at most"] = 512
    top_k: Annotated[int, "likeliest tokens that are drawn from; 0: all"] = 10
    cue: Annotated[str, "what a causal model reads after the document"] = "\nQuestion:"


class Doc2query(LuceneAdapter):
    """BM25 (Lucene) over title, text and drawn queries as one field."""

    name = "doc2query"
    family = "lexical"
    kinds = frozenset({Kind.RANK})
    about = "Queries drawn by a sequence-to-sequence model (doc2query-T5) expand documents; BM25 by Lucene."
    paper = Paper(
        "From doc2query to docTTTTTquery",
        2019,
        "https://cs.uwaterloo.ca/~jimmylin/publications/Nogueira_Lin_2019_docTTTTTquery-v2.pdf",
    )
    extras = ("lucene", "neural")
    Settings = Settings

    def check(self) -> None:
        """Java, torch, and numbers that mean something."""
        super().check()
        require_neural(self.name)
        s = self.settings
        if s.queries < 0 or s.top_k < 0 or min(s.tokens, s.source_tokens) < 1:
            raise TouchstoneError(
                f"queries={s.queries}, tokens={s.tokens}, source_tokens={s.source_tokens}, top_k={s.top_k}",
                where=self.name,
                fix="queries and top_k from 0, the others from 1",
            )

    def made_with(self) -> dict[str, Json]:
        """Anserini and the model."""
        return {**super().made_with(), "step_model": step_model_identity(self._spec("cpu"))}

    def need(self, task: Task) -> Need:
        """Java's memory, torch and the model."""
        s = self.settings
        own = 0 if s.model == STORIES else find_model(s.model, s.revision, self.name).weight_bytes
        return Need(super().need(task).bytes + 2_000_000_000 + own, 2_000_000_000 + own)

    def notes(self, task: Task) -> tuple[str, ...]:
        """The model, and what is not the paper's."""
        s = self.settings
        told = (*super().notes(task), f"{s.queries} queries a document by {s.model}, seed fixed")
        if step_model_identity(self._spec("cpu")).get("model") == STORIES:
            return (
                *told,
                "(adapted) stories260K is a tiny causal model of children's stories that stands in for "
                "doc2query-T5: it draws no queries, and these numbers say nothing of the method's worth",
            )
        return told

    def documents(self, task: RankTask, context: Context) -> ExpandedCorpus:
        """Every document followed by its queries, from the cache or drawn now, SHARD documents at a time."""
        s, spec = self.settings, self._spec(context.device)
        drawn = SampleSpec(s.queries, s.tokens, s.top_k, s.cue, s.source_tokens)
        key: dict[str, Json] = {
            "corpus": task.corpus.digest,
            "model": step_model_identity(spec),
            "device": context.device.partition(":")[0],
            "drawn": asdict(drawn),
            "code": CODE_VERSION,
        }
        asset = context.asset("expansions", key, partial(_expand, task.corpus, spec, drawn, context))
        return ExpandedCorpus(task.corpus, asset.path)

    def _spec(self, device: str) -> LanguageModelSpec:
        s = self.settings
        return LanguageModelSpec(s.model, s.revision, s.precision, device)


class ExpandedCorpus:
    """The documents of *corpus*, each followed by the queries that *folder* holds for it."""

    def __init__(self, corpus: Corpus, folder: Path) -> None:
        self._corpus, self._folder = corpus, folder

    @property
    def digest(self) -> str:
        """Of the documents and of what the queries were drawn with."""
        return digest([self._corpus.digest, self._folder.name], 32)

    def __len__(self) -> int:
        return len(self._corpus)

    def texts(self, start: int, stop: int) -> list[str]:
        """Expanded documents start..stop-1."""
        queries: list[list[str]] = []
        for first in range(start - start % SHARD, stop, SHARD):
            held = json.loads((self._folder / f"{first:010}.json").read_text())
            queries += held[max(0, start - first) : stop - first]
        texts = self._corpus.texts(start, stop)
        return [" ".join([text, *own]) for text, own in zip(texts, queries, strict=True)]


def _expand(
    corpus: Corpus, spec: LanguageModelSpec, drawn: SampleSpec, context: Context, folder: Path
) -> None:
    """Write the queries of SHARD documents a file; a file that is there is complete and not made again."""
    for start in range(0, len(corpus), SHARD):
        stop = min(start + SHARD, len(corpus))
        path = folder / f"{start:010}.json"
        if not path.exists():
            texts = corpus.texts(start, stop)
            found = (
                context.keep(spec, load_step_model).samples(texts, drawn)
                if drawn.count
                else [[]] * len(texts)
            )
            path.with_suffix(".tmp").write_text(json.dumps(found))
            path.with_suffix(".tmp").rename(path)
        context.progress("expand", stop, len(corpus))
