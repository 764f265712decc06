"""The uniform interface that wraps every method, and the context a method runs in."""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from harness.answers import Answers, Rankings
from harness.assets import Asset, Assets, Make
from harness.meter import Meter
from harness.scores import Scores
from harness.spec import Json, Kind, MethodSpec, digest
from harness.tasks.base import Task

if TYPE_CHECKING:
    from harness.models.encoder import Encoder, EncoderSpec
    from harness.models.language import LanguageModel, LanguageModelSpec
    from harness.models.reranker import Reranker, RerankerSpec

T = TypeVar("T")
S = TypeVar("S", bound=Hashable)
RUNTIME_BYTES = 2_000_000_000  # torch and a batch


@dataclass(frozen=True)
class Paper:
    """Where a method was published."""

    title: str
    year: int
    url: str


@dataclass(frozen=True)
class Need:
    """What a run will take, by arithmetic. bytes: host memory; device_bytes: memory on each accelerator;
    devices: accelerators at once. model: what it keeps loaded, under a name that equal models share.
    assets: what it makes unless it is there, as ``asset_name`` gives it.
    """

    bytes: int = 0
    device_bytes: int = 0
    devices: int = 1
    model: str = ""
    assets: tuple[str, ...] = ()

    @classmethod
    def of_weights(cls, weights: int, model: str) -> Need:
        """torch, a batch, and a model's bytes of weights."""
        return cls(RUNTIME_BYTES + weights, RUNTIME_BYTES + weights, model=model)

    @classmethod
    def of_language_model(cls, spec: LanguageModelSpec) -> Need:
        """The same of a language model; nothing for one behind a server."""
        from harness.models.language import language_model_bytes, language_model_identity

        weights = language_model_bytes(spec)
        if not weights:
            return cls()
        return cls.of_weights(weights, f"language model {digest(language_model_identity(spec))}")

    def __add__(self, other: Need) -> Need:
        """Both at once, in one process."""
        return Need(
            self.bytes + other.bytes,
            self.device_bytes + other.device_bytes,
            max(self.devices, other.devices),
            " and ".join(sorted({self.model, other.model} - {""})),
            tuple(dict.fromkeys(self.assets + other.assets)),
        )


@dataclass(frozen=True)
class NoSettings:
    """For adapters without settings."""


@dataclass
class Context:
    """What a run is handed. ``first_stage(method)`` gives another method's rankings for all items of the
    task.
    """

    assets: Assets
    first_stage: Callable[[str], Rankings]
    seed: int = 0
    device: str = "cpu"
    meter: Meter = field(default_factory=Meter)
    progress: Callable[[str, int, int], None] = lambda _what, _done, _total: None
    kept: dict[Hashable, Any] = field(default_factory=dict)
    booked: set[Path] = field(default_factory=set)

    def asset(self, kind: str, key: dict[str, Json], make: Make) -> Asset:
        """An asset from the cache, its cost booked: as this run's when made now, else as reused."""
        asset = self.assets.get_or_make(kind, key, make)
        if self._first_use(asset):
            self.meter.index_bytes += asset.bytes
        return asset

    def answering_asset(self, kind: str, key: dict[str, Json], make: Make) -> Asset:
        """The same of what belongs to answering, such as vectors of queries: no part of an index, and its
        seconds count in the rate of answering wherever it was made.
        """
        asset = self.assets.get_or_make(kind, key, make)
        if self._first_use(asset) and not asset.made_now:
            self.meter.reused_answering += asset.seconds
        return asset

    def _first_use(self, asset: Asset) -> bool:
        """Whether this run has not asked for *asset* before; its cost is booked then."""
        if asset.path in self.booked:
            return False
        self.booked.add(asset.path)
        if not asset.made_now:
            self.meter.reused += asset.seconds
        return True

    def keep(self, spec: S, load: Callable[[S], T]) -> T:
        """``load(spec)``, kept loaded for later runs of this process."""
        if spec not in self.kept:
            self.kept[spec] = load(spec)
        return typing.cast(T, self.kept[spec])

    def encoder(self, spec: EncoderSpec) -> Encoder:
        """The sentence encoder of *spec*."""
        from harness.models.encoder import load_encoder

        return self.keep(spec, load_encoder)

    def reranker(self, spec: RerankerSpec) -> Reranker:
        """The cross-encoder of *spec*."""
        from harness.models.reranker import load_reranker

        return self.keep(spec, load_reranker)

    def language_model(self, spec: LanguageModelSpec) -> LanguageModel:
        """The language model of *spec*."""
        from harness.models.language import load_language_model

        return self.keep(spec, load_language_model)


class Adapter(ABC):
    """The code of one method. Subclasses set the class attributes and implement ``run``."""

    name: ClassVar[str]
    family: ClassVar[str]
    kinds: ClassVar[frozenset[Kind]]
    about: ClassVar[str]
    paper: ClassVar[Paper | None] = None
    bound: ClassVar[bool] = False  # a floor or a ceiling, not a competitor
    extras: ClassVar[tuple[str, ...]] = ()
    Settings: ClassVar[type] = NoSettings

    def __init__(self, settings: Any = None) -> None:
        self.settings = settings if settings is not None else self.Settings()

    def check(self) -> None:
        """Raise a TouchstoneError when what this method needs (packages, Java) is not here. Loads nothing
        heavy.
        """
        return

    def made_with(self) -> dict[str, Json]:
        """What can change the numbers besides settings and data: model revisions, library versions. Loads
        no model.
        """
        return {}

    def part_methods(self) -> tuple[str, ...]:
        """The methods whose rankings this one starts from."""
        return ()

    def need(self, task: Task) -> Need:
        """Memory of a run on *task*, by arithmetic only."""
        return Need()

    def notes(self, task: Task) -> tuple[str, ...]:
        """What a reader of a finished run's page must know: the model it ran with, what was cut or
        adapted.
        """
        return ()

    @abstractmethod
    def run(self, task: Task, context: Context) -> Iterator[Answers]:
        """Yield answers for ``task.items`` in blocks; it may be cut after any of them."""

    def score(self, task: Task, answers: Answers) -> Scores:
        """Per-item scores; a method may add columns of its own."""
        return task.score(answers)


@lru_cache(maxsize=256)
def settings_doc(adapter: type[Adapter]) -> tuple[tuple[str, Any, str], ...]:
    """(name, default, meaning) of every setting, from the ``Annotated`` texts."""
    hints = typing.get_type_hints(adapter.Settings, include_extras=True)
    defaults = asdict(adapter.Settings())
    rows = []
    for item in fields(adapter.Settings):
        notes = [note for note in getattr(hints[item.name], "__metadata__", ()) if isinstance(note, str)]
        rows.append((item.name, defaults[item.name], notes[0] if notes else ""))
    return tuple(rows)


@lru_cache(maxsize=256)
def code_digest(adapter: type[Adapter]) -> str:
    """A digest of the adapter's module as a syntax tree: comments, docstrings and layout do not count."""
    module = sys.modules[adapter.__module__]
    tree = ast.parse(inspect.getsource(module))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_text(body[0]):
            body[0] = ast.Pass()
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16]


def _is_text(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def method_spec(adapter: type[Adapter], settings: Any) -> MethodSpec:
    """The spec of an adapter with settings, named by its expression; only what differs from the defaults
    is kept.
    """
    default = asdict(adapter.Settings())
    chosen = {key: value for key, value in asdict(settings).items() if value != default[key]}
    text = {key: list(value) if isinstance(value, tuple) else value for key, value in chosen.items()}
    spec = MethodSpec("", adapter.name, text)
    return replace(spec, name=spec.expression)
