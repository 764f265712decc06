"""The sparse methods through the task: scores are dot products, queries without inference, mistakes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.answers import PAD
from harness.errors import TouchstoneError
from harness.execute import Session
from harness.models.term_encoder import TermEncoder, TermSpec, TermTokenizer
from harness.registry import make_adapter, parse_method
from harness.sparse_models import shipped_table, static_rows
from tests.adapters.dense.test_dense import ranked
from tests.models.tiny import write_masked_lm
from tests.needs import needs

pytestmark = needs("minilm")


@pytest.mark.parametrize("method", ["splade", "unicoil"])
def test_scores_are_dot_products(session: Session, tmp_path: Path, method: str) -> None:
    impact = method == "unicoil"
    folder = "all-MiniLM-L6-v2" if impact else write_masked_lm(tmp_path / "model")
    answers, task = ranked(session, f"{method}(model={folder},max_length=64)")
    spec = TermSpec(str(folder), "impact" if impact else "mlm", special_terms=not impact)
    encoder = TermEncoder(spec)
    texts = task.corpus.texts(0, len(task.corpus))
    documents, queries = encoder.encode(texts), encoder.encode(task.queries(), "query")
    if impact:
        documents, queries = documents.quantised(256 / 5), queries.quantised(256 / 5)
        assert float(np.abs(answers.scores[answers.docs != PAD] % 1).max()) == 0.0
    for row in range(len(task.items)):
        wanted = dict(zip(*queries.row(row), strict=True))
        for doc, score in zip(answers.docs[row], answers.scores[row], strict=True):
            if doc != PAD:
                held = dict(zip(*documents.row(int(doc)), strict=True))
                total = sum(weight * held.get(term, 0.0) for term, weight in wanted.items())
                assert score == pytest.approx(total, rel=1e-4)


def test_queries_take_no_inference(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_masked_lm(tmp_path / "model", idf=True)
    first, _ = ranked(session, f"inference-free-sparse(model={folder})")

    def refuse(_self: TermEncoder, _spec: TermSpec) -> None:
        raise AssertionError("the model was loaded at query time")

    monkeypatch.setattr(TermEncoder, "__init__", refuse)
    session.kept.clear() if hasattr(session, "kept") else None
    again, _ = ranked(session, f"inference-free-sparse(model={folder},batch=13)")  # another run, one index
    assert np.array_equal(first.docs, again.docs) and np.array_equal(first.scores, again.scores)


def test_the_shipped_table_and_sets_of_terms(tmp_path: Path) -> None:
    spec = TermSpec(str(write_masked_lm(tmp_path / "model", idf=True)), special_terms=False)
    tokenizer = TermTokenizer(spec)
    table = shipped_table(spec, tokenizer)
    assert table is not None
    weights = {
        term: table[tokenizer.number(term) or 0] for term in ("cat", "the", "dog", "mat", "[CLS]", "[UNK]")
    }
    assert weights == pytest.approx(
        {"cat": 7.5, "the": 0.1353, "dog": 0.0, "mat": 1.0, "[CLS]": 0.0, "[UNK]": 0.0}
    )
    once, twice = (
        static_rows(tokenizer, table, [text]) for text in ("the cat", "cat the cat the cat zebra dog")
    )
    assert once.terms.tolist() == twice.terms.tolist() and once.weights.tolist() == twice.weights.tolist()
    bare = TermSpec(str(write_masked_lm(tmp_path / "bare")))
    assert shipped_table(bare, tokenizer) is None


def test_a_table_counted_here_is_said_so(session: Session, tmp_path: Path) -> None:
    folder = write_masked_lm(tmp_path / "model")
    for settings, told in (("", "brings no IDF table"), (",idf=none", "plain document-only SPLADE")):
        adapter = make_adapter(parse_method(f"inference-free-sparse(model={folder}{settings})"))
        _, task = ranked(session, f"inference-free-sparse(model={folder}{settings})")
        assert any(told in note for note in adapter.notes(task))


def test_top_terms_make_a_smaller_index(session: Session, tmp_path: Path) -> None:
    folder = write_masked_lm(tmp_path / "model")
    ranked(session, f"splade(model={folder},max_length=64)")
    ranked(session, f"splade(model={folder},max_length=64,top_terms=2)")
    sizes = sorted(path.stat().st_size for path in (session.assets.root / "sparse").glob("*/docs.npy"))
    assert len(sizes) == 2 and sizes[0] < sizes[1]


@pytest.mark.parametrize(
    ("method", "told"),
    [
        ("splade(top_terms=-1)", "top_terms"),
        ("unicoil(largest=0)", "largest"),
        ("inference-free-sparse(logs=3)", "logs"),
        ("inference-free-sparse(batch=0)", "batch"),
    ],
)
def test_mistakes(method: str, told: str) -> None:
    with pytest.raises(TouchstoneError, match=told):
        make_adapter(parse_method(method)).check()
