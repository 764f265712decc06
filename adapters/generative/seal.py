"""SEAL: a language model writes n-grams of the corpus; passages are scored by those that they hold."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt

from harness.adapter import Adapter, Context, Need, Paper
from harness.answers import PAD, Answers, Rankings
from harness.fm_index import FmIndex, Span, build_fm_index
from harness.models.language import LanguageModelSpec
from harness.models.source import require_neural
from harness.models.stepwise import STORIES, StepModel, load_step_model, step_model_identity
from harness.ngrams import Evidence, EvidenceSpec, Key, key_weight
from harness.spec import Json, Kind
from harness.tasks.base import Task, blocks
from harness.tasks.rank import RankTask

CODE_VERSION = 1  # raise when a change here or in the FM-index can move a score
BATCH = 4096
TITLE_END = "@@"
Doubles = npt.NDArray[np.float64]
Logprobs = dict[tuple[int, ...], float]


@dataclass(frozen=True)
class Settings:
    """Defaults are those of the paper's code; its checkpoints are not on the hub."""

    model: Annotated[str, "an encoder-decoder or a causal model: hub id, folder, or stories260K"] = (
        "facebook/bart-large"
    )
    revision: Annotated[str, "commit, tag or branch of a hub id"] = ""
    precision: Annotated[Literal["fp32", "bf16"], "of the model"] = "fp32"
    beam: Annotated[int, "beams"] = 15
    body_tokens: Annotated[int, "tokens of an n-gram of the body"] = 10
    title_tokens: Annotated[int, "most tokens of a title; 0: no titles"] = 15
    constrained: Annotated[bool, "write only what the corpus holds"] = True
    scoring: Annotated[
        Literal["intersective", "best-key", "lm"],
        "all n-grams of a passage; its best by weight; its best by the model's probability alone",
    ] = "intersective"
    smoothing: Annotated[float, "of corpus counts (s)"] = 5.0
    power: Annotated[float, "of an n-gram's weight (alpha)"] = 2.0
    repeat: Annotated[float, "weight lost by tokens covered before (beta)"] = 0.8
    single_key: Annotated[float, "share of the best n-gram in the score (lambda)"] = 0.0
    unigrams: Annotated[int, "single tokens that are kept"] = 5000
    max_hits: Annotated[int, "occurrences up to which an n-gram finds passages"] = 1500
    candidates: Annotated[int, "passages that are scored exactly"] = 1500


