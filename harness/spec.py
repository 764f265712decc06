"""Everything that can change a number: frozen, canonical, digestible.

A method is an adapter with settings, a task is data with a kind and measures, a run is one on the other
with a seed.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from functools import cached_property

Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]


class Kind(StrEnum):
    """What a task asks of a method."""

    RANK = "rank"
    CHOOSE = "choose"
    GENERATE = "generate"
    PERPLEXITY = "perplexity"


CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical(value: Json) -> str:
    """One text per value: sorted keys, no spaces, floats as Python prints them; NaN is refused."""
    return CANONICAL.encode(value)


def digest(value: Json, length: int = 16) -> str:
    """The first *length* hex digits of the SHA-256 of the canonical text."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:length]


@dataclass(frozen=True)
class MethodSpec:
    """A leaderboard row. settings holds only what differs from the adapter's defaults."""

    name: str
    adapter: str
    settings: Mapping[str, Json] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash(self.key)

    @property
    def identity(self) -> dict[str, Json]:
        """What can change a number; the name is only a label."""
        return {"adapter": self.adapter, "settings": dict(self.settings)}

    @cached_property
    def key(self) -> str:
        """One key for all names of an adapter with the same settings."""
        return digest(self.identity)

    @cached_property
    def expression(self) -> str:
        """What to type after ``--method`` to get this method: ``bm25(b=0.75,k1=1.2)``."""
        shown = ",".join(f"{key}={_shown(value)}" for key, value in sorted(self.settings.items()))
        return f"{self.adapter}({shown})" if shown else self.adapter


def _shown(value: Json) -> str:
    if isinstance(value, list):
        return "+".join(map(_shown, value))
    if isinstance(value, str) and (value != value.strip() or not _balanced(value)):
        return f'"{value}"'
    return str(value).lower() if isinstance(value, bool) else str(value)


def _balanced(value: str) -> bool:
    """Whether a text may stand in a method expression without quotes: commas and + only inside brackets."""
    depth = 0
    for letter in value:
        depth += (letter == "(") - (letter == ")")
        if depth < 0 or (depth == 0 and letter in ",+"):
            return False
    return depth == 0 and value != ""


@dataclass(frozen=True)
class Published:
    """A number that somebody printed: shown beside ours, never mixed with it."""

    method: str
    measure: str
    value: float
    source: str


@dataclass(frozen=True)
class TaskSpec:
    """A leaderboard column. The first of *measures* is the one the task is judged by.

    candidates: the run file of a re-ranking task (below the mirror): only its documents are ranked.
    """

    name: str
    kind: Kind
    dataset: str
    measures: tuple[str, ...]
    title: str = ""
    depth: int = 1000
    shots: int = 0
    group: str = ""
    candidates: str = ""
    published: tuple[Published, ...] = ()

    @property
    def main_measure(self) -> str:
        """The measure shown first and compared by default."""
        return self.measures[0]

    @property
    def identity(self) -> dict[str, Json]:
        """What can change the answers; measures and titles cannot: rescoring is free."""
        parts: dict[str, Json] = {
            "name": self.name,
            "kind": self.kind.value,
            "dataset": self.dataset,
            "group": self.group,
        }
        if self.kind is Kind.RANK:
            parts |= {"depth": self.depth, "candidates": self.candidates}
        elif self.kind is Kind.GENERATE:
            parts["depth"] = self.depth
        elif self.kind is Kind.CHOOSE:
            parts["shots"] = self.shots
        return parts

    def as_ranking(self) -> TaskSpec:
        """The retrieval that answering this task rests on: the same items, documents to be ranked.

        Its runs are those of the task ``<name>-retrieval`` where that is defined with the same depth.
        """
        name, measures = f"{self.name}-retrieval", ("KILT-Rprec", "KILT-R@5")
        return replace(self, name=name, kind=Kind.RANK, measures=measures, published=())


@dataclass(frozen=True)
class RunSpec:
    """One method on one task. limit: only the first items, 0 for all."""

    method: MethodSpec
    task: TaskSpec
    seed: int = 0
    limit: int = 0

    def run_id(self, made_with: Mapping[str, Json], data_digest: str) -> str:
        """16 hex digits over the spec, what the method is made with (code, models, libraries) and the
        data.
        """
        return digest(
            {
                "method": self.method.identity,
                "task": self.task.identity,
                "seed": self.seed,
                "limit": self.limit,
                "made_with": dict(made_with),
                "data": data_digest,
            }
        )

    @cached_property
    def command(self) -> str:
        """The command line that makes this run."""
        parts = ["touchstone", "run", "--task", self.task.name, "--method", self.method.expression]
        parts += ["--seed", str(self.seed)] if self.seed else []
        parts += ["--limit", str(self.limit)] if self.limit else []
        return shlex.join(parts)

    def to_json(self) -> dict[str, Json]:
        """The spec as stored in a record."""
        text: dict[str, Json] = json.loads(json.dumps(asdict(self)))
        return text
