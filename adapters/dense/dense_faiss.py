"""Dense retrieval by an approximate index of faiss, with its recall against exact search."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import numpy as np

from harness.adapter import Context, Need, Paper
from harness.answers import PAD, Answers, Floats, Ints, Rankings
from harness.dense import DenseAdapter, DenseSettings, DenseVectors
from harness.errors import MissingExtra
from harness.meter import package_version
from harness.spec import Json, Kind
from harness.tasks.base import Task, blocks
from harness.tasks.rank import RankTask

BLOCK = 1024
TRAINED = 256  # vectors a list of IVF is trained on, at most


@dataclass(frozen=True)
class FaissSettings(DenseSettings):
    """The encoder's settings, and those of the index."""

    index: Annotated[Literal["hnsw", "ivf"], "graph of neighbours, or lists of a quantiser"] = "hnsw"
    links: Annotated[int, "hnsw: links a vector"] = 32
    build_width: Annotated[int, "hnsw: candidates looked at when building"] = 200
    search_width: Annotated[int, "hnsw: candidates looked at when searching; k when k is larger"] = 200
    lists: Annotated[int, "ivf: lists; 0 for 4 times the square root of the documents"] = 0
    probes: Annotated[int, "ivf: lists that a query searches"] = 32
    compared: Annotated[int, "queries that are also searched exactly, for the recall"] = 200


class DenseFaiss(DenseAdapter):
    """Dot products with the documents that the index leads to. Its build runs on one thread, so that it
    repeats.
    """

    name = "dense-faiss"
    family = "dense"
    kinds = frozenset({Kind.RANK})
    about = "A sentence encoder and approximate search by faiss (HNSW or IVF); its recall is counted."
    paper = Paper(
        "Efficient and robust approximate nearest neighbor search using Hierarchical Navigable Small World "
        "graphs",
        2016,
        "https://arxiv.org/abs/1603.09320",
    )
    extras = ("neural", "faiss")
    Settings = FaissSettings
    settings: FaissSettings

    def check(self) -> None:
        """torch, transformers and faiss are installed."""
        super().check()
        if not package_version("faiss-cpu") and not package_version("faiss-gpu"):
            raise MissingExtra(self.name, "faiss", "faiss")

    def made_with(self) -> dict[str, Json]:
        """The encoder's identity and faiss' version."""
        return {**super().made_with(), "faiss": package_version("faiss-cpu") or package_version("faiss-gpu")}

    def need(self, task: Task) -> Need:
        """As ``dense``, and the vectors once more in the index; the index is on the processor."""
        need = super().need(task)
        more = len(task.corpus) * (768 * 4 + 8 * self.settings.links) if isinstance(task, RankTask) else 0
        return Need(need.bytes + more, need.device_bytes, model=need.model, assets=need.assets)

    def notes(self, task: Task) -> tuple[str, ...]:
        """How to read the counts."""
        told = "recall against exact search is exact_found of exact_asked in the counts"
        return (*super().notes(task), f"{told}, from the first {self.settings.compared} queries of a block")

    def run(self, task: Task, context: Context) -> Iterator[Answers]:
        """Blocks of BLOCK queries."""
        import faiss

        assert isinstance(task, RankTask)
        vectors = self.vectors(task, context)
        with context.meter.phase("index"):
            own = {key: asdict(self.settings)[key] for key in ("index", "links", "build_width", "lists")}
            key: dict[str, Json] = {"corpus": task.corpus.digest, "made": self.made_with(), **own}
            asset = context.asset("faiss", key, lambda folder: self._build(vectors.documents, folder))
            index = faiss.read_index(str(asset.path / "index.faiss"))
        left = self.settings.compared
        for items in blocks(task.items, BLOCK):
            with context.meter.phase("search"):
                queries = vectors.encode(task.select(items).queries())
                docs, scores = self._search(index, queries, task.search_depth)
            self._compare(vectors, queries[:left], docs[:left], context)
            left = max(0, left - len(items))
            yield Rankings(items, docs, scores)

    def _build(self, documents: Any, folder: Path) -> None:
        import faiss

        s, n, width = self.settings, len(documents), documents.shape[1]
        threads, index = faiss.omp_get_max_threads(), cast(Any, None)
        faiss.omp_set_num_threads(1)
        try:
            if s.index == "hnsw":
                index = faiss.IndexHNSWFlat(width, s.links, faiss.METRIC_INNER_PRODUCT)
                index.hnsw.efConstruction = s.build_width
            else:
                lists = min(n, s.lists or max(1, round(4 * n**0.5)))
                index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, lists, faiss.METRIC_INNER_PRODUCT)
                index.cp.min_points_per_centroid = 1
                chosen = np.random.default_rng(0).permutation(n)[: lists * TRAINED]
                index.train(np.asarray(documents[np.sort(chosen)]))
            for start in range(0, n, BLOCK):
                index.add(np.asarray(documents[start : start + BLOCK]))
            faiss.write_index(index, str(folder / "index.faiss"))
        finally:
            faiss.omp_set_num_threads(threads)

    def _search(self, index: Any, queries: Floats, k: int) -> tuple[Ints, Floats]:
        """As ``top_k``: int32[q, k] and float32[q, k], PAD and -inf where the index led to fewer."""
        if self.settings.index == "hnsw":
            index.hnsw.efSearch = max(k, self.settings.search_width)
        else:
            index.nprobe = self.settings.probes
        scores, docs = index.search(queries, k)
        return docs.astype(np.int32), np.where(docs == PAD, -np.inf, scores).astype(np.float32)

    def _compare(self, vectors: DenseVectors, queries: Floats, docs: Ints, context: Context) -> None:
        """Count how many of the exact best documents were found. A phase of its own: no part of a search."""
        if not len(queries):
            return
        with context.meter.phase("compare"):
            exact, _ = vectors.search(queries, docs.shape[1])
            context.meter.count("exact_asked", int((exact != PAD).sum()))
            both = zip(exact, docs, strict=True)
            context.meter.count(
                "exact_found", sum(int(np.isin(row[row != PAD], found).sum()) for row, found in both)
            )
