"""Tiny models that stand in for an adapter's default in tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.models.tiny import (
    write_classifier,
    write_colbert,
    write_encoder,
    write_language_model,
    write_masked_lm,
    write_seq2seq,
)
from tests.needs import PRESENT


@pytest.fixture
def tiny_models(tmp_path: Path) -> dict[str, dict[str, str]]:
    """Settings by adapter name that make it run here: random tiny models of the same class, or cheaper
    parts.
    """
    found = {"fusion": {"methods": "bm25+random"}}
    if PRESENT["torch"]():
        found["ance-prf-repro"] = {"model": str(write_encoder(tmp_path / "encoder")), "input_length": "64"}
        classifier, language = tmp_path / "classifier", tmp_path / "language"
        found["cross-encoder"] = {"model": str(write_classifier(classifier, 1)), "depth": "5"}
        seq2seq = write_seq2seq(tmp_path / "seq2seq")
        found["seal"] = {"model": str(seq2seq), "beam": "3", "body_tokens": "4", "title_tokens": "6"}
        found["lattice"] = {"judge": "encoder", "branching": "3"}
        found["colbert"] = {"model": str(write_colbert(tmp_path / "colbert"))}
        long = str(write_language_model(tmp_path / "long", 512))
        found["promptreps"] = {"model": long}
        found["promptprf"] = {"model": long, "depth": "2", "feature_tokens": "8", "passage_words": "8"}
        found["doc2query"] = {"model": str(seq2seq), "queries": "2", "tokens": "6"}
        found["splade"] = {"model": str(write_masked_lm(tmp_path / "mlm")), "max_length": "64"}
        found["inference-free-sparse"] = {"model": str(write_masked_lm(tmp_path / "free", idf=True))}
        found["unicoil"] = {"model": "all-MiniLM-L6-v2"}  # tiny models know no word of the toy task
        found["hf-lm"] = {"model": str(write_language_model(language, 128))}
    return found
