from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.answers import Floats
from harness.errors import TouchstoneError
from harness.meter import Meter, metering
from harness.models.batching import BatchLimits
from harness.models.encoder import EncoderSpec, encoder_identity, load_encoder
from harness.models.packed import is_bert
from harness.models.source import find_model
from tests.models.tiny import SENTENCES, write_encoder, write_json
from tests.needs import DATA, needs

pytestmark = needs("torch")

# The first six components, by sentence-transformers 6.2.0.
MINILM = [
    [0.033242, 0.004406, -0.006277, 0.048379, -0.138702, -0.033617],
    [-0.056001, -0.003133, -0.083065, 0.032672, 0.021677, 0.019617],
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("tiny") / "encoder")


def plain(folder: Path, texts: Sequence[str], pooling: str, max_length: int = 64) -> Floats:
    """The same vectors computed one text at a time, without padding, by the shortest way."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModel.from_pretrained(folder).float().eval()
    rows = []
    for text in texts:
        inputs = tokenizer(text, truncation=True, max_length=max_length, return_tensors="pt")
        with torch.inference_mode():
            states = model(**inputs).last_hidden_state[0]
        row = {"mean": states.mean(0), "cls": states[0], "last": states[-1]}[pooling]
        rows.append(row.numpy())
    return np.stack(rows)


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
@pytest.mark.parametrize("limits", [BatchLimits(2048, 128), BatchLimits(20, 128), BatchLimits(1, 1)])
def test_texts_end_to_end_equal_padded_texts(tiny: Path, pooling: Any, limits: BatchLimits) -> None:
    encoder: Any = load_encoder(EncoderSpec(str(tiny), pooling=pooling))
    texts = [*SENTENCES, "", *(" ".join(SENTENCES[:n]) for n in range(1, 5))]
    encoder._limits = limits
    packed = encoder.encode(texts, "document")
    encoder._packed = None
    np.testing.assert_allclose(packed, encoder.encode(texts, "document"), atol=1e-6)


@pytest.mark.parametrize(
    "config", [{"is_decoder": True}, {"hidden_act": "relu"}, {"type": "RobertaModel"}, {}]
)
def test_only_a_plain_bert_is_computed_without_padding(tiny: Path, config: dict[str, Any]) -> None:
    from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel

    sizes: Any = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 30}
    kind: Any = (RobertaModel, RobertaConfig) if config.pop("type", "") else (BertModel, BertConfig)
    assert is_bert(kind[0](kind[1](**sizes, **config))) == (kind[0] is BertModel and not config)


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_batches_equal_the_plain_path(tiny: Path, pooling: Any) -> None:
    encoder = load_encoder(EncoderSpec(str(tiny), pooling=pooling))
    vectors = encoder.encode(SENTENCES, "document")
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(SENTENCES), encoder.dimension) == (len(SENTENCES), 16)
    np.testing.assert_allclose(vectors, plain(tiny, SENTENCES, pooling), atol=1e-5)


def test_long_texts_are_cut(tiny: Path) -> None:
    long = " ".join(SENTENCES * 20)
    vectors = load_encoder(EncoderSpec(str(tiny), max_length=9)).encode([long], "query")
    np.testing.assert_allclose(vectors, plain(tiny, [long], "mean", 9), atol=1e-5)


def test_prompts_go_to_their_role(tiny: Path) -> None:
    prompted = load_encoder(EncoderSpec(str(tiny), query_prompt="the cat ", document_prompt="dog "))
    bare = load_encoder(EncoderSpec(str(tiny)))
    np.testing.assert_allclose(
        prompted.encode(["sat"], "query"), bare.encode(["the cat sat"], "document"), atol=1e-6
    )
    np.testing.assert_allclose(
        prompted.encode(["sat"], "document"), bare.encode(["dog sat"], "query"), atol=1e-6
    )


def test_normalised_vectors_have_length_one(tiny: Path) -> None:
    vectors = load_encoder(EncoderSpec(str(tiny), normalise="yes")).encode(SENTENCES, "query")
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    expected = plain(tiny, SENTENCES, "mean")
    np.testing.assert_allclose(vectors, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-5)


def test_equal_texts_are_computed_once(tiny: Path) -> None:
    told: list[tuple[int, int]] = []
    encoder = load_encoder(EncoderSpec(str(tiny)))
    vectors = encoder.encode(
        ["dog", "sky", "dog", "dog"], "query", lambda done, total: told.append((done, total))
    )
    assert told[-1] == (2, 2)
    assert (vectors[0] == vectors[2]).all()
    assert (vectors[0] == vectors[3]).all()
    np.testing.assert_allclose(vectors[1], encoder.encode(["sky"], "query")[0], atol=1e-6)


def test_no_texts_and_empty_texts(tiny: Path) -> None:
    encoder = load_encoder(EncoderSpec(str(tiny)))
    assert encoder.encode([], "query").shape == (0, 16)
    assert np.isfinite(encoder.encode(["", "   "], "query")).all()


def test_out_of_memory_changes_no_vector(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder: Any = load_encoder(EncoderSpec(str(tiny)))
    texts = [f"{a} {b}" for a in SENTENCES for b in SENTENCES]
    whole = encoder.encode(texts, "document")
    forward, refused = encoder._forward, []

    def small(tokens: Any, rows: Any) -> Any:
        if len(rows) > 4:
            refused.append(len(rows))
            raise MemoryError
        return forward(tokens, rows)

    monkeypatch.setattr(encoder, "_forward", small)
    meter = Meter()
    with metering(meter):
        np.testing.assert_allclose(encoder.encode(texts, "document"), whole, atol=1e-6)
    assert meter.counts == {"batches halved for memory": len(refused)}
    assert refused


def test_a_dense_module_is_applied(tiny: Path, tmp_path: Path) -> None:
    import shutil

    import torch
    from safetensors.torch import save_file

    folder = tmp_path / "model"
    shutil.copytree(tiny, folder)
    listed = [
        {"type": f"sentence_transformers.models.{kind}", "path": path}
        for kind, path in (("Transformer", ""), ("Pooling", "1_Pooling"), ("Dense", "2_Dense"))
    ]
    write_json(folder / "modules.json", listed)
    write_json(folder / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": True})
    activation = "torch.nn.modules.activation.Tanh"
    write_json(
        folder / "2_Dense" / "config.json",
        {"in_features": 16, "out_features": 3, "activation_function": activation},
    )
    weight, bias = torch.randn(3, 16), torch.randn(3)
    save_file({"linear.weight": weight, "linear.bias": bias}, folder / "2_Dense" / "model.safetensors")
    encoder = load_encoder(EncoderSpec(str(folder)))
    assert encoder.dimension == 3
    expected = np.tanh(plain(tiny, SENTENCES, "mean") @ weight.numpy().T + bias.numpy())
    np.testing.assert_allclose(encoder.encode(SENTENCES, "query"), expected, atol=1e-5)


def test_bf16_is_close_to_fp32(tiny: Path) -> None:
    full = load_encoder(EncoderSpec(str(tiny), normalise="yes")).encode(SENTENCES, "query")
    half = load_encoder(EncoderSpec(str(tiny), normalise="yes", precision="bf16")).encode(SENTENCES, "query")
    assert half.dtype == np.float32
    assert ((full * half).sum(axis=1) > 0.999).all()


@pytest.mark.parametrize(
    "change",
    [
        {"pooling": "cls"},
        {"max_length": 9},
        {"normalise": "yes"},
        {"precision": "bf16"},
        {"query_prompt": "q: "},
        {"document_prompt": "d: "},
    ],
)
def test_every_setting_is_in_the_identity(tiny: Path, change: dict[str, Any]) -> None:
    spec = EncoderSpec(str(tiny))
    assert encoder_identity(replace(spec, **change)) != encoder_identity(spec)


def test_the_weights_and_the_kind_of_device_are_in_the_identity(tiny: Path, tmp_path: Path) -> None:
    import shutil

    spec = EncoderSpec(str(tiny))
    other = tmp_path / tiny.name
    shutil.copytree(tiny, other)
    assert encoder_identity(EncoderSpec(str(other))) == encoder_identity(spec)
    data = bytearray((other / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (other / "model.safetensors").write_bytes(data)
    assert encoder_identity(EncoderSpec(str(other))) != encoder_identity(spec)
    assert load_encoder(spec).identity == {**encoder_identity(spec), "device": "cpu"}


def test_the_identity_loads_no_torch(tiny: Path) -> None:
    code = (
        "import sys, json; from harness.models.encoder import EncoderSpec, encoder_identity; "
        f"print(json.dumps(encoder_identity(EncoderSpec({str(tiny)!r})))); "
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == encoder_identity(EncoderSpec(str(tiny)))


def test_a_folder_that_is_no_model_is_one_clear_error(tmp_path: Path) -> None:
    write_json(tmp_path / "config.json", {"model_type": "nonsense"})
    with pytest.raises(TouchstoneError, match="cannot load the model"):
        load_encoder(EncoderSpec(str(tmp_path)))


@needs("minilm", "data")
def test_minilm_on_real_texts_equals_the_plain_path() -> None:
    with (DATA / "beir" / "scifact" / "corpus.jsonl").open() as lines:
        documents = [json.loads(line) for _, line in zip(range(12), lines, strict=False)]
    texts = [f"{document['title']} {document['text']}" for document in documents] + [documents[0]["title"]]
    encoder: Any = load_encoder(EncoderSpec())
    encoder._limits = BatchLimits(1024, 128)
    expected = plain(find_model("all-MiniLM-L6-v2", "", "test").folder, texts, "mean", 256)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(encoder.encode(texts, "document"), expected, atol=1e-5)


@needs("minilm", "data")
def test_minilm_equals_sentence_transformers() -> None:
    """fp32: cosine above 0.99999 and components within 1e-5 of the library that the model was made with."""
    from sentence_transformers import SentenceTransformer

    with (DATA / "beir" / "scifact" / "queries.jsonl").open() as lines:
        queries = [json.loads(line)["text"] for _, line in zip(range(40), lines, strict=False)]
    with (DATA / "beir" / "scifact" / "corpus.jsonl").open() as lines:
        documents = [json.loads(line)["text"] for _, line in zip(range(8), lines, strict=False)]
    texts = queries + documents
    model = SentenceTransformer(str(find_model("all-MiniLM-L6-v2", "", "test").folder), device="cpu")
    theirs = model.encode(texts, batch_size=32)
    ours = load_encoder(EncoderSpec()).encode(texts, "document")
    assert (ours * theirs).sum(axis=1).min() > 0.99999
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@needs("minilm")
def test_minilm_vectors_are_those_of_code_version_2() -> None:
    """When this fails on purpose, raise CODE_VERSION."""
    texts = ["A man is eating food.", "The theory of relativity was published in 1915."]
    vectors = load_encoder(EncoderSpec()).encode(texts, "query")
    np.testing.assert_allclose(vectors[:, :6], MINILM, atol=2e-5)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
