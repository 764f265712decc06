"""Adder: frozen embeddings plus a low-rank residual learned for the task."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt

from harness.adapter import Context, Paper
from harness.answers import Answers, Floats, Ints, Rankings
from harness.dense import DenseAdapter, DenseSettings, DenseVectors
from harness.errors import TouchstoneError
from harness.folds import Fold, assigned, folds_note, positives
from harness.measures import parse_measure, score_rankings
from harness.scores import Scores
from harness.search import SearchSpec, top_k
from harness.spec import Json, Kind
from harness.tasks.base import Task
from harness.tasks.rank import RankTask
from harness.training import Longs, TrainSpec, trained

SMALL_K = ("R@1", "R@3", "R@5", "nDCG@3")  # a large cut-off hides what the residual does
EVERY = 50_000  # documents up to which all of them are negatives


@dataclass(frozen=True)
class Settings(DenseSettings):
    """The residual and its training."""

    similarity: Annotated[Literal["auto", "cosine", "dot"], "of two vectors; the method's is cosine"] = (
        "cosine"
    )
    side: Annotated[
        Literal["query", "corpus", "both", "shared"], "which vectors get a residual; shared: one for both"
    ] = "query"
    rank: Annotated[int, "of the residual; 0 for none"] = 16
    bias: Annotated[bool, "also a shift, the same for all texts"] = False
    temperature: Annotated[float, "of the softmax over documents"] = 0.05
    penalty: Annotated[float, "lambda of the residual's squared Frobenius norm"] = 1e-4
    negatives: Annotated[int, "mined a query, where the corpus is too large to take all of it"] = 32
    epochs: Annotated[int, "at most; training stops when nDCG@3 of held-out queries no longer rises"] = 100
    batch: Annotated[int, "queries a step"] = 32
    rate: Annotated[float, "learning rate"] = 1e-3
    folds: Annotated[int, "parts of the task's queries; each is answered by what the others taught"] = 5


class Adder(DenseAdapter):
    """e + B A e on either side, B zero at the start, then cosine; InfoNCE over the whole corpus."""

    name = "adder"
    family = "dense"
    kinds = frozenset({Kind.RANK})
    about = (
        "A low-rank residual on frozen embeddings, learned from a few judged queries of the task (adapted)."
    )
    paper = Paper("Augmented Embeddings for Custom Retrievals", 2023, "https://arxiv.org/abs/2310.05380")
    Settings = Settings

    def check(self) -> None:
        """Numbers that mean something."""
        super().check()
        s = self.settings
        if s.rank < 0 or s.temperature <= 0:
            where = f"rank={s.rank}, temperature={s.temperature}"
            raise TouchstoneError(
                "the residual cannot be made", where=where, fix="rank >= 0, temperature > 0"
            )

    def notes(self, task: Task) -> tuple[str, ...]:
        """The model, and what is not the paper's."""
        return (
            *super().notes(task),
            folds_note(self.settings.folds),
            "(adapted) form of the residual, loss and hyper-parameters: the paper's are not known",
            "the gain over the base is within its interval on small collections (benchmarks/README.md)",
        )

    def run(self, task: Task, context: Context) -> Iterator[Answers]:
        """One block a fold."""
        assert isinstance(task, RankTask)
        vectors = self.vectors(task, context)
        queries = vectors.all_queries(task)
        search = SearchSpec(task.search_depth, context.device)
        for number, fold, items in assigned(task, self.settings.folds):
            with context.meter.phase("train"):
                residuals = self._residuals(task, vectors, fold, number)
            with context.meter.phase("search"):
                moved = adapted(queries[items], residuals.get("query"))
                documents = adapted(vectors.documents, residuals.get("corpus"))
                yield Rankings(items, *top_k(moved, documents, search, vectors.precedence))

    def score(self, task: Task, answers: Answers) -> Scores:
        """Also at small cut-offs; seen_targets: items that share a relevant document with their training."""
        assert isinstance(task, RankTask)
        names = (*task.spec.measures, *(name for name in SMALL_K if name not in task.spec.measures))
        scores = replace(task, spec=replace(task.spec, measures=names)).score(answers)
        seen = 0
        for _, fold, items in assigned(task, self.settings.folds):
            taught = np.unique(np.concatenate(positives(task, fold.train)))
            seen += sum(bool(np.isin(docs, taught).any()) for docs in positives(task, items))
        return replace(scores, counts={**scores.counts, "seen_targets": seen})

    def _residuals(
        self, task: RankTask, vectors: DenseVectors, fold: Fold, number: int
    ) -> dict[str, tuple[Floats, Floats, Floats]]:
        """(A [r, d], B [d, r], b [d]) of each side that has a residual."""
        s = self.settings
        if not s.rank and not s.bias:
            return {}
        identity = self.learned(task, vectors, number)
        learner = Residual(task, vectors, fold, s, identity)
        spec = TrainSpec(s.epochs, s.batch, s.rate, weight_decay=0.0, patience=5)
        module, _ = trained(vectors.context, learner, spec, f"adder, fold {number + 1}")
        state = {name: value.detach().cpu().numpy() for name, value in module.items()}
        shared = s.side == "shared"
        sides = ("query", "corpus") if s.side in ("both", "shared") else (s.side,)
        return {
            side: tuple(state[f"{'query' if shared else side}_{part}"] for part in ("a", "b", "bias"))
            for side in sides
        }


