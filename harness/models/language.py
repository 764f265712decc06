"""Language models behind one protocol, and how one is found, identified and loaded."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from harness.answers import Floats
from harness.data.dataset import mirror
from harness.errors import MissingExtra, TouchstoneError
from harness.meter import Meter
from harness.models.batching import Progress, prepare_torch, torch_device_type
from harness.models.generation import GREEDY, Allowed, Generated, Sampling, TokenTrie
from harness.models.llama2c import Llama2cTokenizer, load_llama2c, read_shape
from harness.models.profile import position_limit
from harness.models.prompts import Chat, Message, Prompt, Request
from harness.models.scoring import Work
from harness.models.server import ServerModel, ServerSpec
from harness.models.source import (
    ModelFiles,
    Precision,
    file_digest,
    find_model,
    from_folder,
    library_identity,
    require_neural,
)
from harness.models.tokenizer import FolderTokenizer
from harness.spec import Json

__all__ = [
    "GREEDY",
    "Allowed",
    "Chat",
    "Generated",
    "LanguageModel",
    "LanguageModelSpec",
    "Message",
    "Prompt",
    "Request",
    "Sampling",
    "TokenTrie",
    "counted",
    "language_model_bytes",
    "language_model_identity",
    "load_language_model",
    "require_language_model",
]

CODE_VERSION = 3  # raise when a change here can move a log-probability or a text
STORIES = "stories260K"
WHO = "the language model"


@dataclass(frozen=True)
class LanguageModelSpec:
    """A causal language model.

    model: a hub id, a folder, a llama2.c file, the mirror's ``stories260K``, or a model behind a server as
    ``http://127.0.0.1:8000/v1#name`` (see ``models.server``). device: ``cpu``, ``cuda``,
    ``cuda:1``; several for one model as ``cuda:0+cuda:1``, or ``auto`` for all that are visible.
    """

    model: str
    revision: str = ""
    precision: Precision = "fp32"
    device: str = "cpu"


class LanguageModel(Protocol):
    """A causal language model with its tokenizer. Prompts are texts, token ids or chats.

    What a back end cannot do is a TouchstoneError that says so. A prompt longer than the window loses its
    beginning and is counted in ``truncated``.
    """

    @property
    def identity(self) -> dict[str, Json]:
        """Everything that can change a bit of an answer."""

    @property
    def max_tokens(self) -> int:
        """The window: the most tokens the model reads."""

    @property
    def chats(self) -> bool:
        """Whether chats can be prompts: it has a chat template, or a server that has one."""

    @property
    def truncated(self) -> int:
        """How many prompts were longer than the window and lost their beginning, since loading."""

    @property
    def shortened(self) -> int:
        """How many requests were answered after one of their shorter prompts, since loading."""

    @property
    def work(self) -> Work:
        """What log-probabilities took since loading: tokens given and computed, batches halved."""

    def encode(self, text: str) -> list[int]:
        """Token ids, with what the tokenizer puts in front."""

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids."""

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        """The tokens that the model reads for a prompt; an empty one is the start token."""

    def continuation_logprobs(
        self, requests: Sequence[Request], progress: Progress | None = None
    ) -> list[Floats]:
        """For each request float32[its continuations]: sums of their tokens' natural log-probabilities."""

    def token_logprobs(
        self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], progress: Progress | None = None
    ) -> list[npt.NDArray[np.float64]]:
        """For each (context, targets) of token ids float64[targets]: natural log-probabilities.

        An empty context is the start token. Pairs that do not fit the window are errors.
        """

    def next_token_logits(self, prompts: Sequence[Prompt]) -> Floats:
        """float32[prompts, vocabulary]: unnormalised log-probabilities of the next token."""

    def hidden_states(
        self, prompts: Sequence[Prompt], positions: Sequence[Sequence[int]] | None = None
    ) -> list[Floats]:
        """For each prompt float32[its positions, dimensions]: the last layer, after its norm.

        positions: token positions of each prompt, negative ones from the end; None: all tokens.
        """

    def states_and_logits(
        self, prompts: Sequence[Prompt], positions: Sequence[Sequence[int]]
    ) -> list[tuple[Floats, Floats]]:
        """For each prompt (float32[its positions, dimensions], float32[its positions, vocabulary]): hidden
        states as above and next-token logits there, from one forward pass.
        """

    def generate(
        self,
        prompt: Prompt,
        max_new_tokens: int,
        sampling: Sampling = GREEDY,
        allowed: Allowed | None = None,
    ) -> str:
        """The text after one prompt; ends early at an end token, a stop text, or when nothing is allowed."""

    def generate_many(
        self,
        prompts: Sequence[Prompt],
        max_new_tokens: int,
        sampling: Sampling = GREEDY,
        allowed: Allowed | None = None,
    ) -> list[Generated]:
        """The text after each prompt; what one writes does not depend on the others."""


@contextmanager
def counted(model: LanguageModel, meter: Meter) -> Iterator[None]:
    """What happens to requests inside the block goes into the run's record."""
    before = _events(model)
    try:
        yield
    finally:
        for name, times in _events(model).items():
            if times > before[name]:
                meter.count(name, times - before[name])


def _events(model: LanguageModel) -> dict[str, int]:
    return {
        "prompts cut to the model's window": model.truncated,
        "questions with fewer examples, to fit the model's window": model.shortened,
        "batches halved for lack of memory": model.work.halved,
        "choices that the server did not list": model.work.unlisted,
    }


