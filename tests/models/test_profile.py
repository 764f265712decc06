from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.errors import TouchstoneError
from harness.models.profile import position_limit, read_profile, with_max_length
from harness.models.source import ModelFiles
from tests.models.tiny import write_json

BGE = "Represent this sentence for searching relevant passages: "


def files(folder: Path, name: str = "some/model", **written: Any) -> ModelFiles:
    """A model folder; the keys name its files, with _ for / and without .json."""
    for key, value in written.items():
        write_json(folder / (key.replace("__", "/") + ".json"), value)
    return ModelFiles(name, "r", folder)


def modules(*kinds: str) -> list[dict[str, str]]:
    paths = {"Transformer": ""}
    return [
        {"type": f"sentence_transformers.models.{kind}", "path": paths.get(kind, f"{number}_{kind}")}
        for number, kind in enumerate(kinds)
    ]


def test_a_bare_transformer_is_mean_pooled_and_not_normalised(tmp_path: Path) -> None:
    profile = read_profile(files(tmp_path, config={"max_position_embeddings": 512}))
    assert (profile.pooling, profile.normalise, profile.max_length) == ("mean", False, 512)
    assert (profile.query_prompt, profile.document_prompt, profile.dense) == ("", "", ())


def test_the_files_of_sentence_transformers_are_followed(tmp_path: Path) -> None:
    model = files(
        tmp_path,
        modules=modules("Transformer", "Pooling", "Dense", "Normalize"),
        config={"max_position_embeddings": 512},
        sentence_bert_config={"max_seq_length": 128, "do_lower_case": True},
        config_sentence_transformers={"prompts": {"query": "ask: ", "passage": "text: "}},
    )
    write_json(
        tmp_path / "1_Pooling" / "config.json",
        {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False},
    )
    profile = read_profile(model)
    assert (profile.pooling, profile.normalise, profile.max_length, profile.lower_case) == (
        "cls",
        True,
        128,
        True,
    )
    assert (profile.prompt("query"), profile.prompt("document"), profile.dense) == (
        "ask: ",
        "text: ",
        ("2_Dense",),
    )


@pytest.mark.parametrize(
    "config, pooling",
    [
        ({"pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode_lasttoken": True, "pooling_mode_mean_tokens": False}, "last"),
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode": "lasttoken"}, "last"),
    ],
)
def test_pooling(tmp_path: Path, config: dict[str, object], pooling: str) -> None:
    model = files(tmp_path, modules=modules("Transformer", "Pooling"))
    write_json(tmp_path / "1_Pooling" / "config.json", config)
    assert read_profile(model).pooling == pooling


@pytest.mark.parametrize(
    "config",
    [
        {"pooling_mode_max_tokens": True},
        {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True},
        {"pooling_mode": "max"},
        {},
    ],
)
def test_other_pooling_is_an_error_unless_one_is_chosen(tmp_path: Path, config: dict[str, object]) -> None:
    model = files(tmp_path, modules=modules("Transformer", "Pooling"))
    write_json(tmp_path / "1_Pooling" / "config.json", config)
    with pytest.raises(TouchstoneError, match="unsupported pooling"):
        read_profile(model)
    assert read_profile(model, "cls").pooling == "cls"


def test_an_unknown_module_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TouchstoneError, match="a module of the kind 'StaticEmbedding'"):
        read_profile(files(tmp_path, modules=modules("StaticEmbedding", "Normalize")))


@pytest.mark.parametrize("name, normalise", [("cosine", True), ("dot", False), (None, False)])
def test_the_similarity_decides_on_normalisation(tmp_path: Path, name: str | None, normalise: bool) -> None:
    model = files(tmp_path, config_sentence_transformers={"similarity_fn_name": name})
    assert read_profile(model).normalise is normalise


@pytest.mark.parametrize(
    "name, query, document",
    [
        ("intfloat/e5-small-v2", "query: ", "passage: "),
        ("intfloat/multilingual-e5-base", "query: ", "passage: "),
        ("intfloat/multilingual-e5-large-instruct", "", ""),
        ("intfloat/e5-mistral-7b-instruct", "", ""),
        ("BAAI/bge-small-en-v1.5", BGE, ""),
        ("bge-base-en-v1.5", BGE, ""),
        ("BAAI/bge-m3", "", ""),
        ("sentence-transformers/all-mpnet-base-v2", "", ""),
    ],
)
def test_known_families_have_their_prompts(tmp_path: Path, name: str, query: str, document: str) -> None:
    empty = {"prompts": {"query": "", "document": ""}}
    profile = read_profile(files(tmp_path, name, config_sentence_transformers=empty))
    assert (profile.query_prompt, profile.document_prompt) == (query, document)


@pytest.mark.parametrize(
    "config, tokenizer, limit",
    [
        ({"max_position_embeddings": 514}, {"model_max_length": 512}, 512),
        ({"max_position_embeddings": 512}, {"model_max_length": 10**30}, 512),
        ({"n_positions": 1024}, {}, 1024),
        ({}, {"model_max_length": 77}, 77),
        ({}, {}, 0),
    ],
)
def test_position_limit(
    tmp_path: Path, config: dict[str, int], tokenizer: dict[str, int], limit: int
) -> None:
    assert position_limit(files(tmp_path, config=config, tokenizer_config=tokenizer)) == limit


def test_max_length_is_held_to_the_positions(tmp_path: Path) -> None:
    model = files(tmp_path, config={"max_position_embeddings": 64})
    profile = read_profile(model)
    assert with_max_length(profile, 0, model).max_length == 64
    assert with_max_length(profile, 20, model).max_length == 20
    for wrong in (65, -1):
        with pytest.raises(TouchstoneError, match=f"max_length is {wrong} .the model takes 1 to 64 tokens"):
            with_max_length(profile, wrong, model)
