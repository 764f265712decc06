"""Sparse encoders against the formulas, one text at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.models.term_encoder import TermEncoder, TermSpec, TermTokenizer, has_head, term_identity
from harness.sparse import SparseRows
from tests.models.tiny import SENTENCES, write_encoder, write_impacts, write_masked_lm
from tests.needs import needs

pytestmark = needs("torch")
REPEATED = [*SENTENCES, "cat dog cat cat"]


def dense(rows: SparseRows, terms: int) -> np.ndarray:
    found = np.zeros((len(rows), terms), np.float32)
    for number in range(len(rows)):
        held, weights = rows.row(number)
        found[number, held] = weights
    return found


@pytest.mark.parametrize(("logs", "special_terms"), [(1, True), (2, False)])
def test_masked_lm_weights_by_the_formula(tmp_path: Path, logs: int, special_terms: bool) -> None:
    import torch
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    folder = write_masked_lm(tmp_path / "mlm")
    encoder = TermEncoder(TermSpec(str(folder), logs=logs, special_terms=special_terms))
    found = dense(encoder.encode(SENTENCES), encoder.terms)
    model: Any = AutoModelForMaskedLM.from_pretrained(folder).eval()
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    for row, text in enumerate(SENTENCES):
        with torch.no_grad():
            logits = model(**tokenizer(text, return_tensors="pt")).logits[0]
        weights = torch.log1p(torch.relu(logits)).max(0).values
        weights = torch.log1p(weights) if logs == 2 else weights
        weights[[] if special_terms else tokenizer.all_special_ids] = 0.0
        np.testing.assert_allclose(found[row], weights.numpy(), atol=1e-5)
    assert (found > 0).any() and (found == 0).any()


def test_top_terms_are_the_heaviest(tmp_path: Path) -> None:
    encoder = TermEncoder(TermSpec(str(write_masked_lm(tmp_path / "mlm"))))
    whole, cut = encoder.encode(SENTENCES), encoder.encode(SENTENCES, top=3)
    for row in range(len(SENTENCES)):
        weights = np.sort(whole.row(row)[1])[::-1]
        np.testing.assert_allclose(np.sort(cut.row(row)[1])[::-1], weights[:3])


def test_impacts_are_the_largest_in_documents_and_sums_in_queries(tmp_path: Path) -> None:
    import torch

    encoder = TermEncoder(TermSpec(str(write_impacts(tmp_path / "impacts")), "impact", special_terms=False))
    found = {role: dense(encoder.encode(REPEATED, role), encoder.terms) for role in ("document", "query")}
    assert has_head(encoder.spec)
    for row, ids in enumerate(encoder.tokenizer.tokens(REPEATED)):
        given = torch.tensor([ids])
        with torch.no_grad():
            states = encoder.states(given, torch.ones_like(given))[0]
        values = torch.relu(encoder.module["impact"](states)).squeeze(-1).tolist()
        for role, fold in (("document", max), ("query", sum)):
            wanted = np.zeros(encoder.terms, np.float32)
            for term in set(ids) - encoder.tokenizer.special:
                wanted[term] = fold(value for value, token in zip(values, ids, strict=True) if token == term)
            np.testing.assert_allclose(found[role][row], wanted, atol=1e-5)
    assert (found["query"][-1] > found["document"][-1]).any()


def test_a_checkpoint_without_a_head_gets_a_neutral_one(tmp_path: Path) -> None:
    import torch

    folder = write_encoder(tmp_path / "encoder")
    impact = TermEncoder(TermSpec(str(folder), "impact", special_terms=False))
    rows = impact.encode(["the cat sat", "the the"])
    assert rows.weights.tolist() == [1.0] * 4 and not has_head(impact.spec)
    words = TermEncoder(TermSpec(str(folder)))
    ids = torch.tensor([[2, 6, 3]])
    with torch.no_grad():
        states = words.states(ids, torch.ones_like(ids))
        wanted = states @ words.module["model"].get_input_embeddings().weight.T
        np.testing.assert_allclose(words.logits(ids, torch.ones_like(ids)), wanted, atol=1e-5)


def test_identity_and_length(tmp_path: Path) -> None:
    folder = str(write_masked_lm(tmp_path / "mlm"))
    first = term_identity(TermSpec(folder))
    assert first["max_length"] == 64 and first == term_identity(TermSpec(folder, max_length=512))
    for other in (
        TermSpec(folder, max_length=8),
        TermSpec(folder, logs=2),
        TermSpec(folder, precision="bf16"),
    ):
        assert term_identity(other) != first
    assert len(TermTokenizer(TermSpec(folder, max_length=4)).tokens(["the cat sat on a mat"])[0]) == 4
    exact = TermEncoder(TermSpec(folder)).encode(SENTENCES)
    rounded = TermEncoder(TermSpec(folder, precision="bf16")).encode(SENTENCES)
    terms = len(TermTokenizer(TermSpec(folder)))
    np.testing.assert_allclose(dense(exact, terms), dense(rounded, terms), atol=0.1)
