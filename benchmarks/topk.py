"""Exact search beside faiss' flat index and the heaps of BEIR and MTEB: ``python -m benchmarks.topk``.

200,000 documents and 1,000 queries of 384 numbers, drawn at random. The merge of BEIR and MTEB is theirs
where one of them is installed: torch's topk of each block of documents, and a heap of pairs a query.
"""

from __future__ import annotations

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
    heading("numpy", "torch", "numba", "faiss-cpu")
    random = np.random.default_rng(0)
    docs = random.standard_normal((documents, 384), dtype=np.float32)
    docs /= np.linalg.norm(docs, axis=1, keepdims=True)
    queries = docs[:1000] + 0.05 * random.standard_normal((1000, 384), dtype=np.float32)
    precedence = random.permutation(documents).astype(np.int32)
    index = faiss.IndexFlatIP(384)
    index.add(docs)
    top_k(queries[:20], docs[:5000], SearchSpec(10), precedence[:5000].argsort().argsort().astype(np.int32))
    on_torch, every = torch.from_numpy(docs), torch.from_numpy(queries)
    for k in (100, 1000):
        sides = {
            "Touchstone": lambda k=k: top_k(queries, docs, SearchSpec(k), precedence),
            "faiss flat": lambda k=k: index.search(queries, k),
            "torch, one product, topk": lambda k=k: (every @ on_torch.T).topk(k, dim=1),
        }
        report(f"1,000 queries, {documents:,} x 384, k={k}", alternated(sides, rounds), "Touchstone", 1000)


if __name__ == "__main__":
    main()
