"""Whole files scored beside pytrec_eval and ir_measures: random ties, graded judgements, missing queries."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.measures import parse_measure, score_rankings
from harness.trec import join, read_qrels, read_run

NAMES = {
    "nDCG@10": "ndcg_cut_10",
    "nDCG": "ndcg",
    "RR": "recip_rank",
    "AP": "map",
    "AP@5": "map_cut_5",
    "R@100": "recall_100",
    "P@5": "P_5",
    "Rprec": "Rprec",
    "Bpref": "bpref",
}
queries = st.sampled_from([f"q{i}" for i in (1, 2, 3, 10)])
docs = st.sampled_from([f"d{i}" for i in range(25)])
scores = st.sampled_from([-1.0, 0.0, 0.1, 0.5, 0.5000001, 3.25])
runs = st.dictionaries(queries, st.dictionaries(docs, scores, min_size=1), min_size=1)
judged = st.dictionaries(docs, st.integers(-1, 3), min_size=1)
# Where no document is relevant, trec_eval 9's bpref reads past its table.
pools = st.dictionaries(queries, judged.filter(lambda grades: max(grades.values()) >= 1), min_size=1)


def ours(
    folder: Path, run: dict[str, dict[str, float]], pool: dict[str, dict[str, int]]
) -> dict[str, np.ndarray]:
    (folder / "run").write_text(
        "".join(f"{q} Q0 {d} 0 {s!r} t\n" for q, found in run.items() for d, s in found.items())
    )
    (folder / "qrels").write_text(
        "".join(f"{q} 0 {d} {g}\n" for q, grades in pool.items() for d, g in grades.items())
    )
    joined = join(read_run(folder / "run"), read_qrels(folder / "qrels"))
    values = score_rankings([parse_measure(name) for name in NAMES], joined.qrels, joined.rankings)
    return dict(zip(joined.query_ids, values, strict=True))


@settings(deadline=None, max_examples=80)
@given(runs, pools)
def test_files_score_as_pytrec_eval_scores_them(
    run: dict[str, dict[str, float]], pool: dict[str, dict[str, int]]
) -> None:
    """Queries that the run lacks score 0 here, and have no row there; those without judgements have none."""
    theirs = pytrec_eval.RelevanceEvaluator(pool, set(NAMES.values())).evaluate(run)
    with TemporaryDirectory() as folder:
        found = ours(Path(folder), run, pool)
    assert found.keys() == pool.keys()
    for query, values in found.items():
        expected = [theirs[query][name] for name in NAMES.values()] if query in theirs else [0.0] * len(NAMES)
        np.testing.assert_allclose(values, expected, rtol=1e-12, atol=1e-12, err_msg=query)


@settings(deadline=None, max_examples=8)
@given(runs, pools)
def test_files_score_as_ir_measures_scores_them(
    run: dict[str, dict[str, float]], pool: dict[str, dict[str, int]]
) -> None:
    import ir_measures

    with TemporaryDirectory() as folder:
        found = ours(Path(folder), run, pool)
    wanted = {ir_measures.parse_measure(name): column for column, name in enumerate(NAMES)}
    told = list(ir_measures.iter_calc(list(wanted), pool, run))
    assert len(told) == len(NAMES) * len(pool)
    for metric in told:
        value = found[metric.query_id][wanted[metric.measure]]
        np.testing.assert_allclose(metric.value, value, rtol=1e-12, atol=1e-12, err_msg=str(metric))
