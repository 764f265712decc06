"""Scoring beside pytrec_eval, ir_measures and ranx: ``python -m benchmarks.scoring``.

A run of 6,980 queries x 1,000 documents of an 8.8 M collection is made, with 2 to 4 judgements a query.
From files: everything from the path of the run to per-query numbers. From what each side holds in memory:
Touchstone's arrays, pytrec_eval's dictionaries, ranx's typed ones.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import ir_measures
import numpy as np
import pytrec_eval
import ranx

from benchmarks.timing import alternated, heading, report
from harness.measures import parse_measure, score_rankings
from harness.trec import join, read_qrels, read_run

NAMES = {"nDCG@10": "ndcg_cut_10", "RR": "recip_rank", "AP": "map", "R@1000": "recall_1000", "P@10": "P_10"}
RANX = ["ndcg@10", "mrr", "map", "recall@1000", "precision@10"]
MEASURES = [parse_measure(name) for name in NAMES]


def write(run: Path, qrels: Path, queries: int, depth: int) -> None:
    random = np.random.default_rng(0)
    with run.open("w") as hits, qrels.open("w") as judged:
        for query in range(1_000_000, 1_000_000 + 7 * queries, 7):
            docs = np.unique(random.integers(0, 8_841_823, depth + 20))
            docs = random.permutation(docs)[:depth]
            scores = np.sort(30 * random.random(depth))[::-1]
            lines = zip(docs.tolist(), range(1, depth + 1), scores.tolist(), strict=True)
            hits.writelines(f"{query} Q0 {doc} {rank} {score:.6f} made\n" for doc, rank, score in lines)
            grades = [(int(doc), int(random.integers(0, 4))) for doc in docs[: random.integers(1, 4)]]
            judged.writelines(f"{query} 0 {doc} {grade}\n" for doc, grade in [*grades, (9_000_000, 1)])


@click.command()
@click.option("--queries", default=6980, show_default=True)
@click.option("--depth", default=1000, show_default=True)
@click.option("--rounds", default=2, show_default=True)
def main(queries: int, depth: int, rounds: int) -> None:
    """From files, and from memory; the numbers of the sides must agree."""
    heading("numpy", "pyarrow", "numba", "pytrec_eval-terrier", "ir_measures", "ranx")
    with TemporaryDirectory() as name:
        run, qrels = Path(name) / "run", Path(name) / "qrels"
        write(run, qrels, queries, depth)
        kept: dict[str, Any] = {}

        def ours() -> None:
            joined = join(read_run(run), read_qrels(qrels))
            kept["joined"] = joined
            kept["ours"] = dict(
                zip(joined.query_ids, score_rankings(MEASURES, joined.qrels, joined.rankings), strict=True)
            )

        def trec_eval() -> None:
            with run.open() as lines, qrels.open() as more:
                kept["run"], kept["qrels"] = pytrec_eval.parse_run(lines), pytrec_eval.parse_qrel(more)
            evaluator = pytrec_eval.RelevanceEvaluator(kept["qrels"], set(NAMES.values()))
            kept["theirs"] = evaluator.evaluate(kept["run"])

        def measures() -> None:
            wanted = [ir_measures.parse_measure(measure) for measure in NAMES]
            judged = ir_measures.read_trec_qrels(str(qrels))
            list(ir_measures.iter_calc(wanted, judged, ir_measures.read_trec_run(str(run))))

        def by_ranx() -> None:
            judged = ranx.Qrels.from_file(str(qrels), kind="trec")
            kept["ranx"] = judged, ranx.Run.from_file(str(run), kind="trec")
            ranx.evaluate(*kept["ranx"], RANX, return_mean=False)

        ours()  # loads the compiled reader
        by_ranx()  # compiles
        sides = {"Touchstone": ours, "pytrec_eval": trec_eval, "ir_measures": measures, "ranx": by_ranx}
        report(f"From files: {queries:,} x {depth:,}", alternated(sides, rounds), "Touchstone", queries)
        for query, values in kept["theirs"].items():
            np.testing.assert_allclose(
                kept["ours"][query], [values[name] for name in NAMES.values()], atol=1e-9
            )
        joined = kept["joined"]
        evaluator = pytrec_eval.RelevanceEvaluator(kept["qrels"], set(NAMES.values()))
        sides = {
            "Touchstone, arrays": lambda: score_rankings(MEASURES, joined.qrels, joined.rankings),
            "pytrec_eval, dictionaries": lambda: evaluator.evaluate(kept["run"]),
            "ranx, typed dictionaries": lambda: ranx.evaluate(*kept["ranx"], RANX, return_mean=False),
        }
        taken = alternated(sides, rounds + 1)
        report(f"From memory: {queries:,} x {depth:,}", taken, "Touchstone, arrays", queries)


if __name__ == "__main__":
    main()
