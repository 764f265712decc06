"""TREC files: what is read, what is refused, and NIST's own expected output of trec_eval."""

from __future__ import annotations

import gzip
import math
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import trec_lines
from harness.answers import PAD, Ints, Rankings
from harness.errors import TouchstoneError
from harness.measures import Measure, parse_measure, score_rankings
from harness.trec import Joined, RunFile, join, rankings_against, read_qrels, read_run, write_run
from tests.needs import DATA, needs

NIST = DATA / "reference" / "trec_eval" / "test"
TREC_DL = DATA / "msmarco"

# trec_eval's names without a parameter, and the bases of those with one.
PLAIN = {
    "num_ret": "NumRet", "num_rel": "NumRel", "num_rel_ret": "NumRelRet", "map": "AP", "Rprec": "Rprec",
    "bpref": "Bpref", "recip_rank": "RR", "infAP": "infAP", "ndcg": "nDCG", "set_P": "SetP",
    "set_recall": "SetR", "set_F": "SetF", "rbp": "RBP(rel=1,p=0.9)",
}  # fmt: skip
WITH_PARAMETER = {
    "iprec_at_recall": "IPrec", "P": "P", "recall": "R", "ndcg_cut": "nDCG", "map_cut": "AP",
    "success": "Success",
}  # fmt: skip
COUNTS = {"num_ret", "num_rel", "num_rel_ret"}

# trec_eval's measures that Touchstone does not have.
OTHERS = (
    "runid", "relstring", "gm_bpref", "Rprec_mult", "utility", "11pt_avg", "binG", "G", "ndcg_rel", "Rndcg",
    "relative_P", "set_relative_P", "set_map", "num_nonrel_judged_ret", "rbp_resid", "unj",
    "ndcg_1=3,2=9,4=4.5", "utility_2,-1,0,0", "11pt_avg_.25,.5,.75",
)  # fmt: skip

# The qrels, run and expected output of trec_eval's own tests (its Makefile, target quicktest), and options:
# smallest relevant grade (-l), only queries of the run (no -c), depth (-M).
CASES = [
    ("qrels.test", "results.test", "out.test", 1, True, None),
    ("qrels.test.with-comments", "results.test", "out.test", 1, True, None),
    ("qrels.comment.test", "results.comment.test", "out.comment.test", 1, True, None),
    ("qrels.test", "results.test", "out.test.a", 1, True, None),
    ("qrels.test", "results.test", "out.test.aq", 1, True, None),
    ("qrels.test", "results.trunc", "out.test.aqc", 1, False, None),
    ("qrels.test", "results.trunc", "out.test.aqcM", 1, False, 100),
    ("qrels.rel_level", "results.test", "out.test.aql", 2, True, None),
    ("qrels.test", "results.test", "out.test.meas_params", 1, True, None),
]


def measure_of(trec_name: str, rel: int) -> Measure:
    """Our measure for trec_eval's name."""
    base, _, parameter = trec_name.rpartition("_")
    measure = parse_measure(PLAIN.get(trec_name) or f"{WITH_PARAMETER[base]}@{parameter}")
    # trec_eval's nDCG and number of retrieved documents know no smallest relevant grade.
    graded = measure.base in ("nDCG", "NumRet")
    return measure if graded else Measure(measure.base, measure.cutoff, rel, measure.recall, measure.p)


@needs("data")
@pytest.mark.parametrize(("qrels", "run", "out", "rel", "retrieved_only", "depth"), CASES)
def test_reproduces_the_expected_output_of_trec_eval(
    qrels: str, run: str, out: str, rel: int, retrieved_only: bool, depth: int | None
) -> None:  # fmt: skip
    joined = join(read_run(NIST / run), read_qrels(NIST / qrels), retrieved_only)
    joined = Joined(joined.query_ids, joined.qrels, joined.rankings.resized(depth or joined.rankings.depth))
    lines = [line.split() for line in (NIST / out).read_text().splitlines()]
    # trec_eval's RBP sums grades; ours is binary, which is the same where grades are 0 and 1.
    others = (*OTHERS, "rbp") if rel > 1 else OTHERS
    wanted = [line for line in lines if re.sub(r"_[\d.]+$", "", line[0]) not in others]
    found = [[name, query, computed(joined, name, query, rel)] for name, query, _ in wanted]
    assert len(wanted) > 20
    assert found == wanted


