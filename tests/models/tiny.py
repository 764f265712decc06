"""Tiny random models and their tokenizers, written to a folder as the hub lays them out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TEXT = "the a of cat dog sat on mat red blue green house tree sky is was big small ran far ##s ##ed ##ing"
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *TEXT.split(), "[unused0]", "[unused1]", ".", ","]
SENTENCES = (
    "the cat sat on a mat",
    "dog",
    "the big red house is far",
    "the tree was small small small",
    "sky blue",
)


def write_wordpiece(folder: Path) -> None:
    """A WordPiece tokenizer over VOCABULARY."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    ids = {word: number for number, word in enumerate(VOCABULARY)}
    inner = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer(lowercase=True)
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer: Any = PreTrainedTokenizerFast
    tokenizer(
        tokenizer_object=inner,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=64,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    ).save_pretrained(folder)


def write_encoder(folder: Path) -> Path:
    """A random two-layer BERT with 16 dimensions."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(1)
    BertModel(BertConfig(**_bert())).save_pretrained(folder)
    write_wordpiece(folder)
    return folder


def write_colbert(folder: Path) -> Path:
    """A random ColBERT checkpoint: the tiny BERT and a linear layer to 8 dimensions."""
    import torch
    from safetensors.torch import load_file, save_file

    write_encoder(folder)
    config = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", {**config, "architectures": ["HF_ColBERT"]})
    weights = {f"bert.{name}": value for name, value in load_file(folder / "model.safetensors").items()}
    torch.manual_seed(5)
    save_file(
        {**weights, "linear.weight": torch.randn(8, 16)}, folder / "model.safetensors", {"format": "pt"}
    )
    return folder


def write_masked_lm(folder: Path, idf: bool = False) -> Path:
    """A random BERT with a masked-LM head; with *idf* also a table of query weights, as OpenSearch ships."""
    import torch
    from transformers import BertConfig, BertForMaskedLM

    torch.manual_seed(5)
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}  # learns in few steps
    BertForMaskedLM(BertConfig(**_bert(), **still, initializer_range=0.3)).save_pretrained(folder)
    write_wordpiece(folder)
    if idf:
        write_json(folder / "idf.json", {"cat": 7.5, "the": 0.1353, "dog": -1.0, "[CLS]": 3.0})
    return folder


def write_impacts(folder: Path) -> Path:
    """A random BERT with uniCOIL's head, one weight a token, as its checkpoints name it."""
    import torch
    from safetensors.torch import save_file
    from transformers import BertConfig, BertModel

    torch.manual_seed(6)
    model = BertModel(BertConfig(**_bert(), initializer_range=0.5))
    model.config.save_pretrained(folder)
    head = torch.nn.Linear(16, 1)
    torch.nn.init.ones_(head.bias)
    state = {f"bert.{name}": value for name, value in model.state_dict().items()}
    state |= {f"tok_proj.{name}": value for name, value in head.state_dict().items()}
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    write_wordpiece(folder)
    return folder


def write_classifier(folder: Path, labels: int) -> Path:
    """A random BERT classifier."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(2)
    config = BertConfig(**_bert(), initializer_range=0.5)
    config.num_labels = labels
    BertForSequenceClassification(config).save_pretrained(folder)
    write_wordpiece(folder)
    return folder


FAMILIES = ("gpt_neox", "gpt2", "llama", "mistral", "qwen2", "mixtral")
SLIDING = 12  # tokens that the tiny Mistral looks back over


def write_language_model(folder: Path, window: int = 64, family: str = "gpt_neox") -> Path:
    """A random causal model of one of FAMILIES: two layers, 32 dimensions, two key heads for four query heads
    where the family has fewer of them. Its byte-level BPE tokenizer merges a few pairs; no start token.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    size = write_byte_pairs(folder)
    torch.manual_seed(3)
    names = {
        "num_hidden_layers": "n_layer", "num_attention_heads": "n_head", "hidden_size": "n_embd",
        "intermediate_size": "n_inner", "max_position_embeddings": "n_positions",
    } if family == "gpt2" else {}  # fmt: skip
    shape = {
        "num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32, "intermediate_size": 64,
        "max_position_embeddings": window,
    }  # fmt: skip
    options: dict[str, Any] = {names.get(key, key): value for key, value in shape.items()}
    options |= {"num_key_value_heads": 2} if family in ("llama", "mistral", "qwen2", "mixtral") else {}
    options |= {"sliding_window": SLIDING} if family == "mistral" else {}
    options |= {"num_local_experts": 4} if family == "mixtral" else {}
    config = AutoConfig.for_model(
        family, vocab_size=size, initializer_range=0.3, eos_token_id=0, bos_token_id=None, **options
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


def write_seq2seq(folder: Path) -> Path:
    """A random BART of two layers and 16 dimensions, with the byte-level tokenizer."""
    import torch
    from transformers import BartConfig, BartForConditionalGeneration

    size = write_byte_pairs(folder)
    torch.manual_seed(4)
    layers: dict[str, Any] = {
        f"{side}_{name}": value
        for side in ("encoder", "decoder")
        for name, value in (("layers", 2), ("attention_heads", 2), ("ffn_dim", 32))
    }
    ends = {"pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0, "decoder_start_token_id": 0}
    config = BartConfig(
        vocab_size=size, d_model=16, max_position_embeddings=128, init_std=0.5, **ends, **layers
    )
    config.forced_eos_token_id = None
    BartForConditionalGeneration(config).save_pretrained(folder)
    return folder


def write_byte_pairs(folder: Path) -> int:
    """A byte-level BPE tokenizer; returns the size of its vocabulary."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<|end|>"], initial_alphabet=alphabet)
    inner.train_from_iterator([*SENTENCES, "Answer: A B C D", "abcabcabc"], trainer)
    tokenizer: Any = PreTrainedTokenizerFast
    tokenizer(tokenizer_object=inner, eos_token="<|end|>").save_pretrained(folder)
    return int(inner.get_vocab_size())


def write_tiny_models(root: Path) -> dict[str, dict[str, str]]:
    """Settings for the adapters whose default model must be downloaded: tiny random models below *root*."""
    classifier = write_classifier(root / "classifier", labels=1)
    language_model = write_language_model(root / "language-model", window=512)
    return {"cross-encoder": {"model": str(classifier)}, "hf-lm": {"model": str(language_model)}}


def write_json(path: Path, value: object) -> None:
    """*value* as a file, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def _bert() -> dict[str, Any]:
    return {
        "vocab_size": len(VOCABULARY),
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 64,
    }
