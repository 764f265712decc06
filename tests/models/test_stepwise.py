"""Stepwise models against whole forward passes of transformers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.models.language import LanguageModelSpec
from harness.models.stepwise import Causal, EncoderDecoder, load_step_model, step_model_identity
from tests.models.tiny import write_language_model, write_seq2seq
from tests.needs import needs

pytestmark = needs("torch")
SOURCE = "the cat sat"


def test_an_encoder_decoder_equals_transformers(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    folder = write_seq2seq(tmp_path / "bart")
    model = load_step_model(LanguageModelSpec(str(folder)))
    assert isinstance(model, EncoderDecoder)
    plain = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    sequences = [[5, 9, 40], [7], [5, 9, 40, 41, 42]]
    given = tokenizer(f" {SOURCE}", return_tensors="pt")
    for number, sequence in enumerate(sequences):
        with torch.inference_mode():
            ids = torch.tensor([[model.end, *sequence]])
            logprobs = plain(**given, decoder_input_ids=ids).logits[0].log_softmax(-1).numpy()
        np.testing.assert_allclose(
            model.next_logprobs(SOURCE, sequences)[number], logprobs[-1], rtol=1e-4, atol=1e-5
        )
        expected = sum(logprobs[step, token] for step, token in enumerate(sequence))
        assert model.sequence_logprobs(SOURCE, sequences)[number] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("family", ["llama", "gpt_neox"])
def test_a_causal_model_reads_the_source_as_its_prompt(tmp_path: Path, family: str) -> None:
    folder = write_language_model(tmp_path / "lm", window=32, family=family)
    spec = LanguageModelSpec(str(folder))
    model = load_step_model(spec)
    assert isinstance(model, Causal)
    assert step_model_identity(spec)["model"] == "lm"
    sequences = [[5, 9], [7, 11]]
    steps = model.next_logprobs(SOURCE, [[], [5], [7]])
    assert steps.shape == (3, model.end)
    np.testing.assert_allclose(np.exp(steps).sum(axis=1), 1, rtol=1e-5)
    expected = [steps[0, 5] + steps[1, 9], steps[0, 7] + steps[2, 11]]
    np.testing.assert_allclose(model.sequence_logprobs(SOURCE, sequences), expected, rtol=1e-4)
    assert model.sequence_logprobs("word " * 100, sequences).shape == (2,)  # longer than the window