def computed(joined: Joined, name: str, query: str, rel: int) -> str:
    """What trec_eval would print for measure *name* of *query*, or of all queries."""
    if name == "num_q":
        return str(len(joined.query_ids))
    measure = measure_of("map" if name == "gm_map" else name, rel)
    values = score_rankings([measure], joined.qrels, joined.rankings)
    column = values[:, 0] if query == "all" else values[[joined.query_ids.index(query)], 0]
    if name == "gm_map":
        return f"{math.exp(np.log(np.maximum(column, 1e-5)).mean()):.4f}"
    return f"{column.sum():.0f}" if name in COUNTS else f"{column.mean():.4f}"


@needs("data")
def test_published_scores_of_a_public_run() -> None:
    """Anserini's BM25 on TREC DL 2019 passages, as its documentation prints them."""
    run = read_run(TREC_DL / "runs" / "trec-dl-2019" / "anserini-bm25-top1000.trec")
    joined = join(run, read_qrels(TREC_DL / "trec-dl-2019" / "qrels.trec"))
    names = ("nDCG@10", "AP(rel=2)", "R(rel=2)@1000")
    means = score_rankings([parse_measure(name) for name in names], joined.qrels, joined.rankings).mean(
        axis=0
    )
    assert (run.tag, len(joined.query_ids), joined.rankings.depth) == ("Anserini", 43, 1000)
    assert [f"{mean:.4f}" for mean in means] == ["0.5058", "0.3013", "0.7501"]


def shown(run: RunFile) -> dict[str, list[tuple[str, float]]]:
    """A run as {query: [(document, score), ...]}, best first."""
    names = run.docs.to_pylist()
    pairs = list(zip(names, run.scores.tolist(), strict=True))
    return {q: pairs[run.starts[i] : run.starts[i + 1]] for i, q in enumerate(run.query_ids)}


def written(folder: Path, text: str, name: str = "file") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


REGULAR = "q2 Q0 a 1 2.5 t\nq2 Q0 b 2 2.5 t\nq1 Q0 a 1 -1e-3 t\nq2 Q0 c 3 7 t\n"
REGULAR_SHOWN = {"q2": [("c", 7.0), ("b", 2.5), ("a", 2.5)], "q1": [("a", float(np.float32(-1e-3)))]}


@pytest.mark.parametrize(
    "text",
    [
        REGULAR,
        REGULAR.rstrip("\n"),
        REGULAR.replace(" ", "\t"),
        REGULAR.replace("\n", "\r\n"),
        REGULAR.replace("\n", "\n\n"),
        REGULAR.replace(" Q0 ", "  Q0\t"),
        REGULAR.replace("\n", " \n  "),
        REGULAR.replace(" t", " t and more text"),
        REGULAR.replace(" 7 ", " +7.0e0 "),
        "# one two three four five\n" + REGULAR,
        REGULAR + " # a comment\n",
    ],
)
def test_white_space_comments_and_further_text_do_not_matter(tmp_path: Path, text: str) -> None:
    run = read_run(written(tmp_path, text))
    assert shown(run) == REGULAR_SHOWN
    assert run.tag == "t"


def test_compressed_files(tmp_path: Path) -> None:
    (tmp_path / "run.gz").write_bytes(gzip.compress(REGULAR.encode()))
    with pa.CompressedOutputStream(str(tmp_path / "run.zst"), "zstd") as out:
        out.write(REGULAR.encode())
    assert shown(read_run(tmp_path / "run.gz")) == shown(read_run(tmp_path / "run.zst")) == REGULAR_SHOWN


def test_order_is_float32_score_then_id_bytes_and_never_the_rank_column(tmp_path: Path) -> None:
    close = "1.00000001"  # the same float32 as 1
    text = f"q Q0 a 1 1 t\nq Q0 é 2 {close} t\nq Q0 Z 3 1 t\nq Q0 10 4 1 t\nq Q0 9 5 1 t\nq Q0 top 6 1.1 t\n"
    ranking = shown(read_run(written(tmp_path, text)))["q"]
    assert [doc for doc, _ in ranking] == ["top", "é", "a", "Z", "9", "10"]


