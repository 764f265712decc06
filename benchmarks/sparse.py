"""The inverted index of learned-sparse vectors beside Lucene's: ``python -m benchmarks.sparse``.

Vectors are made: terms drawn by Zipf's law over 30,522 (BERT's vocabulary), 120 a document and 24 a query as
SPLADE gives, whole weights from 1 to 255.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np

from benchmarks.timing import alternated, heading, report
from harness.impacts import build_impacts, search_impacts
from harness.sparse import SparseRows, build_sparse, search_plain, search_sparse

TERMS = 30_522


def made(n: int, size: int, seed: int) -> SparseRows:
    random = np.random.default_rng(seed)
    chances = 1.0 / np.arange(1, TERMS + 1) ** 0.9
    terms = random.choice(TERMS, n * size, p=chances / chances.sum()).astype(np.int32)
    weights = random.integers(1, 100, n * size).astype(np.float32)
    return SparseRows(np.arange(n + 1, dtype=np.int64) * size, terms, weights).merged()


@click.command()
@click.option("--documents", default=50_000, show_default=True)
@click.option("--rounds", default=2, show_default=True)
def main(documents: int, rounds: int) -> None:
    """Build once, search 200 queries in turn; the rankings must be the same."""
    heading("numpy", "numba", "pyserini")
    rows, queries = made(documents, 120, 0), made(200, 24, 1)
    order = np.arange(documents, dtype=np.int32)
    with TemporaryDirectory() as name:
        root, kept = Path(name), dict[str, Any]()
        (root / "lucene").mkdir()

        def ours() -> None:
            kept["ours"] = build_sparse([rows], root / "ours")

        def lucene() -> None:
            kept["lucene"] = build_impacts(kept["ours"], root / "lucene", threads=1)

        taken = alternated({"Touchstone": ours, "Lucene": lucene}, 1)
        report(f"Building, {documents:,} documents of 120 terms", taken, "Touchstone", documents)
        for k in (100, 1000):
            search_sparse(kept["ours"], queries, k)
            sides = {
                "Touchstone, numba": lambda k=k: search_sparse(kept["ours"], queries, k),
                "Touchstone, numpy": lambda k=k: search_plain(kept["ours"], queries, k, order),
                "Lucene, with its start": lambda k=k: search_impacts(kept["lucene"], queries, k),
            }
            taken = alternated(sides, rounds)
            report(f"200 queries, {documents:,} documents, k={k}", taken, "Touchstone, numba", 200)
        for found, expected in zip(
            search_impacts(kept["lucene"], queries, 100),
            search_sparse(kept["ours"], queries, 100),
            strict=True,
        ):
            np.testing.assert_array_equal(found, expected)


if __name__ == "__main__":
    main()
