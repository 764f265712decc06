"""What counts as worse: a strict YAML file with rules for everything, for suites and for tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Literal

from harness.errors import TouchstoneError
from harness.stats import Test
from harness.strict import read_yaml

Cost = Literal["latency", "time", "memory", "index"]
COSTS: tuple[Cost, ...] = ("latency", "time", "memory", "index")


@dataclass(frozen=True)
class Quality:
    """When a mean is worse.

    effect: the smallest drop of the mean that matters. tolerance: differences of one item up to this count as
    equal. alpha: the chance of a false alarm of the whole check. power: that of the "items that would do".
    measure: '' for the task's main one.
    """

    effect: float = 0.01
    tolerance: float = 0.0
    alpha: float = 0.05
    power: float = 0.8
    test: Test = "randomisation"
    measure: str = ""

    def __post_init__(self) -> None:
        for name, low, high in (("alpha", 0.0, 0.5), ("power", 0.0, 1.0), ("effect", 0.0, float("inf"))):
            if not low < getattr(self, name) < high:
                raise TouchstoneError(f"{name} is {getattr(self, name)}", fix=f"between {low} and {high}")
        if self.tolerance < 0.0:
            raise TouchstoneError(f"tolerance is {self.tolerance}", fix="0 or more")


@dataclass(frozen=True)
class Rule:
    """A rule as written: what is not given is taken from the wider rule.

    latency (of the median query alone), time (an item, in batches), memory (peak), index (bytes): the largest
    accepted ratio candidate / baseline; 1.2 is 20 % more. rounds: how often each side is measured, in turns.
    """

    effect: float | None = None
    tolerance: float | None = None
    alpha: float | None = None
    power: float | None = None
    test: Test | None = None
    measure: str | None = None
    latency: float | None = None
    time: float | None = None
    memory: float | None = None
    index: float | None = None
    rounds: int | None = None

    def __post_init__(self) -> None:
        self.quality(Quality())
        for name in COSTS:
            ratio = getattr(self, name)
            if ratio is not None and not ratio > 0.0:
                raise TouchstoneError(f"{name} is {ratio}", fix="a ratio such as 1.2")
        if self.rounds is not None and self.rounds < 3:
            raise TouchstoneError(f"{self.rounds} rounds cannot tell noise from cost", fix="at least 3")

    def over(self, wider: Rule) -> Rule:
        """This rule, with what it leaves open from *wider*."""
        own = {one.name: value for one in fields(self) if (value := getattr(self, one.name)) is not None}
        return replace(wider, **own)

    def quality(self, wider: Quality) -> Quality:
        """The quality part, with what is left open from *wider*."""
        names = [one.name for one in fields(Quality)]
        return replace(wider, **{n: v for n in names if (v := getattr(self, n)) is not None})

    @property
    def budgets(self) -> dict[Cost, float]:
        """The cost ratios that are limited."""
        return {name: ratio for name in COSTS if (ratio := getattr(self, name)) is not None}


@dataclass(frozen=True)
class Policy:
    """default holds for every task; tasks for one of them, by name; suites for the mean over a suite's tasks,
    by the suite's name.
    """

    default: Rule = field(default_factory=Rule)
    tasks: Mapping[str, Rule] = field(default_factory=dict)
    suites: Mapping[str, Rule] = field(default_factory=dict)

    def task(self, name: str) -> Rule:
        """The rule of a task."""
        return self.tasks.get(name, Rule()).over(self.default)

    def suite(self, name: str) -> Rule:
        """The rule of a suite's mean."""
        return self.suites[name].over(self.default)

    @property
    def alpha(self) -> float:
        """The chance of a false alarm of the whole check: one number, as Holm's correction needs."""
        return self.default.quality(Quality()).alpha

    def __post_init__(self) -> None:
        for name, rule in (*self.tasks.items(), *self.suites.items()):
            if rule.alpha is not None:
                raise TouchstoneError(
                    f"alpha is given for '{name}'",
                    why="it holds for the check as a whole",
                    fix="give it in default",
                )
        for name, rule in self.suites.items():
            if rule.budgets:
                raise TouchstoneError(
                    f"a cost budget is given for the suite '{name}'",
                    fix="give budgets in default or for tasks",
                )


def read_policy(path: Path | None) -> Policy:
    """The policy of a file; the default one for None."""
    if path is None:
        return Policy()
    try:
        return read_yaml(path, Policy)
    except TouchstoneError as error:
        if error.where:
            raise
        raise TouchstoneError(error.what, where=str(path), why=error.why, fix=error.fix) from error
