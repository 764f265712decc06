"""Logits, hidden states and generation of every family, against the model computed whole and alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import TouchstoneError
from harness.models.language import (
    Chat,
    LanguageModelSpec,
    Message,
    Sampling,
    TokenTrie,
    load_language_model,
)
from tests.models.test_language import every_logit
from tests.models.tiny import FAMILIES, SENTENCES, SLIDING, write_language_model
from tests.needs import needs

pytestmark = needs("torch")

PROMPTS = [*SENTENCES, "the cat sat on a mat. the dog sat on a house. the sky is", "Answer:"]


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = write_language_model(tmp_path_factory.mktemp("tiny") / "lm", family=request.param)
    return load_language_model(LanguageModelSpec(str(folder)))


def test_next_token_logits(model: Any) -> None:
    found = model.next_token_logits(PROMPTS)
    assert found.dtype == np.float32
    assert max(len(model.encode(prompt)) for prompt in PROMPTS) > SLIDING
    for prompt, row in zip(PROMPTS, found, strict=True):
        np.testing.assert_allclose(row, every_logit(model, model.encode(prompt))[-1], atol=1e-4)
    ids = model.encode(PROMPTS[0])
    assert np.array_equal(model.next_token_logits([ids]), model.next_token_logits([PROMPTS[0]]))
    assert model.next_token_logits([]).shape == (0, model._network.config.vocab_size)


def test_hidden_states_are_what_the_output_layer_reads(model: Any) -> None:
    import torch

    every = model.hidden_states(PROMPTS)
    chosen = model.hidden_states(PROMPTS, [[-1, 0]] * len(PROMPTS))
    for prompt, states, some in zip(PROMPTS, every, chosen, strict=True):
        with torch.inference_mode():
            logits = model._network.head(torch.from_numpy(states)).numpy()
        np.testing.assert_allclose(logits, every_logit(model, model.encode(prompt)), atol=1e-4)
        np.testing.assert_allclose(some, states[[-1, 0]], atol=1e-5)
    with pytest.raises(TouchstoneError, match="outside a prompt"):
        model.hidden_states(["dog"], [[99]])


def test_token_logprobs(model: Any) -> None:
    ids = model.encode(PROMPTS[-2])
    (values,) = model.token_logprobs([(ids[:5], ids[5:])])
    logprobs = every_logit(model, ids).log_softmax(-1).numpy()
    np.testing.assert_allclose(values, logprobs[np.arange(4, len(ids) - 1), ids[5:]], atol=1e-5)
    with pytest.raises(TouchstoneError, match="does not fit"):
        model.token_logprobs([(ids, [1] * 64)])


def test_batched_greedy_text_equals_recomputing_every_step(model: Any) -> None:
    for prompt, found in zip(PROMPTS, model.generate_many(PROMPTS, 12), strict=True):
        ids, logprob = list(model.encode(prompt)), 0.0
        start = len(ids)
        for _ in range(12):
            logprobs = every_logit(model, ids)[-1].log_softmax(-1)
            token = int(logprobs.argmax())
            logprob += float(logprobs[token])
            if token == 0:
                break
            ids.append(token)
        assert list(found.ids) == ids[start:]
        assert found.logprob == pytest.approx(logprob, abs=1e-3)
        assert found.end == ("length" if len(ids) == start + 12 else "stop")


def test_sampling_is_seeded_and_does_not_depend_on_the_batch(model: Any) -> None:
    warm = Sampling(temperature=1.5, seed=5)
    together = [found.text for found in model.generate_many(PROMPTS, 8, warm)]
    assert together == [model.generate(prompt, 8, warm) for prompt in PROMPTS]
    assert together != [found.text for found in model.generate_many(PROMPTS, 8, Sampling(1.5, seed=6))]
    narrow = [found.text for found in model.generate_many(PROMPTS, 8, Sampling(1.5, top_k=1))]
    assert narrow == [found.text for found in model.generate_many(PROMPTS, 8)]


def test_a_trie_lets_only_its_sequences_be_written(model: Any) -> None:
    names = ["the cat", "the cat sat", "dog", "sky blue", "sky is"]
    trie = TokenTrie.of([model.encode(name) for name in names], stop=0)
    found = model.generate_many(PROMPTS, 20, Sampling(temperature=3.0), trie)
    written = {model.decode(one.ids) for one in found}
    assert written <= set(names)
    assert len(written) > 1
    assert all(one.end == "stop" for one in found)


def test_stop_texts_end_an_answer(model: Any) -> None:
    text = model.generate("the cat", 12)
    assert len(text) > 4
    mark = text[3:5]
    assert model.generate("the cat", 12, Sampling(stop=(mark,))) == text[: text.index(mark)]


def test_chats_follow_the_models_own_template(tmp_path: Path) -> None:
    folder = write_language_model(tmp_path / "lm")
    chat = Chat.ask("the cat?", system="dog")
    with pytest.raises(TouchstoneError, match="no chat template"):
        load_language_model(LanguageModelSpec(str(folder))).generate(chat, 4)
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    settings["chat_template"] = (
        "{% for m in messages %}{% if m.role == 'assistant' %}"
        "{{ raise_exception('none of that') }}{% endif %}"
        "[{{ m.role }}] {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    path.write_text(json.dumps(settings))
    model = load_language_model(LanguageModelSpec(str(folder)))
    text = "[system] dog\n[user] the cat?\n[assistant]"
    assert model.prompt_ids(chat) == model.encode(text)
    assert model.generate(chat, 6) == model.generate(text, 6)
    with pytest.raises(TouchstoneError, match=r"refuses the messages .*none of that"):
        model.prompt_ids(Chat((Message("assistant", "hm"),)))


def test_layers_spread_over_devices_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without accelerators the second device is the disk: accelerate's hooks bring its layer in and out."""
    from harness.models import language

    folder = write_language_model(tmp_path / "lm", family="llama")
    one = load_language_model(LanguageModelSpec(str(folder)))
    loaded = language.from_folder

    def mapped(kind: Any, where: Path, **options: Any) -> Any:
        assert options["device_map"] == "balanced"
        parts = ("model.embed_tokens", "model.layers.0", "model.layers.1", "model.norm", "model.rotary_emb")
        options["device_map"] = {**dict.fromkeys(parts, "cpu"), "lm_head": "cpu", parts[2]: "disk"}
        return loaded(kind, where, offload_folder=tmp_path / "disk", **options)

    monkeypatch.setattr(language, "from_folder", mapped)
    several = load_language_model(LanguageModelSpec(str(folder), device="auto"))
    assert several._network.model.hf_device_map  # type: ignore[attr-defined]
    np.testing.assert_array_equal(one.next_token_logits(PROMPTS), several.next_token_logits(PROMPTS))
    assert one.generate("dog", 8) == several.generate("dog", 8)
    with pytest.raises(TouchstoneError, match="does not number its devices"):
        load_language_model(LanguageModelSpec(str(folder), device="cuda+cuda"))
