"""Whether the papers' directions show at small scale: paired differences with 95 % bootstrap intervals.

    python -m benchmarks.method_directions --task classic/cranfield --task beir/scifact

Every query is answered by what never saw it (cross-fitting, where a method learns). What is stored
in the results folder is not run again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.assets import Assets, cache_root
from harness.catalog import Catalog
from harness.execute import Session
from harness.registry import parse_method
from harness.spec import RunSpec
from harness.stats import compare_paired
from harness.store import Store

# A masked-LM head fitted to the packaged encoder and trained on the task's documents alone (papers-small).
SPARSE = (
    "train=corpus,model=all-MiniLM-L6-v2,precision=bf16,max_length=128,pairs=640,batch=8,train_length=48,"
    "layers=2"
)
# (what the paper says, better method, worse method, measure)
DIRECTIONS = (
    (
        "interpolation after feedback > none",
        "prf-interpolation(where=post)",
        "prf-interpolation(where=none)",
        "AP",
    ),
    ("interpolation on both sides > none", "prf-interpolation", "prf-interpolation(where=none)", "AP"),
    ("after > before, recall", "prf-interpolation(where=post)", "prf-interpolation(where=pre)", "R@100"),
    ("feedback alone > dense", "prf-interpolation(where=alone)", "dense", "AP"),
    ("RM3 > BM25", "rm3", "bm25-lucene", "AP"),
    ("trained feedback encoder > base", "ance-prf-repro", "dense", "nDCG@10"),
    ("adapted > base at small k", "adder", "adder(rank=0)", "nDCG@3"),
    ("query-dependent > raw cosine", "cosine-adapter", "cosine-adapter(mapping=raw)", "PR-AUC"),
    ("query-dependent > raw cosine", "cosine-adapter", "cosine-adapter(mapping=raw)", "P@R95"),
    (
        "mixture > one vector",
        "knn-embed(history=judged,mode=mixture)",
        "knn-embed(history=judged,mode=unimodal)",
        "held-out R@50",
    ),
    (
        "smoothed > unsmoothed",
        "knn-embed(history=judged)",
        "knn-embed(history=judged,mode=mixture)",
        "held-out R@50",
    ),
    (
        "training > fitted head",
        f"inference-free-sparse({SPARSE},rate=0.00003)",
        f"inference-free-sparse({SPARSE},rate=0.0000001)",
        "nDCG@10",
    ),
    (
        "IDF-aware > plain",
        f"inference-free-sparse({SPARSE},rate=0.00003)",
        f"inference-free-sparse({SPARSE},rate=0.00003,idf=none)",
        "nDCG@10",
    ),
    (
        "doc2query > BM25",
        "doc2query(model=stories260K,queries=2,source_tokens=96,tokens=12)",
        "bm25-lucene",
        "nDCG@10",
    ),
)


def main() -> None:
    """Run what is missing and print one Markdown row a direction and task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--task", action="append", default=[])
    parser.add_argument("--results", type=Path, default=Path("build/method-directions"))
    options = parser.parse_args()
    session = Session(Catalog(), Store(options.results), Assets(cache_root()))
    print("| task | direction | measure | better | worse | difference [95 %] | p |\n" + "|---" * 7 + "|")
    for task in options.task or ["classic/cranfield"]:
        for what, better, worse, measure in DIRECTIONS:
            a, b = (column(session, task, method, measure) for method in (better, worse))
            if a is None or b is None:
                continue
            found = compare_paired(a, b)
            print(
                f"| {task} | {what} | {measure} | {found.mean_a:.4f} | {found.mean_b:.4f} | "
                f"{found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}] | {found.p_value:.4f} |",
                flush=True,
            )


def column(session: Session, task: str, method: str, measure: str) -> npt.NDArray[np.float64] | None:
    """float64[n] of one measure, None where the task does not have it."""
    planned = session.plan(RunSpec(parse_method(method), session.catalog.task(task)))
    record = session.store.done(planned.id, task, planned.run.method.name) or session.execute(
        planned, lambda *_: None
    )
    frame = session.store.items(record)
    return frame[measure].to_numpy(np.float64) if measure in frame else None


if __name__ == "__main__":
    main()
