"""Randomly initialised Llama models with a tokenizer of MMLU's own words: real prompts, no download."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

SHAPES: dict[str, dict[str, int]] = {
    "tiny": {"hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 4, "num_attention_heads": 4},
    "100m": {
        "hidden_size": 768,
        "intermediate_size": 2048,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
    },
    "1b": {
        "hidden_size": 2048,
        "intermediate_size": 5632,
        "num_hidden_layers": 22,
        "num_attention_heads": 32,
    },
}
KEY_HEADS = {"tiny": 4, "100m": 12, "1b": 4}
VOCABULARY = 16_384
WINDOW = 4096


def write_llama(folder: Path, shape: str, texts: list[str]) -> int:
    """The model of a shape as a transformers folder; returns its number of parameters."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    size = write_tokenizer(folder, texts)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=size,
        max_position_embeddings=WINDOW,
        num_key_value_heads=KEY_HEADS[shape],
        bos_token_id=0,
        eos_token_id=0,
        initializer_range=0.05,
        **SHAPES[shape],
    )
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    return sum(parameter.numel() for parameter in model.parameters())


def write_tokenizer(folder: Path, texts: list[str]) -> int:
    """A byte-level BPE tokenizer trained on *texts*; returns the size of its vocabulary."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=["<|end|>"], initial_alphabet=alphabet, show_progress=False
    )
    inner.train_from_iterator(texts, trainer)
    fast: Any = PreTrainedTokenizerFast
    fast(tokenizer_object=inner, eos_token="<|end|>", model_max_length=WINDOW).save_pretrained(folder)
    return int(inner.get_vocab_size())


def mmlu_texts(mirror: Path) -> list[str]:
    """Questions and choices of MMLU's test split."""
    found = []
    for path in sorted((mirror / "mmlu" / "test").glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as handle:
            found += [" ".join(row[:5]) for row in csv.reader(handle)]
    return found