def test_comment_signs_and_quotes_inside_ids_are_kept(tmp_path: Path) -> None:
    text = 'q Q0 doc#1 1 2 t\nq Q0 <dbpedia:"Heroes"> 2 1 t\nq Q0 NA 3 0 t\n'
    assert [doc for doc, _ in shown(read_run(written(tmp_path, text)))["q"]] == [
        "doc#1",
        '<dbpedia:"Heroes">',
        "NA",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "file: the file holds no lines"),
        ("# nothing\n\n", "file: the file holds no lines"),
        ("q Q0 d 1 2.0 t\nq Q0 e 1 2.0\n", "file:2: 5 columns where 6 are expected"),
        ("q  d 1 2.0 t\n", "file:1: 5 columns where 6 are expected"),
        ("\n# x\nq Q0 d 1 high t\n", "file:3: score 'high' is not a finite number"),
        ("q Q0 d 1 2.0 t\nq Q0 e 1 nan t\n", "file:2: score 'nan' is not a finite number"),
        ("q Q0 d 1 -inf t\n", "file:1: score '-inf' is not a finite number"),
        ("q Q0 d 1 1e39 t\n", "file:1: score '1e39' is not a finite number"),
        ("q Q0 d 1 1_0 t\n", "file:1: score '1_0' is not a finite number"),
        (
            "q Q0 d 1 2.0 t\np Q0 d 1 2.0 t\n\nq Q0 d 2 1.0 t\n",
            "file:4: query 'q' holds document 'd' more than once (first on line 1)",
        ),
    ],
)
def test_malformed_runs_name_the_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TouchstoneError) as caught:
        read_run(written(tmp_path, text))
    assert caught.value.line == f"{tmp_path}/{message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "file: the file holds no lines"),
        ("q 0 d\n", "file:1: 3 columns where 4 are expected"),
        ("q 0 d 1\nq 0 e 1 1\n", "file:2: 5 columns where 4 are expected"),
        ("q 0 d 1\nq 0 e 0.5\n", "file:2: grade '0.5' is not a whole number"),
        ("q 0 d 1\nq 0 d 0\n", "file:2: query 'q' holds document 'd' more than once (first on line 1)"),
        ("query-id\tcorpus-id\tscore\nq\td\t1\nq\te\tx\n", "file:3: grade 'x' is not a whole number"),
        ("query-id\tcorpus-id\tscore\nq\t\t1\n", "file:2: the query or document id is empty"),
        ("query-id\tcorpus-id\tscore\n", "file: the file holds no lines"),
    ],
)
def test_malformed_judgements_name_the_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TouchstoneError) as caught:
        read_qrels(written(tmp_path, text))
    assert caught.value.line == f"{tmp_path}/{message}"


def test_bytes_that_are_no_text_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "run").write_bytes(b"q Q0 d 1 2.0 t\nq Q0 \xff 2 1.0 t\n")
    (tmp_path / "run.gz").write_bytes(b"not gzip")
    for name, message in (
        ("run", "run:2: the line is not UTF-8"),
        ("run.gz", "run.gz: the file cannot be read"),
    ):
        with pytest.raises(TouchstoneError) as caught:
            read_run(tmp_path / name)
        assert caught.value.line.startswith(f"{tmp_path}/{message}")
    with pytest.raises(TouchstoneError, match="there is no such file"):
        read_run(tmp_path / "absent")


@pytest.mark.parametrize(
    "text",
    [
        "q1 0 b 2\nq1 0 a 0\nq0 0 a -1\n",
        "q1\t0\tb\t2\nq1\t0\ta\t0\nq0\t0\ta\t-1\n",
        "# c\nq1  0\tb 2 \nq1 0 a 0\nq0 0 a -1",
        "query-id\tcorpus-id\tscore\nq1\tb\t2\nq1\ta\t0\nq0\ta\t-1\n",
        "query-id\tcorpus-id\tscore\r\nq1\tb\t2\r\nq1\ta\t0\r\nq0\ta\t-1\r\n",
        "q1\tb\t2\nq1\ta\t0\nq0\ta\t-1\n",
    ],
)
def test_judgement_formats(tmp_path: Path, text: str) -> None:
    judged = read_qrels(written(tmp_path, text))
    assert judged.query_ids == ("q1", "q0")
    rows, docs = judged.qrels.rows.tolist(), judged.doc_ids.take(pa.array(judged.qrels.docs)).to_pylist()
    found = set(zip(rows, docs, judged.qrels.grades.tolist(), strict=True))
    assert found == {(0, "b", 2), (0, "a", 0), (1, "a", -1)}
    spaced = read_qrels(written(tmp_path, "query-id\tcorpus-id\tscore\nq\ta b.txt\t1\n"))
    assert spaced.doc_ids.to_pylist() == ["a b.txt"]


def test_join_counts_every_judged_query_unless_told_otherwise(tmp_path: Path) -> None:
    judged = read_qrels(written(tmp_path, "q1 0 a 1\nq2 0 b 1\nq3 0 c 1\n", "qrels"))
    run = read_run(
        written(tmp_path, "q3 Q0 x 1 2 t\nq3 Q0 c 2 1 t\nother Q0 a 1 1 t\nq1 Q0 a 1 5 t\n", "run")
    )
    joined = join(run, judged)
    assert joined.query_ids == ("q1", "q2", "q3")
    assert joined.rankings.items.tolist() == [0, 2]
    assert joined.rankings.docs[0].tolist()[1:] == [PAD]
    reciprocal = [parse_measure("RR")]
    assert score_rankings(reciprocal, joined.qrels, joined.rankings)[:, 0].tolist() == [1.0, 0.0, 0.5]
    only = join(run, judged, retrieved_only=True)
    assert only.query_ids == ("q1", "q3")
    assert score_rankings(reciprocal, only.qrels, only.rankings)[:, 0].tolist() == [1.0, 0.5]