class Seal(Adapter):
    """Autoregressive search: n-grams as document identifiers."""

    name = "seal"
    family = "generative"
    kinds = frozenset({Kind.RANK})
    about = (
        "A language model writes n-grams that occur in the corpus; passages add up what they hold of them."
    )
    paper = Paper(
        "Autoregressive search engines: generating substrings as document identifiers",
        2022,
        "https://arxiv.org/abs/2204.10628",
    )
    extras = ("neural",)
    Settings = Settings

    def check(self) -> None:
        """torch and transformers are installed."""
        require_neural(self.name)

    def made_with(self) -> dict[str, Json]:
        """The model's identity."""
        return {"step_model": step_model_identity(self._spec("cpu")), "seal": CODE_VERSION}

    def need(self, task: Task) -> Need:
        """The index: about 40 bytes a token while it is built, at 300 tokens a passage."""
        assert isinstance(task, RankTask)
        return Need(2_000_000_000 + 40 * 300 * len(task.corpus))

    def notes(self, task: Task) -> tuple[str, ...]:
        """What it ran with, and what is not the paper's."""
        model = self.settings.model
        ran = f"the language model is {model}, not the paper's BART-large fine-tuned on questions"
        reading = "an n-gram counts once a passage (the paper's text leaves repeats open)"
        causal = "a causal model reads the marked query as its prompt (adapted)"
        return (ran, reading, causal) if model == STORIES else (ran, reading)

    def run(self, task: Task, context: Context) -> Iterator[Answers]:
        """One query at a time; blocks of 16."""
        assert isinstance(task, RankTask)
        with context.meter.phase("load"):
            model = context.keep(self._spec(context.device), load_step_model)
        with context.meter.phase("index"):
            key: dict[str, Json] = {"corpus": task.corpus.digest, **self.made_with()}
            asset = context.asset("fm-index", key, partial(self._build, model, task, context))
        search = Search(FmIndex.open(asset.path), model, self.settings)
        done = 0
        for items in blocks(task.items, 16):
            docs = np.full((len(items), task.search_depth), PAD, np.int32)
            scores = np.full(docs.shape, -np.inf, np.float32)
            for row, item in enumerate(items):
                with context.meter.phase("search"):
                    found, values = search.ranked(task.query_texts[item], task.search_depth)
                docs[row, : len(found)], scores[row, : len(found)] = found, values
            done += len(items)
            context.progress("search", done, len(task.items))
            yield task.check(Rankings(items, docs, scores))

    def _spec(self, device: str) -> LanguageModelSpec:
        s = self.settings
        return LanguageModelSpec(s.model, s.revision, s.precision, device)

    def _build(self, model: StepModel, task: RankTask, context: Context, folder: Path) -> None:
        def passages() -> Iterator[list[int]]:
            for start in range(0, len(task.corpus), BATCH):
                stop = min(start + BATCH, len(task.corpus))
                for title, text in task.corpus.titles_and_texts(start, stop):
                    whole = f"{title} {TITLE_END} {text}" if title else text
                    yield model.tokens(" ".join(whole.split()))
                context.progress("tokenise", stop, len(task.corpus))

        build_fm_index(passages(), model.end).save(folder)


