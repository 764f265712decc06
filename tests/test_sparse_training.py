"""The card's numbers for inference-free sparse retrieval, the pairs, and a training that learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.data.corpus import Corpus, Document, read_corpus, write_corpus
from harness.models.term_encoder import TermEncoder, TermSpec, fit_head
from harness.sparse_training import (
    SparseLearner,
    SparseTraining,
    corpus_pairs,
    cut_query,
    flops,
    idf,
    idf_table,
    normalised,
    risen,
    targets,
)
from harness.training import TrainSpec, trained
from tests.models.tiny import SENTENCES, write_encoder, write_masked_lm
from tests.needs import needs
from tests.test_training import context

N = 8_841_823
SCORES = np.array([[[10, 4, 2]], [[0.8, 0.7, 0.2]]], np.float32)


@pytest.mark.parametrize(("holders", "weight"), [(1, 15.5895), (1000, 9.0867), (N / 2, 0.6931)])
def test_idf_of_ms_marco(holders: float, weight: float) -> None:
    assert idf(np.array([holders]), N)[0] == pytest.approx(weight, abs=1e-4)


def test_idf_is_positive_and_falls() -> None:
    values = idf(np.linspace(1, N, 50), N)
    assert (values > 0).all() and (np.diff(values) < 0).all()
    table = idf_table([[1, 1, 2], [2], [2]], 4)
    np.testing.assert_allclose(table, idf(np.array([0.0, 1, 3, 0]), 3), rtol=1e-6)


@needs("torch")
def test_flops_are_of_weights_before_idf() -> None:
    import torch

    weights = torch.tensor([[[1.0, 0.0]], [[0.5, 0.5]]])
    assert float(flops(weights)) == pytest.approx(0.625)
    table = torch.tensor([2.0, 0.5])
    effective = (weights * table).mean(0)[0]
    np.testing.assert_allclose(effective, [1.5, 0.125])
    assert float((effective.square() / table.square()).sum()) == pytest.approx(0.625)
    assert float(flops(torch.cat([weights, 2 * weights], 1))) == pytest.approx(0.625 * 2.5)


def test_lambda_rises_quadratically() -> None:
    assert risen(0.08, 99, 200) == pytest.approx(0.02)
    assert risen(0.08, 199, 200) == risen(0.08, 10_000, 200) == risen(0.08, 0, 0) == 0.08


def test_ensemble_of_the_card() -> None:
    np.testing.assert_allclose(normalised(SCORES)[:, 0], [[1, 0.25, 0], [1, 0.8333, 0]], atol=1e-4)
    wanted = targets(SCORES, 30.0)
    np.testing.assert_allclose(wanted, [[30, 16.25, 0]], atol=1e-4)
    shares = np.exp(wanted[0] - wanted.max()) / np.exp(wanted[0] - wanted.max()).sum()
    np.testing.assert_allclose(shares, [0.999999, 1.07e-6, 9e-14], rtol=0.05)
    louder = SCORES * np.array([1000, 1], np.float32)[:, None, None]
    np.testing.assert_allclose(targets(louder, 30.0), wanted, atol=1e-4)
    np.testing.assert_allclose(normalised(np.full((1, 3), 7, np.float32)), 0.0)


@pytest.mark.parametrize(
    ("title", "text", "cut"),
    [
        ("The small cat .", "The small cat .\n  a b c d e f g h", ("The small cat .", "a b c d e f g h")),
        ("", "One two three. a b c d e f g h", ("One two three.", "a b c d e f g h")),
        ("", "one two three  a b c d e f g h", ("one two three", "a b c d e f g h")),
        ("", "one\ntwo three a b c d e f g h", None),
        ("Title here", "a b c d e f g h", None),
        ("A good title", "too short", None),
    ],
)
def test_queries_cut_from_documents(title: str, text: str, cut: tuple[str, str] | None) -> None:
    assert cut_query(title, text) == cut


def corpus(folder: Path) -> Corpus:
    """12 documents: a colour and an animal in the title, other words of the same topic in the text."""
    folder.mkdir()
    rows = []
    for number in range(12):
        colour, animal = ("red", "blue", "green")[number % 3], ("cat", "dog", "tree", "house")[number % 4]
        text = f"on a {colour} mat sat the big {animal} of the sky far {colour} {animal}"
        rows.append(Document(f"d{number}", f"the {colour} {animal}", text, ""))
    write_corpus(rows, folder)
    return read_corpus(folder)


def test_pairs_are_drawn_with_a_seed(tmp_path: Path) -> None:
    documents = corpus(tmp_path / "corpus")
    assert len(corpus_pairs(documents).docs) == 12
    first, again = corpus_pairs(documents, 5), corpus_pairs(documents, 5)
    assert first.queries == again.queries and len(first.docs) == 5
    assert all(
        not passage.startswith(query) for query, passage in zip(first.queries, first.passages, strict=True)
    )


def test_texts_without_titles_and_sentences_are_cut_by_words(tmp_path: Path) -> None:
    folder, words = tmp_path / "bare", [f"w{number}" for number in range(60)]
    folder.mkdir()
    write_corpus([Document(str(n), "", " ".join(words[:n]), "") for n in (5, 11, 20, 60)], folder)
    found = corpus_pairs(read_corpus(folder))
    assert found.docs.tolist() == [1, 2, 3]
    assert [len(query.split()) for query in found.queries] == [3, 5, 12]
    for query, passage, n in zip(found.queries, found.passages, (11, 20, 60), strict=True):
        assert f"{query} {passage}".split() == words[:n]


@needs("minilm")
@pytest.mark.parametrize(("static", "loss"), [(True, "kd"), (True, "infonce"), (False, "kd")])
def test_training_lowers_its_loss_and_keeps_its_step(tmp_path: Path, static: bool, loss: str) -> None:
    spec = TermSpec(str(write_masked_lm(tmp_path / "mlm")), special_terms=False)
    options = SparseTraining(train="corpus", negatives=2, loss=loss, flops=1e-4, rise=5)  # type: ignore[arg-type]
    table = np.ones(TermEncoder(spec).terms, np.float32) if static else None
    learner = SparseLearner(spec, corpus(tmp_path / "corpus"), options, table, context(tmp_path / "assets"))
    module, history = trained(learner.context, learner, TrainSpec(20, 6, 0.003), "sparse")
    assert history.losses[-1] < (0.8 if static else 0.95) * history.losses[0]  # two encodings learn slower
    assert int(module.step) == 40
    assert learner.candidates.shape == (12, 3) and (learner.candidates[:, 0] == np.arange(12)).all()
    assert (learner.candidates[:, 1:] != np.arange(12)[:, None]).all()


@needs("torch")
def test_ones_for_idf_are_plain_sums(tmp_path: Path) -> None:
    spec = TermSpec(str(write_masked_lm(tmp_path / "mlm")), special_terms=False)
    encoder = TermEncoder(spec)
    table = np.ones(encoder.terms, np.float32)
    table[sorted(encoder.tokenizer.special)] = 0.0
    learner = SparseLearner(
        spec, corpus(tmp_path / "corpus"), SparseTraining(), table, context(tmp_path / "a")
    )
    rows = np.array([0, 3])
    found = learner._static(rows).numpy()
    for place, row in enumerate(rows):
        ids = set(encoder.tokenizer.tokens([learner.pairs.queries[row]])[0]) - encoder.tokenizer.special
        assert np.flatnonzero(found[place]).tolist() == sorted(ids) and found[place].max() == 1.0


@needs("torch")
def test_a_fitted_head_gives_back_what_it_reads(tmp_path: Path) -> None:
    encoder = TermEncoder(TermSpec(str(write_encoder(tmp_path / "encoder"))))
    before = own_terms(encoder)
    fit_head(encoder, SENTENCES, 64)
    assert own_terms(encoder) > before


def own_terms(encoder: TermEncoder) -> float:
    """The share of tokens whose own logit is the largest at their place."""
    import torch

    right = total = 0
    for ids in encoder.tokenizer.tokens(SENTENCES):
        given = torch.tensor([ids])
        with torch.no_grad():
            best = encoder.logits(given, torch.ones_like(given))[0].argmax(-1)
        right, total = right + int((best == given[0]).sum()), total + len(ids)
    return right / total


@needs("torch")
def test_lower_layers_rest(tmp_path: Path) -> None:
    spec = TermSpec(str(write_encoder(tmp_path / "encoder")))
    options = SparseTraining(layers=1)
    learner = SparseLearner(spec, corpus(tmp_path / "corpus"), options, None, context(tmp_path / "a"))
    module = learner.start()
    learning = {name for name, value in module.named_parameters() if value.requires_grad}
    assert {"head.dense.weight", "head.shift.bias"} < learning
    assert all("layer.1." in name or name.startswith("head.") for name in learning)
