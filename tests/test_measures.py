"""Ranking measures: their notation, hand-computed values, and agreement with trec_eval's own code."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import qrels as qrels_module
from harness.answers import PAD, Rankings
from harness.errors import TouchstoneError
from harness.measures import Measure, Qrels, parse_measure, score_rankings

CANONICAL = [
    "nDCG", "nDCG@10", "RR", "RR@10", "RR(rel=2)@10", "R@100", "R(rel=2)@1000", "AP", "AP@5", "AP(rel=2)",
    "P@5", "P(rel=3)@1", "Success@10", "Rprec", "Bpref", "Judged", "Judged@10", "SetP", "SetR", "SetF",
    "NumRet", "NumRel", "NumRelRet", "NumRelRet(rel=2)", "IPrec@0.1", "IPrec(rel=2)@0.25", "infAP",
    "RBP(rel=1,p=0.8)", "RBP(rel=2,p=0.9)@10",
]  # fmt: skip

# trec_eval's name in pytrec_eval's output, and ours.
TREC_NAMES = {
    "num_ret": "NumRet", "num_rel": "NumRel", "num_rel_ret": "NumRelRet", "map": "AP", "Rprec": "Rprec",
    "bpref": "Bpref", "recip_rank": "RR", "infAP": "infAP", "ndcg": "nDCG", "set_P": "SetP",
    "set_recall": "SetR", "set_F": "SetF", "P_1": "P@1", "P_5": "P@5", "recall_2": "R@2", "recall_10": "R@10",
    "ndcg_cut_3": "nDCG@3", "ndcg_cut_10": "nDCG@10", "map_cut_3": "AP@3", "map_cut_10": "AP@10",
    "success_1": "Success@1", "success_5": "Success@5", "iprec_at_recall_0.00": "IPrec@0.0",
    "iprec_at_recall_1.00": "IPrec@1.0",
}  # fmt: skip
TREC_REQUEST = {
    "num_ret", "num_rel", "num_rel_ret", "map", "Rprec", "bpref", "recip_rank", "infAP", "ndcg", "set_P",
    "set_recall", "set_F", "P.1,5", "recall.2,10", "ndcg_cut.3,10", "map_cut.3,10", "success.1,5",
    "iprec_at_recall.0.0,1.0",
}  # fmt: skip


def judged(*queries: dict[int, int]) -> Qrels:
    """Qrels from one {document: grade} a query."""
    triples = [(row, doc, grade) for row, query in enumerate(queries) for doc, grade in query.items()]
    columns = np.array(triples, np.int32).reshape(-1, 3).T
    return Qrels.build(len(queries), *columns)


def ranked(rows: dict[int, list[int]]) -> Rankings:
    """Rankings from {query: documents, best first}."""
    depth = max((len(docs) for docs in rows.values()), default=0)
    docs = [row + [PAD] * (depth - len(row)) for row in rows.values()]
    table = np.array(docs, np.int32).reshape(len(rows), depth)
    scores = np.where(table == PAD, -np.inf, -np.arange(depth)).astype(np.float32)
    return Rankings(np.array(list(rows), np.int32), table, scores)


def score(name: str, qrels: Qrels, rankings: Rankings) -> list[float]:
    return score_rankings([parse_measure(name)], qrels, rankings)[:, 0].tolist()


@pytest.mark.parametrize("name", CANONICAL)
def test_canonical_names_read_back(name: str) -> None:
    assert parse_measure(name).name == str(parse_measure(name)) == name


@pytest.mark.parametrize("name", CANONICAL)
def test_ir_measures_reads_our_names(name: str) -> None:
    import ir_measures

    ir_measures.parse_measure(name).validate_params()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (" nDCG@10 ", "nDCG@10"),
        ("AP(rel=1)", "AP"),
        ("RR( rel = 2 )@10", "RR(rel=2)@10"),
        ("IPrec@.1", "IPrec@0.1"),
        ("IPrec@1", "IPrec@1.0"),
        ("RBP(p=0.5,rel=1)", "RBP(rel=1,p=0.5)"),
        ("AP()", "AP"),
    ],
)
def test_other_spellings_have_one_name(text: str, name: str) -> None:
    assert parse_measure(text).name == name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("MAP", "unknown measure 'MAP'; did you mean 'AP'?"),
        ("NDCG@10", "unknown measure 'NDCG'; did you mean 'nDCG'?"),
        ("ndcg_cut_10", "'ndcg_cut_10' is not a measure"),
        ("nDCG@", "'nDCG@' is not a measure"),
        ("nDCG@0", "'0' is not a whole number from 1 up"),
        ("nDCG@2.5", "'2.5' is not a whole number from 1 up"),
        ("nDCG(rel=2)", "nDCG has no option 'rel'"),
        ("AP(rel=0)", "'0' is not a whole number from 1 up"),
        ("AP(rel)", "cannot read option 'rel'"),
        ("AP(rel=1,rel=2)", "cannot read option 'rel=2'"),
        ("AP(gains=2)", "AP has no option 'gains'"),
        ("P", "P needs a cutoff; write it as in P@10"),
        ("IPrec", "IPrec needs a recall; write it as in IPrec@0.1"),
        ("IPrec@1.5", "'1.5' is not a number up to 1"),
        ("Rprec@5", "Rprec takes no cutoff"),
        ("RBP(p=0.8)", "RBP is binary here and needs rel"),
    ],
)
def test_misread_measures_are_errors(text: str, message: str) -> None:
    with pytest.raises(TouchstoneError) as caught:
        parse_measure(text)
    assert message in caught.value.line


def test_values_worked_out_by_hand() -> None:
    qrels = judged({0: 2, 1: 1, 2: 0, 3: -1, 4: 1})
    rankings = ranked({0: [2, 1, 9, 3, 0]})  # grades 0, 1, not pooled, pooled but not judged, 2
    gained = 1 / math.log2(3) + 2 / math.log2(6)
    ideal = 2 + 1 / math.log2(3) + 1 / math.log2(4)
    expected = {
        "nDCG": gained / ideal,
        "nDCG@2": (1 / math.log2(3)) / (2 + 1 / math.log2(3)),
        "RR": 1 / 2,
        "RR@1": 0.0,
        "RR(rel=2)": 1 / 5,
        "AP": (1 / 2 + 2 / 5) / 3,
        "AP@2": (1 / 2) / 3,
        "R@5": 2 / 3,
        "P@2": 1 / 2,
        "P@10": 2 / 10,
        "Success@1": 0.0,
        "Success@2": 1.0,
        "Rprec": 1 / 3,
        "Bpref": 0.0,  # the only judged non-relevant document is first
        "Judged": 3 / 5,
        "Judged@2": 1.0,
        "SetP": 2 / 5,
        "SetR": 2 / 3,
        "SetF": 2 * (2 / 5) * (2 / 3) / (2 / 5 + 2 / 3),
        "NumRet": 5.0,
        "NumRel": 3.0,
        "NumRel(rel=2)": 1.0,
        "NumRelRet": 2.0,
        "IPrec@0.0": 1 / 2,
        "IPrec@0.6": 2 / 5,
        "IPrec@1.0": 0.0,
        "RBP(rel=1,p=0.5)": 0.5 * (0.5 + 0.5**4),
        "RBP(rel=1,p=0.5)@4": 0.5 * 0.5,
    }
    for name, value in expected.items():
        assert score(name, qrels, rankings) == [pytest.approx(value, abs=1e-15)], name


def test_a_query_without_a_ranking_scores_zero() -> None:
    qrels = judged({0: 1}, {1: 1}, {2: 1})
    rankings = ranked({2: [2], 0: [0, 1]})
    assert score("RR", qrels, rankings) == [1.0, 0.0, 1.0]
    assert score("NumRet", qrels, rankings) == [2.0, 0.0, 1.0]
    assert score("NumRel", qrels, rankings) == [1.0, 1.0, 1.0]


def test_empty_rankings_and_empty_judgements() -> None:
    names = [parse_measure(name) for name in CANONICAL if not name.startswith("NumRel")]
    nothing = score_rankings(names, judged({0: 1}), Rankings.empty(10))
    assert nothing.shape == (1, len(names))
    assert not nothing.any()
    unjudged = Qrels.build(1, *np.empty((3, 0), np.int32))
    assert score("AP", unjudged, ranked({0: [5, 6]})) == [0.0]


def test_small_blocks_give_the_same_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    qrels = judged(*({int(d): int(generator.integers(-1, 4)) for d in range(30)} for _ in range(20)))
    rankings = ranked({q: generator.permutation(60)[:25].tolist() for q in range(20)})
    names = [parse_measure(name) for name in CANONICAL]
    whole = score_rankings(names, qrels, rankings)
    monkeypatch.setattr(qrels_module, "BLOCK", 60)
    assert np.array_equal(score_rankings(names, qrels, rankings), whole)


@pytest.mark.parametrize(
    ("rankings", "message"),
    [
        (ranked({1: [0]}), "a ranking's item is out of range (1 queries are judged)"),
        (ranked({-1: [0]}), "a ranking's item is out of range (1 queries are judged)"),
        (
            Rankings(*(np.concatenate([x, x]) for x in vars(ranked({0: [0]})).values())),
            "an item has two rankings",
        ),
    ],
)
def test_rankings_that_do_not_fit_are_errors(rankings: Rankings, message: str) -> None:
    with pytest.raises(TouchstoneError) as caught:
        score_rankings([Measure("AP")], judged({0: 1}), rankings)
    assert caught.value.line == message


@pytest.mark.parametrize(
    ("triples", "message"),
    [
        ([(0, 3, 1), (1, 3, 1), (0, 3, 0)], "query number 0, document number 3: a document is judged twice"),
        ([(2, 0, 1)], "a judgement's query number is out of range (2 queries)"),
        ([(0, -1, 1)], "a judgement's document number is negative"),
    ],
)
def test_impossible_judgements_are_errors(triples: list[tuple[int, int, int]], message: str) -> None:
    with pytest.raises(TouchstoneError) as caught:
        Qrels.build(2, *np.array(triples, np.int32).T)
    assert caught.value.line.startswith(message)


def test_select_keeps_the_judgements_of_some_queries() -> None:
    some = judged({5: 1, 1: 2}, {2: 1}, {7: 3}).select(np.array([0, 2]))
    assert (some.starts.tolist(), some.docs.tolist(), some.grades.tolist()) == (
        [0, 2, 3],
        [1, 5, 7],
        [2, 1, 3],
    )


queries = st.dictionaries(st.integers(0, 15), st.integers(-2, 4), min_size=1, max_size=16)
scored = st.dictionaries(
    st.integers(0, 25), st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0]), min_size=1, max_size=20
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(queries, scored), min_size=1, max_size=4), st.integers(1, 3))
def test_agrees_with_trec_eval_on_ties_and_any_grades(
    data: list[tuple[dict[int, int], dict[int, float]]], rel: int
) -> None:
    """pytrec_eval is trec_eval 9's own C code. Document d is named so that text order is number order."""
    import pytrec_eval

    # Where no grade reaches rel, trec_eval's bpref reads past its table: give each query one that does.
    data = [({**pool, 16: max(rel, *pool.values())}, hits) for pool, hits in data]
    pools = {f"q{i}": {f"d{d:02}": g for d, g in pool.items()} for i, (pool, _) in enumerate(data)}
    runs = {f"q{i}": {f"d{d:02}": s for d, s in hits.items()} for i, (_, hits) in enumerate(data)}
    theirs = pytrec_eval.RelevanceEvaluator(pools, TREC_REQUEST, relevance_level=rel).evaluate(runs)
    ordered = {i: sorted(hits, key=lambda d: (hits[d], d), reverse=True) for i, (_, hits) in enumerate(data)}
    for trec_name, name in TREC_NAMES.items():
        measure = parse_measure(name)
        if name not in ("NumRet", "nDCG", "nDCG@3", "nDCG@10"):
            measure = Measure(measure.base, measure.cutoff, rel, measure.recall)
        ours = score_rankings([measure], judged(*(pool for pool, _ in data)), ranked(ordered))[:, 0]
        expected = [theirs[f"q{i}"][trec_name] for i in range(len(data))]
        assert ours.tolist() == pytest.approx(expected, abs=1e-12), trec_name