class Search:
    """Answers queries over one index."""

    def __init__(self, index: FmIndex, model: StepModel, settings: Settings) -> None:
        self._index, self._model, self._settings = index, model, settings
        single = 1.0 if settings.scoring != "intersective" else settings.single_key
        spec = EvidenceSpec(settings.max_hits, settings.candidates, settings.repeat, single)
        self._evidence = Evidence(index, spec)

    def ranked(self, query: str, k: int) -> tuple[npt.NDArray[np.int32], Doubles]:
        """(passages, scores), best first."""
        s, body = self._settings, f"{query} || body || +"
        written = {self._inner(tokens) for tokens in self._written(body, s.body_tokens, [])}
        if s.title_tokens:
            written |= self._titles(f"{query} || title || +")
        own = self._query_ngrams(query) - written
        logprobs = self._scored(query, written) | self._scored(body, own)
        unigrams, singles = self._unigrams(body, len(logprobs))
        keys = [*self._keys(logprobs), *singles] if s.scoring == "intersective" else self._keys(logprobs)
        weights = unigrams if s.scoring == "intersective" else np.zeros_like(unigrams)
        return self._evidence.ranked(keys, weights, k)

    def _written(self, source: str, length: int, first: list[int]) -> set[tuple[int, ...]]:
        """Every sequence that beam search considered, of 1 to *length* tokens; *first* comes before them in
        the corpus and is not written. Scores are those of the whole vocabulary: masked, not renormalised.
        """
        beams: list[tuple[tuple[int, ...], float, Span]] = [((), 0.0, self._index.find(first))]
        seen: set[tuple[int, ...]] = set()
        for _ in range(length):
            logprobs = self._model.next_logprobs(source, [tokens for tokens, _, _ in beams])
            options: list[tuple[float, int, int]] = []
            for number, (_, score, span) in enumerate(beams):
                options += self._best_steps(logprobs[number], score, span, number)
            options = sorted(options, key=lambda option: (-option[0], option[1:]))[: 2 * self._settings.beam]
            grown = [
                ((*beams[n][0], token), score, self._index.extended(beams[n][2], token))
                for score, n, token in options
            ]
            seen |= {tokens for tokens, _, _ in grown}
            beams = [beam for beam in grown if beam[0][-1] != self._model.end][: self._settings.beam]
            if not beams:
                break
        return seen

    def _best_steps(
        self, logprobs: npt.NDArray[np.float32], score: float, span: Span, beam: int
    ) -> list[tuple[float, int, int]]:
        """The best 2 * beam continuations of one beam: (total log-probability, beam, token)."""
        allowed = np.arange(len(logprobs))
        if self._settings.constrained:
            allowed = self._index.continuations(span)[0].astype(np.int64)
            allowed = allowed[allowed < len(logprobs)]
        best = allowed[np.argsort(-logprobs[allowed], kind="stable")[: 2 * self._settings.beam]]
        return [(score + float(logprobs[token]), beam, int(token)) for token in best]

    def _inner(self, tokens: tuple[int, ...]) -> tuple[int, ...]:
        """Without an end token at the end."""
        return tokens[:-1] if tokens[-1] == self._model.end else tokens

    def _titles(self, source: str) -> set[tuple[int, ...]]:
        """Complete titles: what stands between the beginning of a passage and the mark after titles."""
        mark = tuple(self._model.tokens(TITLE_END))
        if not self._index.find(mark).count:
            return set()
        written = self._written(source, self._settings.title_tokens, [self._model.end])
        return {tokens for tokens in written if tokens[-len(mark) :] == mark}

    def _query_ngrams(self, query: str) -> set[tuple[int, ...]]:
        """Word n-grams of up to three words that the corpus holds, as they are and capitalised."""
        words = re.findall(r"\w+", query)
        spans = [words[i : i + n] for n in (1, 2, 3) for i in range(len(words) - n + 1)]
        texts = {" ".join(part) for part in spans}
        texts |= {" ".join(word[:1].upper() + word[1:] for word in part) for part in spans}
        found = {tuple(self._model.tokens(text)) for text in texts}
        return {tokens for tokens in found if tokens and self._index.find(tokens).count}

    def _scored(self, source: str, keys: set[tuple[int, ...]]) -> Logprobs:
        """The model's log-probability of each key after *source*, read in one teacher-forced pass."""
        order = sorted(key for key in keys if key)
        values = self._model.sequence_logprobs(source, order) if order else np.empty(0)
        return dict(zip(order, values.tolist(), strict=True))

    def _keys(self, logprobs: Logprobs) -> list[Key]:
        s, tokens = self._settings, list(logprobs)
        spans = [self._index.find(key) for key in tokens]
        given, counts = np.array(list(logprobs.values())), np.array([span.count for span in spans], float)
        if s.scoring == "lm":
            weights = np.where(counts > 0, np.exp(np.maximum(given, -600.0)), 0.0)
        else:
            weights = key_weight(given, counts, len(self._index), s.smoothing, s.power)
        return [Key(key, span, weight) for key, span, weight in zip(tokens, spans, weights, strict=True)]

    def _unigrams(self, source: str, most: int) -> tuple[Doubles, list[Key]]:
        """(float64[vocabulary] weights of likely first tokens, without the power; the best as keys)."""
        s, index = self._settings, self._index
        logprobs = self._model.next_logprobs(source, [()])[0].astype(np.float64)
        kept = np.argsort(-logprobs, kind="stable")[: s.unigrams]
        ends = np.minimum(np.arange(len(logprobs) + 1) + 1, len(index.before) - 1)
        counts = np.diff(index.before[ends]).astype(float)
        weights = np.zeros(len(logprobs))
        weights[kept] = key_weight(logprobs[kept], counts[kept], len(index), s.smoothing, 1.0)
        best = [int(token) for token in kept[np.argsort(-weights[kept], kind="stable")[:most]]]
        keys = [Key((t,), index.find((t,)), float(weights[t])) for t in best if weights[t] > 0]
        return weights, keys
