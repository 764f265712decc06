from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.answers import Floats
from harness.errors import TouchstoneError
from harness.models.reranker import RerankerSpec, load_reranker, reranker_identity
from tests.models.tiny import SENTENCES, write_classifier
from tests.needs import needs

pytestmark = needs("torch")

PAIRS = [(query, document) for query in ("the cat", "blue sky", "dog") for document in SENTENCES]


def plain(folder: Path, pairs: list[tuple[str, str]], max_length: int = 64) -> Floats:
    """The same scores one pair at a time, without padding."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForSequenceClassification.from_pretrained(folder).float().eval()
    scores = []
    for query, document in pairs:
        inputs = tokenizer(query, document, truncation=True, max_length=max_length, return_tensors="pt")
        with torch.inference_mode():
            logits = model(**inputs).logits[0]
        scores.append(float(logits[0] if len(logits) == 1 else torch.log_softmax(logits, 0)[1]))
    return np.array(scores, np.float32)


@pytest.mark.parametrize("labels", [1, 2])
def test_batches_equal_the_plain_path(tmp_path: Path, labels: int) -> None:
    folder = write_classifier(tmp_path / "model", labels)
    scores = load_reranker(RerankerSpec(str(folder))).score(PAIRS)
    assert scores.dtype == np.float32
    assert len(np.unique(scores.round(4))) > len(PAIRS) // 2
    np.testing.assert_allclose(scores, plain(folder, PAIRS), atol=1e-5)
    assert labels == 1 or (scores < 0).all()


def test_segments_tell_query_from_document(tmp_path: Path) -> None:
    reranker = load_reranker(RerankerSpec(str(write_classifier(tmp_path / "model", 1))))
    scores = reranker.score([("the cat", "sat on a mat"), ("the cat sat", "on a mat")])
    assert abs(scores[0] - scores[1]) > 1e-4


def test_long_pairs_are_cut_at_max_length(tmp_path: Path) -> None:
    folder = write_classifier(tmp_path / "model", 1)
    long = [("the cat", " ".join(SENTENCES * 20)), ("dog", "sky")]
    for max_length in (0, 12):
        scores = load_reranker(RerankerSpec(str(folder), max_length=max_length)).score(long)
        np.testing.assert_allclose(scores, plain(folder, long, max_length or 64), atol=1e-5)


def test_no_pairs(tmp_path: Path) -> None:
    assert load_reranker(RerankerSpec(str(write_classifier(tmp_path / "model", 1)))).score([]).shape == (0,)


def test_identity(tmp_path: Path) -> None:
    folder = str(write_classifier(tmp_path / "model", 1))
    spec = RerankerSpec(folder)
    assert load_reranker(spec).identity == {**reranker_identity(spec), "device": "cpu"}
    others = [RerankerSpec(folder, max_length=9), RerankerSpec(folder, precision="bf16")]
    assert all(reranker_identity(other) != reranker_identity(spec) for other in others)


def test_more_labels_and_more_tokens_than_there_are_positions_are_errors(tmp_path: Path) -> None:
    folder = str(write_classifier(tmp_path / "model", 3))
    with pytest.raises(TouchstoneError, match="the model has 3 labels"):
        load_reranker(RerankerSpec(folder))
    with pytest.raises(TouchstoneError, match=r"max_length is 65 .the model takes 1 to 64 tokens"):
        reranker_identity(RerankerSpec(folder, max_length=65))
