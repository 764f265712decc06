"""LATTICE: a language model walks a semantic tree of the corpus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt

from harness.adapter import Context, Need, Paper
from harness.answers import PAD, Answers, Ints, Rankings
from harness.dense import DenseAdapter, DenseSettings, DenseVectors
from harness.errors import TouchstoneError
from harness.judges import Cosine, Likelihood, Reader, Slates
from harness.models.language import LanguageModelSpec, language_model_identity
from harness.semantic_tree import SemanticTree, TreeSpec, build_tree
from harness.spec import Json, Kind
from harness.tasks.base import Task, blocks
from harness.tasks.rank import RankTask
from harness.tree_search import Walk, WalkSpec

CODE_VERSION = 1  # raise when a change in the tree's making can move it
Doubles = npt.NDArray[np.float64]
Judge = Callable[[str, Sequence[int]], list[float]]
TASK = "A candidate is relevant when it, or a passage of its group, would help to answer the query."


@dataclass(frozen=True)
class Settings(DenseSettings):
    """The walk as in the paper's code; the encoder settings are those of the tree's vectors."""

    judge: Annotated[
        Literal["language-model", "likelihood", "encoder"],
        "who scores a slate: a language model in JSON; its likelihood of the query after a candidate, or the "
        "cosine with it (both adapted)",
    ] = "language-model"
    language_model: Annotated[str, "for the first two judges: hub id, folder, server, or stories260K"] = (
        "Qwen/Qwen3-4B-Instruct-2507"
    )
    language_model_revision: Annotated[str, "commit, tag or branch of its hub id"] = ""
    instruction: Annotated[str, "what counts as relevant, told to the language model"] = TASK
    words: Annotated[int, "words of a document that a judge sees"] = 80
    max_new_tokens: Annotated[int, "of a judgement"] = 1024
    branching: Annotated[int, "most children of a node"] = 12
    iterations: Annotated[int, "rounds of opening nodes"] = 20
    beam: Annotated[int, "nodes opened a round"] = 2
    path: Annotated[float, "share of a node's own score in its path relevance (f)"] = 0.5
    calibration: Annotated[int, "leaves seen before that are shown again"] = 10
    fit: Annotated[float, "share of the squared error in the calibration's loss (lambda)"] = 1.0
    calibrated: Annotated[bool, "rank leaves by fitted scores"] = True
    beam_score: Annotated[Literal["local", "calibrated"], "scores that the beam goes by"] = "local"
    rerank: Annotated[int, "best leaves that are judged once more together at the end; 0: none"] = 0

    @property
    def walk(self) -> WalkSpec:
        """The settings of the walk."""
        return WalkSpec(**{f.name: getattr(self, f.name) for f in fields(WalkSpec) if f.name != "seed"})

    def language_spec(self, device: str = "cpu") -> LanguageModelSpec:
        """The judge's model."""
        return LanguageModelSpec(self.language_model, self.language_model_revision, device=device)


class Lattice(DenseAdapter):
    """At most iterations x beam slates are judged a query, however large the corpus is."""

    name = "lattice"
    family = "reasoning"
    kinds = frozenset({Kind.RANK})
    about = "A language model walks a semantic tree of the corpus, its scores calibrated across slates."
    paper = Paper("LLM-guided Hierarchical Retrieval", 2025, "https://arxiv.org/abs/2510.13217")
    Settings = Settings

    def check(self) -> None:
        """Settings that can work."""
        super().check()
        s = self.settings
        if s.branching < 2 or s.beam < 1 or s.iterations < 1 or not 0 < s.fit <= 1 or not 0 <= s.path <= 1:
            raise TouchstoneError(
                "settings out of range",
                where=self.name,
                fix="branching >= 2, beam >= 1, iterations >= 1, 0 < fit <= 1, 0 <= path <= 1",
            )

    def made_with(self) -> dict[str, Json]:
        """The encoder's identity, the judge's and the code of the tree."""
        made = {**super().made_with(), "tree": CODE_VERSION}
        if self.settings.judge != "encoder":
            made["language_model"] = language_model_identity(self.settings.language_spec())
        return made

    def need(self, task: Task) -> Need:
        """The encoder's, and the judge's."""
        need = super().need(task)
        if self.settings.judge == "encoder":
            return need
        return need + Need.of_language_model(self.settings.language_spec())

    def notes(self, task: Task) -> tuple[str, ...]:
        """Who judged, and what is not the paper's."""
        s = self.settings
        judges = {
            "language-model": f"the judge is {s.language_model}, not the paper's gemini-2.5-flash",
            "likelihood": f"(adapted) the judge is the likelihood of the query by {s.language_model}",
            "encoder": "(adapted) the judge is the encoder's cosine: no language model takes part",
        }
        tree = "(adapted) the tree is k-means over vectors, described by titles and terms"
        return (
            *super().notes(task),
            judges[s.judge],
            f"{tree}; the paper's way is not published",
        )

    def run(self, task: Task, context: Context) -> Iterator[Answers]:
        """Blocks of 8 queries."""
        assert isinstance(task, RankTask)
        vectors = self.vectors(task, context)
        with context.meter.phase("index"):
            tree = self._tree(task, vectors)
        judge = self._judge(task, vectors, tree, context)

        def counted(query: str, nodes: Sequence[int]) -> list[float]:
            context.meter.count("slates judged")
            return judge(query, nodes)

        done = 0
        for items in blocks(task.items, 8):
            docs = np.full((len(items), task.search_depth), PAD, np.int32)
            scores = np.full(docs.shape, -np.inf, np.float32)
            for row, item in enumerate(items.tolist()):
                with context.meter.phase("search"):
                    found, values = self._walked(task, item, tree, counted)
                found = found[: task.search_depth]
                docs[row, : len(found)], scores[row, : len(found)] = found, values[: len(found)]
            done += len(items)
            context.progress("walk", done, len(task.items))
            yield task.check(Rankings(items, docs, scores))

    def _walked(self, task: RankTask, item: int, tree: SemanticTree, judge: Judge) -> tuple[Ints, Doubles]:
        hidden = frozenset(task.hidden_from(item).tolist())
        query = task.query_texts[item]
        walk = Walk(tree, lambda nodes: judge(query, nodes), self.settings.walk, hidden)
        docs, scores = walk.run()
        count = min(self.settings.rerank, len(docs))
        if count:
            again = np.asarray(judge(query, [tree.inner + int(doc) for doc in docs[:count]]))
            order = np.argsort(-again, kind="stable")
            docs[:count] = docs[:count][order]
            scores[:count] = again[order] + max(0.0, float(scores.max())) + 1.0
        return docs, scores

    def _tree(self, task: RankTask, vectors: DenseVectors) -> SemanticTree:
        spec = TreeSpec(self.settings.branching)
        key: dict[str, Json] = {
            "encoder": vectors.encoder.identity,
            "corpus": task.corpus.digest,
            "branching": spec.branching,
            "code": CODE_VERSION,
        }

        def make(folder: Path) -> None:
            build_tree(vectors.documents, task.corpus, spec).save(folder)

        return SemanticTree.open(vectors.context.asset("semantic-tree", key, make).path)

    def _judge(self, task: RankTask, vectors: DenseVectors, tree: SemanticTree, context: Context) -> Judge:
        s, slates = self.settings, Slates(task, tree, self.settings.words)
        if s.judge == "encoder":
            return Cosine(tree, vectors).scores
        model = context.language_model(s.language_spec(context.device))
        if s.judge == "likelihood":
            return Likelihood(model, slates).scores
        return Reader(model, slates, context, s.instruction, s.max_new_tokens).scores
