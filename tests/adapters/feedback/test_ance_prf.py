"""ANCE-PRF: the loss by hand, what the encoder reads, the untrained limit; training moves only queries."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from adapters.feedback.ance_prf_repro import AncePrf, FeedbackEncoder, Settings, contrast, joined
from harness.adapter import Context
from harness.answers import Rankings
from harness.errors import TouchstoneError
from harness.execute import Session
from harness.folds import Fold
from harness.models.encoder import EncoderSpec, load_encoder
from harness.models.tower import Tower, save_encoder, separator
from harness.registry import make_adapter, parse_method
from harness.training import TrainSpec, train
from tests.adapters.dense.test_dense import ranked
from tests.models.tiny import write_encoder
from tests.needs import needs


@needs("torch")
def test_loss_by_hand() -> None:
    import torch

    assert float(contrast(torch.tensor([2.0]), torch.tensor([1.0, 0.0]))) == pytest.approx(0.4076, abs=1e-4)


@needs("torch")
def test_query_first_then_passages_then_the_cut(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "encoder")
    spec = EncoderSpec(str(folder), max_length=8)
    text = separator(spec).join(["the cat", "red house is far", "sky"])
    tower = Tower(spec)
    words = tower.encoder._tokenizer.convert_ids_to_tokens(tower.tokenise([text]).values.tolist())
    assert words == ["[CLS]", "the", "cat", "[SEP]", "red", "house", "is", "[SEP]"]


@needs("torch")
def test_case_of_feedback_matters_to_a_cased_tokenizer_alone(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "encoder")
    texts = ["the cat[SEP]Red House", "the cat[SEP]red house"]
    uncased = load_encoder(EncoderSpec(str(folder))).encode(texts, "query")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["normalizer"]["lowercase"] = False
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    cased = load_encoder(EncoderSpec(str(folder))).encode(texts, "query")
    np.testing.assert_allclose(uncased[0], uncased[1], atol=1e-6)
    assert np.abs(cased[0] - cased[1]).max() > 1e-3


@needs("minilm")
def test_without_feedback_the_untrained_encoder_is_the_base(session: Session) -> None:
    base, task = ranked(session, "dense")
    same, _ = ranked(session, "ance-prf-repro(checkpoint=all-MiniLM-L6-v2,k=0)")
    assert np.array_equal(base.docs, same.docs)
    np.testing.assert_allclose(base.scores, same.scores, atol=1e-5)
    read, _ = ranked(session, "ance-prf-repro(checkpoint=all-MiniLM-L6-v2)")
    assert not np.allclose(base.scores, read.scores, atol=1e-3)
    texts = joined(task, base, Settings(k=2), "[SEP]")
    first = task.corpus.texts_of(base.docs[0, :2])
    assert texts[0] == "[SEP]".join([task.query_texts[0], *(text.lower() for text in first)])


@needs("minilm")
def test_training_fits_its_queries_and_leaves_the_documents(session: Session, tmp_path: Path) -> None:
    _, task = ranked(session, "dense")
    files = list((session.assets.root / "vectors").glob("*/vectors.npy"))  # of documents and of queries
    before = [path.read_bytes() for path in files]
    settings = Settings(layers=1, negatives=8, input_length=64)
    context = Context(session.assets, lambda _method: Rankings.empty(1))
    vectors = AncePrf(settings).vectors(task, context)
    base = vectors.rankings(task, task.items, vectors.all_queries(task))
    fold = Fold(task.items, task.items, task.items)  # an overfit on purpose
    learner = FeedbackEncoder(task, vectors, base, fold, settings)
    learner.identity = {}
    train(learner, TrainSpec(3, 3, 2e-4, clip=1.0), tmp_path, lambda _a, _b: None)
    losses = json.loads((tmp_path / "history.json").read_text())["losses"]
    assert losses[-1] < losses[0]
    assert files and [path.read_bytes() for path in files] == before
    pairs = zip(learner.negative, learner.taught, strict=True)
    assert all(len(bad) and not np.isin(bad, own).any() for bad, (_, own) in pairs)


@needs("torch")
def test_a_saved_encoder_is_the_trained_one(tmp_path: Path) -> None:
    spec = EncoderSpec(str(write_encoder(tmp_path / "encoder")), max_length=32)
    tower = Tower(spec)
    import torch

    with torch.no_grad():
        weights = next(tower.module.parameters())
        weights.add_(torch.randn(weights.shape, generator=torch.Generator().manual_seed(0)))
    save_encoder(spec, tower, tmp_path / "saved")
    again = load_encoder(EncoderSpec(str(tmp_path / "saved"), max_length=32))
    texts = ["the cat sat", "sky blue"]
    trained = tower.vectors(tower.tokenise(texts), np.arange(2)).detach().numpy()
    np.testing.assert_allclose(again.encode(texts, "query"), trained, atol=1e-5)
    assert np.abs(again.encode(texts, "query") - load_encoder(spec).encode(texts, "query")).max() > 1e-3


@needs("torch")
def test_mistakes() -> None:
    with pytest.raises(TouchstoneError, match="k is -1"):
        make_adapter(parse_method("ance-prf-repro(k=-1)")).check()