def numbers_of(names: list[str]) -> Ints:
    """Document d<i> has number i."""
    return np.array([int(name[1:]) if name[1:].isdigit() else PAD for name in names], np.int32)


def test_a_run_over_the_numbers_of_a_task(tmp_path: Path) -> None:
    run = read_run(written(tmp_path, "q2 Q0 d7 1 2 t\nq2 Q0 d3 2 1 t\nx Q0 zz 1 1 t\nq0 Q0 d3 1 1 t\n"))
    rankings, unknown_queries = rankings_against(run, ["q0", "q1", "q2"], numbers_of)
    assert (rankings.items.tolist(), rankings.docs.tolist(), unknown_queries) == (
        [0, 2],
        [[3, PAD], [7, 3]],
        1,
    )
    with pytest.raises(TouchstoneError) as caught:
        rankings_against(run, ["q0", "x"], numbers_of)
    assert (
        caught.value.line
        == "the run holds document 'zz', which is not in the corpus (1 of its 2 documents are not)"
    )


finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
hits = st.dictionaries(st.integers(0, 99), finite | st.sampled_from([0.0, 1.0]), min_size=1, max_size=12)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(st.integers(0, 9), hits, min_size=1, max_size=5), st.sampled_from(["run.trec", "run.zst"])
)
def test_a_written_run_reads_back(
    tmp_path_factory: pytest.TempPathFactory, queries: dict[int, dict[int, float]], name: str
) -> None:
    depth = max(map(len, queries.values()))
    docs = np.full((len(queries), depth), PAD, np.int32)
    scores = np.full((len(queries), depth), -np.inf, np.float32)
    items = np.array(sorted(queries), np.int32)
    for row, item in enumerate(items.tolist()):
        docs[row, : len(queries[item])] = list(queries[item])
        scores[row, : len(queries[item])] = list(queries[item].values())
    rankings = Rankings(items, docs, scores).canonical(names_of)
    path = tmp_path_factory.mktemp("written") / name
    write_run(path, [f"q{i}" for i in range(10)], rankings, names_of, "mine")
    back, unknown_queries = rankings_against(read_run(path), [f"q{i}" for i in range(10)], numbers_of)
    assert unknown_queries == 0
    assert np.array_equal(back.items, rankings.items)
    assert np.array_equal(back.docs, rankings.docs)
    assert np.array_equal(back.scores, rankings.scores)


def names_of(docs: Ints) -> list[str]:
    return [f"d{doc}" for doc in docs.tolist()]


@pytest.mark.parametrize(
    ("query", "doc", "tag"),
    [("q 1", "d", "t"), ("q", "", "t"), ("q", "d\te", "t"), ("#q", "d", "t"), ("q", "d", "")],
)
def test_names_that_would_not_read_back_are_refused(tmp_path: Path, query: str, doc: str, tag: str) -> None:
    rankings = Rankings(np.zeros(1, np.int32), np.zeros((1, 1), np.int32), np.ones((1, 1), np.float32))
    with pytest.raises(TouchstoneError, match="cannot stand in a run file"):
        write_run(tmp_path / "run", [query], rankings, lambda docs: [doc] * len(docs), tag)


pairs = st.lists(
    st.tuples(st.sampled_from("pq"), st.text("ab", min_size=1, max_size=18)), min_size=1, max_size=20
)


@pytest.mark.parametrize("mix", [trec_lines.MIX, np.uint64(0)])
@settings(max_examples=100, deadline=None)
@given(pairs)
def test_a_run_is_refused_exactly_when_a_pair_is_repeated(
    tmp_path_factory: pytest.TempPathFactory, mix: np.uint64, found: list[tuple[str, str]]
) -> None:
    """With a mixing factor of 0 all pairs share a fingerprint: the texts themselves still decide."""
    path = tmp_path_factory.mktemp("pairs") / "run"
    path.write_text("".join(f"{query} Q0 {doc} 1 0 t\n" for query, doc in found))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trec_lines, "MIX", mix)
        if len(set(found)) == len(found):
            ranked = {(q, doc) for q, hits in shown(read_run(path)).items() for doc, _ in hits}
            assert ranked == set(found)
        else:
            with pytest.raises(TouchstoneError, match="more than once"):
                read_run(path)