def adapted(
    vectors: npt.NDArray[np.float32], residual: tuple[Floats, Floats, Floats] | None
) -> npt.NDArray[np.float32]:
    """vectors [n, d] + B A vectors + b, normalised; untouched, to the bit, where the residual is zero."""
    if residual is None or not any(part.any() for part in residual[1:]):
        return vectors
    a, b, bias = residual
    moved = vectors + vectors @ a.T @ b.T + bias
    scaled: Floats = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    return scaled


class Residual:
    """Trains the residuals on the queries of a fold; all documents are negatives, or a mined pool of them."""

    def __init__(
        self, task: RankTask, vectors: DenseVectors, fold: Fold, settings: Settings, identity: dict[str, Json]
    ) -> None:
        import torch

        self.identity, self.settings, self.task = identity, settings, task
        self.device = vectors.context.device
        queries = vectors.all_queries(task)
        wanted = positives(task, fold.train)
        self.items = fold.train[[bool(len(docs)) for docs in wanted]]
        wanted = [docs for docs in wanted if len(docs)]
        self.pool = self._pool(vectors, queries[self.items], wanted)
        pooled = np.asarray(vectors.documents[self.pool])
        _, copies = np.unique(pooled, axis=0, return_inverse=True)  # equal texts have equal vectors
        places = [np.searchsorted(self.pool, docs) for docs in wanted]
        width = max((len(place) for place in places), default=0)
        rows = [np.pad(place, (0, width - len(place)), mode="edge") for place in places]
        self.positive = torch.from_numpy(np.array(rows, np.int64)).to(self.device)  # repeats fill up
        self.counted = torch.arange(width) < torch.tensor([[len(place)] for place in places])
        self.same = torch.from_numpy(np.array([np.isin(copies, copies[place]) for place in places]))
        self.documents = torch.from_numpy(pooled).to(self.device)
        self.queries = torch.from_numpy(queries[self.items]).to(self.device)
        self.dev = fold.dev
        self.dev_queries = torch.from_numpy(queries[fold.dev]).to(self.device)

    def _pool(self, vectors: DenseVectors, queries: Floats, wanted: list[Ints]) -> Ints:
        n = len(vectors.documents)
        if n <= EVERY or not len(queries):
            return np.arange(n, dtype=np.int32)
        mined, _ = vectors.search(queries, self.settings.negatives)
        return np.unique(np.concatenate([mined.ravel(), *wanted])).astype(np.int32)

    def __len__(self) -> int:
        return len(self.items)

    def start(self) -> Any:
        """A ~ N(0, 1/d), B and the shift 0: at the start nothing moves."""
        import torch

        s, d = self.settings, int(self.queries.shape[1])
        sides = ("query", "corpus") if s.side == "both" else ("corpus" if s.side == "corpus" else "query",)
        parts = {}
        for side in sides:
            parts[f"{side}_a"] = torch.nn.Parameter(torch.randn(s.rank, d) / d**0.5)
            parts[f"{side}_b"] = torch.nn.Parameter(torch.zeros(d, s.rank))
            parts[f"{side}_bias"] = torch.nn.Parameter(torch.zeros(d), requires_grad=s.bias)
        return torch.nn.ParameterDict(parts).to(self.device)

    def moved(self, module: Any, vectors: Any, side: str) -> Any:
        """Vectors of a side as the module moves them, of length 1."""
        import torch

        s = self.settings
        name = "query" if s.side == "shared" else side
        if s.side not in (side, "both", "shared"):
            return vectors
        shift = vectors @ module[f"{name}_a"].T @ module[f"{name}_b"].T + module[f"{name}_bias"]
        return torch.nn.functional.normalize(vectors + shift, dim=1)

    def loss(self, module: Any, rows: Longs) -> Any:
        """InfoNCE of each positive against all documents but the query's other positives and its copies."""
        import torch

        s = self.settings
        chosen = torch.from_numpy(rows).to(self.device)
        queries = self.moved(module, self.queries[chosen], "query")
        logits = queries @ self.moved(module, self.documents, "corpus").T / s.temperature
        masked = logits.masked_fill(self.same[rows].to(self.device), -torch.inf)
        own = logits.gather(1, self.positive[chosen])
        losses = torch.logaddexp(own, masked.logsumexp(1, keepdim=True)) - own
        counted = self.counted[rows].to(self.device)
        losses = (losses * counted).sum(1) / counted.sum(1)
        products = [
            module[f"{side}_b"] @ module[f"{side}_a"] for side in ("query", "corpus") if f"{side}_a" in module
        ]
        return losses.mean() + s.penalty * sum(product.square().sum() for product in products)

    def quality(self, module: Any) -> float:
        """nDCG@3 of the held-out queries over the pool."""
        queries = self.moved(module, self.dev_queries, "query")
        scores = queries @ self.moved(module, self.documents, "corpus").T
        values, places = scores.topk(min(3, len(self.pool)), dim=1)
        ranked = Rankings(self.dev, self.pool[places.cpu().numpy()], values.cpu().numpy())
        return float(score_rankings([parse_measure("nDCG@3")], self.task.qrels, ranked)[self.dev, 0].mean())
