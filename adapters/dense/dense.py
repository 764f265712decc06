"""Dense retrieval with one vector a text: a sentence encoder and exact search over the whole corpus."""

from __future__ import annotations

from collections.abc import Iterator

from harness.adapter import Context, Paper
from harness.answers import Answers, Rankings
from harness.dense import DenseAdapter, DenseSettings
from harness.spec import Kind
from harness.tasks.base import Task, blocks
from harness.tasks.rank import RankTask

BLOCK = 1024


class Dense(DenseAdapter):
    """Dot products of query and document vectors, all documents scored."""

    name = "dense"
    family = "dense"
    kinds = frozenset({Kind.RANK})
    about = "A sentence encoder and exact search: dot product or cosine, as the model says."
    paper = Paper(
        "Sentence-BERT: Sentence embeddings using Siamese BERT-networks",
        2019,
        "https://arxiv.org/abs/1908.10084",
    )
    Settings = DenseSettings

    def run(self, task: Task, context: Context) -> Iterator[Answers]:
        """Blocks of BLOCK queries."""
        assert isinstance(task, RankTask)
        vectors = self.vectors(task, context)
        for items in blocks(task.items, BLOCK):
            with context.meter.phase("search"):
                queries = vectors.queries(task.select(items))
                answers = Rankings(items, *vectors.search(queries, task.search_depth))
            yield answers