def require_language_model(who: str, model: str) -> None:
    """MissingExtra when the packages of a model on this machine are not installed; a server needs none."""
    if not _is_server(model):
        require_neural(who)


def language_model_identity(spec: LanguageModelSpec) -> dict[str, Json]:
    """What the answers of *spec* depend on besides the kind of device. Loads no torch and no weights."""
    if _is_server(spec.model):
        server = ServerSpec.parse(spec.model)
        named: dict[str, Json] = {"model": server.model, "server": server.base, "revision": spec.revision}
        return {**named, "code": CODE_VERSION}
    checkpoint = _llama2c_checkpoint(spec.model)
    if checkpoint is not None:
        tokenizer = _llama2c_tokenizer(checkpoint)
        name, revision = (
            checkpoint.stem,
            f"sha256 {file_digest(checkpoint)[:32]} {file_digest(tokenizer)[:32]}",
        )
    else:
        files = find_model(spec.model, spec.revision, WHO)
        name, revision = files.name, files.revision
    return {
        "model": name,
        "revision": revision,
        "precision": spec.precision,
        **library_identity(),
        "code": CODE_VERSION,
    }


def language_model_bytes(spec: LanguageModelSpec) -> int:
    """Bytes of the weights in memory, by the files' size; 0 for a model behind a server. Loads nothing."""
    if _is_server(spec.model):
        return 0
    checkpoint = _llama2c_checkpoint(spec.model)
    if checkpoint is not None:
        return checkpoint.stat().st_size
    return find_model(spec.model, spec.revision, WHO).weight_bytes


def load_language_model(spec: LanguageModelSpec) -> LanguageModel:
    """The language model of *spec*, in memory."""
    if _is_server(spec.model):
        return ServerModel(ServerSpec.parse(spec.model), language_model_identity(spec))
    require_neural(WHO)
    identity = {**language_model_identity(spec), "device": _device_kind(spec.device)}
    prepare_torch()
    import torch

    from harness.models.causal import CausalModel
    from harness.models.network import Network

    dtype = torch.bfloat16 if spec.precision == "bf16" else torch.float32
    checkpoint = _llama2c_checkpoint(spec.model)
    if checkpoint is not None:
        if _several(spec.device):
            raise TouchstoneError(f"a llama2.c checkpoint runs on one device, not on '{spec.device}'")
        shape = read_shape(checkpoint)
        tokenizer = Llama2cTokenizer.read(_llama2c_tokenizer(checkpoint), shape.vocab_size)
        model = load_llama2c(checkpoint).to(device=spec.device, dtype=dtype)
        return CausalModel(Network(model), tokenizer, shape.max_seq_len, identity)
    files = find_model(spec.model, spec.revision, WHO)
    model = _load_model(files, spec.device, dtype)
    return CausalModel(Network(model), FolderTokenizer(files), position_limit(files) or 2048, identity)


def _is_server(model: str) -> bool:
    return model.startswith(("http://", "https://"))


def _device_kind(device: str) -> str:
    return "cuda" if device == "auto" else torch_device_type(device)


def _several(device: str) -> bool:
    return device == "auto" or "+" in device


def _load_model(files: ModelFiles, device: str, dtype: Any) -> Any:
    """The model in memory: on one device, or its layers spread over several by accelerate's arithmetic."""
    from transformers import AutoModelForCausalLM

    if not _several(device):
        return from_folder(AutoModelForCausalLM, files.folder, dtype=dtype).to(device)
    if importlib.util.find_spec("accelerate") is None:
        raise MissingExtra("a model on several devices", "accelerate", "neural")
    import torch

    limits: dict[int | str, int] = {}
    for name in device.split("+") if device != "auto" else ():
        index = torch.device(name).index
        if index is None:
            raise TouchstoneError(f"'{device}' does not number its devices", fix="as in cuda:0+cuda:1")
        limits[index] = int(0.9 * torch.cuda.mem_get_info(index)[0])
    options = {"max_memory": limits} if limits else {}
    return from_folder(AutoModelForCausalLM, files.folder, dtype=dtype, device_map="balanced", **options)


def _llama2c_checkpoint(model: str) -> Path | None:
    """The llama2.c file that *model* names, None when it names something else."""
    path = Path(model).expanduser()
    if model == STORIES and not path.exists():
        root = mirror()
        if root is None:
            raise TouchstoneError(
                f"the model '{model}' is part of the local mirror", fix="set TOUCHSTONE_DATA"
            )
        path = root / "models" / STORIES
    if path.is_dir() and not (path / "config.json").exists():
        path = path / f"{path.name}.bin"
    if path.suffix != ".bin":
        return None
    if not path.is_file():
        raise TouchstoneError("there is no such checkpoint", where=str(path))
    return path


def _llama2c_tokenizer(checkpoint: Path) -> Path:
    """The tokenizer beside a checkpoint: ``tok<vocabulary size>.bin``, or ``tokenizer.bin``."""
    size = read_shape(checkpoint).vocab_size
    for name in (f"tok{size}.bin", "tokenizer.bin"):
        if (checkpoint.parent / name).is_file():
            return checkpoint.parent / name
    raise TouchstoneError(
        "the tokenizer of the checkpoint is missing",
        where=str(checkpoint),
        fix=f"put tok{size}.bin beside it",
    )
