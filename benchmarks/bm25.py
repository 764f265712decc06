"""BM25 beside bm25s (numpy and numba) and Lucene: ``python -m benchmarks.bm25 --documents 50000``.

Documents are made: words drawn with the frequencies they have in trec-dl-pool's passages, which are Zipf's,
as many as a passage drawn at random has. Queries are 1,000 runs of six words of real passages.
"""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import bm25s
import click
import numpy as np
import Stemmer

from benchmarks.timing import alternated, heading, report
from harness.bm25 import Bm25Spec, build_bm25, open_bm25
from harness.data.dataset import mirror
from harness.lucene import IndexSpec, SearchSpec, build_index, search

CORES = len(os.sched_getaffinity(0))


class Texts:
    """A corpus of strings."""

    digest = "made"

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines

    def __len__(self) -> int:
        return len(self.lines)

    def texts(self, start: int, stop: int) -> list[str]:
        return self.lines[start:stop]


def made(documents: int) -> tuple[list[str], list[str]]:
    """(documents, queries)."""
    random = np.random.default_rng(0)
    path = mirror() / "msmarco" / "trec-dl-pool" / "corpus.jsonl.gz"
    with gzip.open(path, "rt") as lines:
        passages = [json.loads(line)["text"].split() for line in lines]
    words = np.array([word for passage in passages for word in passage], dtype=object)
    lengths = random.choice([len(passage) for passage in passages], documents)
    ends = np.cumsum(lengths)
    drawn = words[random.integers(0, len(words), ends[-1])]
    texts = [" ".join(drawn[end - n : end]) for end, n in zip(ends, lengths, strict=True)]
    starts = random.integers(0, len(words) - 6, 1000)
    return texts, [" ".join(words[at : at + 6]) for at in starts]


def their_tokens(texts: list[str]) -> Any:
    return bm25s.tokenize(texts, stemmer=Stemmer.Stemmer("english"), show_progress=False)


def their_index(texts: list[str]) -> Any:
    index = bm25s.BM25(k1=0.9, b=0.4)
    index.index(their_tokens(texts), show_progress=False)
    return index


@click.command()
@click.option("--documents", default=50_000, show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--index-rounds", default=2, show_default=True)
def main(documents: int, rounds: int, index_rounds: int) -> None:
    """Index and search, side by side."""
    heading("bm25s", "numba", "numpy", "pyserini")
    texts, queries = made(documents)
    spec = Bm25Spec()
    numbered = [(str(number), text) for number, text in enumerate(texts)]
    with TemporaryDirectory() as name:
        root, kept = Path(name), dict[str, Any]()

        def fresh(label: str) -> Path:
            folder = root / f"{label}-{len(list(root.iterdir()))}"
            folder.mkdir()
            return folder

        def keep(label: str, value: Any) -> None:
            kept[label] = value

        def ours() -> None:
            folder = fresh("ours")
            build_bm25(Texts(texts), spec, folder)
            keep("ours", open_bm25(folder, spec))

        taken = alternated(
            {
                "Touchstone": ours,
                "bm25s": lambda: keep("bm25s", their_index(texts)),
                f"Lucene, {CORES} threads": lambda: keep(
                    "lucene", build_index(numbered, fresh("lucene"), IndexSpec(threads=CORES))
                ),
            },
            index_rounds,
        )
        report(f"Indexing {documents:,} documents, tokenising included", taken, "Touchstone", documents)
        compiled, plain = kept["bm25s"], their_index(texts) if documents <= 50_000 else kept["bm25s"]

        def theirs(k: int, backend: str) -> Any:
            index = compiled if backend == "numba" else plain
            index.backend = backend
            threads = CORES if backend == "numba" else 0
            return index.retrieve(their_tokens(queries), k=k, show_progress=False, n_threads=threads)

        for k in (100, 1000):
            kept["ours"].search(queries[:2], k)
            compiled.activate_numba_scorer()
            theirs(k, "numba")
            taken = alternated(
                {
                    "Touchstone": lambda k=k: kept["ours"].search(queries, k),
                    "bm25s, numpy": lambda k=k: theirs(k, "numpy"),
                    f"bm25s, numba, {CORES} threads": lambda k=k: theirs(k, "numba"),
                    "Lucene, with its start": lambda k=k: search(kept["lucene"], queries, SearchSpec(k)),
                },
                rounds,
            )
            report(f"1,000 queries, {documents:,} documents, k={k}", taken, "Touchstone", 1000)


if __name__ == "__main__":
    main()
