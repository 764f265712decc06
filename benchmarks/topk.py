"""Exact search beside faiss' flat index and the heaps of BEIR and MTEB: ``python -m benchmarks.topk``.

200,000 documents and 1,000 queries of 384 numbers, drawn at random. MTEB's side is its own code (the merge
that BEIR wrote): torch's topk of each block of 50,000 documents, then a heap of pairs a query. It is handed
finished vectors, and its reading of texts is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import click
import faiss
import numpy as np
import torch

from benchmarks.timing import alternated, heading, report
from harness.search import SearchSpec, top_k


@click.command()
@click.option("--documents", default=200_000, show_default=True)
@click.option("--rounds", default=3, show_default=True)
def main(documents: int, rounds: int) -> None:
    """k=100 and k=1000, all cores on either side."""
    heading("numpy", "torch", "numba", "faiss-cpu", "mteb")
    random = np.random.default_rng(0)
    docs = random.standard_normal((documents, 384), dtype=np.float32)
    docs /= np.linalg.norm(docs, axis=1, keepdims=True)
    queries = docs[:1000] + 0.05 * random.standard_normal((1000, 384), dtype=np.float32)
    precedence = random.permutation(documents).astype(np.int32)
    index = faiss.IndexFlatIP(384)
    index.add(docs)
    top_k(queries[:20], docs[:5000], SearchSpec(10), precedence[:5000].argsort().argsort().astype(np.int32))
    on_torch, every = torch.from_numpy(docs), torch.from_numpy(queries)
    merge = mteb_merge(queries, docs)
    for k in (100, 1000):
        sides = {
            "Touchstone": lambda k=k: top_k(queries, docs, SearchSpec(k), precedence),
            "faiss flat": lambda k=k: index.search(queries, k),
            "mteb": lambda k=k: merge(k),
            "torch, one product, topk": lambda k=k: (every @ on_torch.T).topk(k, dim=1),
        }
        report(f"1,000 queries, {documents:,} x 384, k={k}", alternated(sides, rounds), "Touchstone", 1000)


def mteb_merge(queries: np.ndarray, docs: np.ndarray) -> Callable[[int], Any]:
    """mteb's search of all chunks, as a function of k."""
    import mteb
    from datasets import Dataset
    from mteb.models import search_wrappers

    chunk, every = 50_000, torch.from_numpy(queries)
    names = [f"d{number}" for number in range(len(docs))]
    corpus = Dataset.from_dict({"id": names, "title": [""] * len(docs), "text": ["x"] * len(docs)})
    metadata = mteb.get_task("SciFact").metadata

    def search(k: int) -> Any:
        starts = iter(range(0, len(docs), chunk))

        def encoded(*_: Any, **__: Any) -> torch.Tensor:
            start = next(starts)
            return torch.from_numpy(docs[start : start + chunk])

        with mock.patch.object(search_wrappers, "create_dataloader", lambda *_, **__: None):
            return search_wrappers.chunked_full_corpus_search(
            task_corpus=corpus, corpus_chunk_size=chunk, query_embeddings=every,
            query_idx_to_id={number: f"q{number}" for number in range(len(queries))},
            task_metadata=metadata, hf_subset="default", hf_split="test", top_k=k,
            encode_kwargs={"show_progress_bar": False, "batch_size": 32},
            encode_fn=encoded, similarity_fn=lambda a, b: a @ b.T,
        )  # fmt: skip

    return search


if __name__ == "__main__":
    main()
