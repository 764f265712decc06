"""MaxSim and ColBERT's token vectors against plain loops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.answers import PAD
from harness.assets import Assets
from harness.late_interaction import TokenIndex, best_rows, max_sim, token_index
from harness.models.late import LateEncoder, LateSpec, TokenVectors, late_identity
from harness.vectors import ListedTexts
from tests.models.tiny import write_colbert, write_encoder
from tests.needs import needs

pytestmark = needs("torch")
TEXTS = ["the cat sat on a mat.", "dog", "big red house, far", "sky blue", "the tree was small", "dog"]


def quiet(_done: int, _total: int) -> None:
    return


def plain_max_sim(query: np.ndarray, document: np.ndarray) -> float:
    return float(sum(max(float(q @ d) for d in document) for q in query))


def random_index(lengths: list[int], seed: int = 0) -> TokenIndex:
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(sum(lengths), 4)).astype(np.float16)
    return TokenIndex(values, np.cumsum([0, *lengths]).astype(np.int64))


@pytest.mark.parametrize("cells", [8, 1 << 20])
@pytest.mark.parametrize("docs", [None, np.array([4, 1, 2], np.int32), np.array([1, 2, 3], np.int32)])
def test_equal_to_a_plain_loop(monkeypatch: pytest.MonkeyPatch, cells: int, docs: np.ndarray | None) -> None:
    monkeypatch.setattr("harness.late_interaction.CELLS", cells)
    index = random_index([3, 1, 5, 2, 4])
    values = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    queries = TokenVectors(values, np.array([0, 2, 5], np.int64))
    found = max_sim(queries, index, docs, "cpu")
    for row, (a, b) in enumerate([(0, 2), (2, 5)]):
        for column, doc in enumerate(range(5) if docs is None else docs.tolist()):
            document = index.values[index.starts[doc] : index.starts[doc + 1]].astype(np.float32)
            assert found[row, column] == pytest.approx(plain_max_sim(values[a:b], document), rel=1e-4)


def test_a_document_without_tokens_is_never_found() -> None:
    index = random_index([2, 0, 3])
    queries = TokenVectors(np.ones((1, 4), np.float32), np.array([0, 1], np.int64))
    scores = max_sim(queries, index, None, "cpu")[0]
    assert scores[1] == -np.inf
    docs, _ = best_rows(scores, np.arange(3, dtype=np.int32), np.arange(3, dtype=np.int32), 3)
    assert sorted(docs.tolist()) == [PAD, 0, 2]


def test_ties_go_by_precedence_at_the_cut_too() -> None:
    scores = np.array([1.0, 2.0, 1.0, 1.0], np.float32)
    docs, values = best_rows(scores, np.array([5, 6, 7, 8], np.int32), np.array([9] * 5 + [2, 3, 1, 0]), 2)
    assert docs.tolist() == [6, 8]
    assert values.tolist() == [2.0, 1.0]


def test_a_checkpoint_reads_as_colbert_does(tmp_path: Path) -> None:
    """Markers, masks after queries that are not attended to, no punctuation in documents, unit vectors."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = write_colbert(tmp_path / "colbert")
    encoder = LateEncoder(LateSpec(str(folder), query_tokens=12))
    assert encoder.trained and encoder.dimension == 8
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    from safetensors.torch import load_file

    linear = load_file(folder / "model.safetensors")["linear.weight"]
    ids = tokenizer("the cat sat")["input_ids"]
    ids = [ids[0], tokenizer.convert_tokens_to_ids("[unused0]"), *ids[1:]]
    read = len(ids)
    ids += [tokenizer.mask_token_id] * (12 - read)
    mask = torch.tensor([[1] * read + [0] * (12 - read)])
    with torch.inference_mode():
        states = model(input_ids=torch.tensor([ids]), attention_mask=mask).last_hidden_state[0]
        expected = torch.nn.functional.normalize(states @ linear.T, dim=-1).numpy()
    found = encoder.encode(["the cat sat", "dog"], "query")
    assert np.diff(found.starts).tolist() == [12, 12]
    np.testing.assert_allclose(found.values[:12], expected, atol=1e-5)
    documents = encoder.encode(TEXTS[:2], "document")
    assert np.diff(documents.starts).tolist() == [3 + 6, 3 + 1]  # [CLS] [D] ... [SEP], without the full stop
    np.testing.assert_allclose(np.linalg.norm(documents.values, axis=1), 1, rtol=1e-5)


def test_vectors_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    encoder = LateEncoder(LateSpec(str(write_encoder(tmp_path / "plain"))))
    assert not encoder.trained
    together = encoder.encode(TEXTS, "document")
    for number, text in enumerate(TEXTS):
        alone = encoder.encode([text], "document").values
        np.testing.assert_allclose(
            together.values[together.starts[number] : together.starts[number + 1]], alone, atol=1e-5
        )


def test_an_index_is_made_once_and_goes_on_after_a_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.late_interaction.SHARD", 2)
    encoder = LateEncoder(LateSpec(str(write_encoder(tmp_path / "plain"))))
    assets, corpus, seen = Assets(tmp_path / "cache"), ListedTexts(TEXTS), []
    encode = encoder.encode

    def cut(texts: list[str], role: str) -> TokenVectors:
        seen.append(len(texts))
        if len(seen) == 2:
            raise KeyboardInterrupt
        return encode(texts, role)  # type: ignore[arg-type]

    monkeypatch.setattr(encoder, "encode", cut)
    with pytest.raises(KeyboardInterrupt):
        token_index(encoder, corpus, assets.get_or_make, quiet)
    index = token_index(encoder, corpus, assets.get_or_make, quiet)
    assert seen == [2, 2, 2, 2]  # the first shard was kept
    expected = encode(TEXTS, "document")
    assert np.array_equal(index.starts, expected.starts)
    np.testing.assert_allclose(np.asarray(index.values, np.float32), expected.values, atol=1e-3)
    token_index(encoder, corpus, assets.get_or_make, quiet)
    assert len(seen) == 4


def test_what_can_change_a_vector_is_in_the_identity(tmp_path: Path) -> None:
    folder = str(write_encoder(tmp_path / "plain"))
    specs = [LateSpec(folder), LateSpec(folder, query_tokens=8), LateSpec(folder, document_tokens=8)]
    specs += [LateSpec(folder, precision="bf16")]
    assert len({str(late_identity(spec)) for spec in specs}) == 4
