"""How a sentence encoder wants to be used, from the sentence-transformers files in its folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast

from harness.errors import TouchstoneError
from harness.models.source import ModelFiles, read_json, read_object
from harness.spec import Json

Pooling = Literal["mean", "cls", "last"]
Role = Literal["query", "document"]

POOLING_KEYS: tuple[tuple[str, Pooling], ...] = (
    ("pooling_mode_mean_tokens", "mean"),
    ("pooling_mode_cls_token", "cls"),
    ("pooling_mode_lasttoken", "last"),
)
OTHER_POOLING_KEYS = (
    "pooling_mode_max_tokens",
    "pooling_mode_mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens",
)

BGE_QUERY = "Represent this sentence for searching relevant passages: "
# Prefixes that the models' cards require and their files leave out: start of the name without its owner,
# query prefix, document prefix. "-instruct" models take a task's instruction instead of a fixed prefix.
KNOWN_PROMPTS = (
    ("e5-small", "query: ", "passage: "),
    ("e5-base", "query: ", "passage: "),
    ("e5-large", "query: ", "passage: "),
    ("multilingual-e5-", "query: ", "passage: "),
    ("bge-small-en", BGE_QUERY, ""),
    ("bge-base-en", BGE_QUERY, ""),
    ("bge-large-en", BGE_QUERY, ""),
)


@dataclass(frozen=True)
class Profile:
    """The resolved use of an encoder. transformer and dense are folders below the model's."""

    transformer: str
    pooling: Pooling
    normalise: bool
    max_length: int
    lower_case: bool
    query_prompt: str
    document_prompt: str
    dense: tuple[str, ...] = ()

    def prompt(self, role: Role) -> str:
        """The text put before every text of a role."""
        return self.query_prompt if role == "query" else self.document_prompt


def read_profile(files: ModelFiles, wanted: Pooling | Literal["auto"] = "auto") -> Profile:
    """What the model's own files say, except for the pooling when one is *wanted*. Reads JSON only.

    Without such files: mean pooling and no normalisation, that is, the dot product of the mean of the last
    layer. With them, the vectors are normalised when the model has a Normalize module or names cosine.
    """
    modules = _modules(files)
    transformer = next((path for kind, path in modules if kind == "Transformer"), "")
    base = ModelFiles(files.name, files.revision, files.folder / transformer)
    pooling: Pooling = "mean" if wanted == "auto" else wanted
    for kind, path in modules:
        if kind == "Pooling" and wanted == "auto":
            pooling = _pooling(files.folder / path / "config.json")
    settings = files.read_json("config_sentence_transformers.json")
    cosine = settings.get("similarity_fn_name") == "cosine"
    query_prompt, document_prompt = _prompts(files.name, settings)
    return Profile(
        transformer=transformer,
        pooling=pooling,
        normalise=cosine or any(kind == "Normalize" for kind, _ in modules),
        max_length=own_length(base),
        lower_case=base.read_json("sentence_bert_config.json").get("do_lower_case") is True,
        query_prompt=query_prompt,
        document_prompt=document_prompt,
        dense=tuple(path for kind, path in modules if kind == "Dense"),
    )


def with_max_length(profile: Profile, max_length: int, files: ModelFiles) -> Profile:
    """*profile* with texts cut at *max_length* tokens; more than the model has positions is an error."""
    base = ModelFiles(files.name, files.revision, files.folder / profile.transformer)
    most = position_limit(base)
    if max_length < 0 or (most and max_length > most):
        raise TouchstoneError(
            f"max_length is {max_length}", where=files.name, why=f"the model takes 1 to {most} tokens"
        )
    return replace(profile, max_length=max_length or profile.max_length)


def position_limit(files: ModelFiles) -> int:
    """The most tokens a model takes, by its configuration and its tokenizer's; 0 when neither says."""
    config = files.number("config.json", "max_position_embeddings", "n_positions", "max_sequence_length")
    tokenizer = files.number("tokenizer_config.json", "model_max_length")
    return min(value for value in (config, tokenizer) if value) if config or tokenizer else 0


def own_length(files: ModelFiles) -> int:
    """Tokens at which a model cuts texts by its own files; 512 when they do not say."""
    own = files.number("sentence_bert_config.json", "max_seq_length")
    return own or position_limit(files) or 512


def _modules(files: ModelFiles) -> list[tuple[str, str]]:
    """(kind, path) of every module, the kind without its Python package; [] without modules.json."""
    path = files.folder / "modules.json"
    if not path.exists():
        return []
    listed = read_json(path)
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise TouchstoneError("expected a list of modules", where=str(path))
    entries = cast(list[dict[str, Json]], listed)
    found = [(str(entry.get("type", "")).rpartition(".")[2], str(entry.get("path", ""))) for entry in entries]
    for kind, _ in found:
        if kind not in ("Transformer", "Pooling", "Normalize", "Dense"):
            raise TouchstoneError(
                f"the model has a module of the kind '{kind}', which is not supported",
                where=str(path),
                why="supported: Transformer, Pooling, Dense, Normalize",
            )
    return found


def _pooling(path: Path) -> Pooling:
    config = read_object(path)
    modes = [mode for key, mode in POOLING_KEYS if config.get(key) is True]
    others = [key for key in OTHER_POOLING_KEYS if config.get(key) is True]
    named = config.get("pooling_mode")
    if named in ("mean", "cls", "lasttoken", "last"):
        modes = ["last" if named == "lasttoken" else cast(Pooling, named)]
    elif named is not None:
        others.append(str(named))
    if others or len(modes) != 1:
        shown = ", ".join([*modes, *others]) or "none"
        raise TouchstoneError(
            f"unsupported pooling: {shown}", where=str(path), fix="set pooling to mean, cls or last"
        )
    return modes[0]


def _prompts(name: str, settings: dict[str, Json]) -> tuple[str, str]:
    """(query, document): the configuration's when it has one of them, else the known family's."""
    given = settings.get("prompts")
    prompts = given if isinstance(given, dict) else {}
    query = str(prompts.get("query") or "")
    document = str(prompts.get("document") or prompts.get("passage") or "")
    if query or document:
        return query, document
    short = name.rpartition("/")[2]
    for start, known_query, known_document in KNOWN_PROMPTS:
        if short.startswith(start) and not short.endswith("-instruct"):
            return known_query, known_document
    return "", ""
