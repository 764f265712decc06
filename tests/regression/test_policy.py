"""Policies: what is not given is taken from the wider rule; what makes no sense is refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import TouchstoneError
from harness.regression.policy import Policy, Quality, Rule, read_policy

TEXT = """\
default: {effect: 0.02, latency: 1.2, rounds: 7}
tasks:
  toy: {effect: 0.05, tolerance: 1e-6, measure: AP, test: t, memory: 1.1}
suites:
  toys: {effect: 0.005}
"""


def policy(tmp_path: Path, text: str) -> Policy:
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    return read_policy(path)


def test_rules_inherit(tmp_path: Path) -> None:
    found = policy(tmp_path, TEXT)
    toy = found.task("toy")
    assert toy.quality(Quality()) == Quality(0.05, 1e-6, 0.05, 0.8, "t", "AP")
    assert toy.budgets == {"latency": 1.2, "memory": 1.1} and toy.rounds == 7
    assert found.task("other").effect == 0.02
    assert found.suite("toys").effect == 0.005
    assert read_policy(None).task("toy").quality(Quality()) == Quality()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("defaults: {}", "policy.yaml:1: unknown key 'defaults'; did you mean 'default'?"),
        ("default: {efect: 1}", "policy.yaml:1: unknown key 'efect'; did you mean 'effect'?"),
        ("default: {effect: 0}", "effect is 0.0; between 0.0 and inf"),
        ("default: {effect: .inf}", "effect is inf"),
        ("default: {alpha: 0.7}", "alpha is 0.7; between 0.0 and 0.5"),
        ("default: {power: 1}", "power is 1.0"),
        ("default: {tolerance: -1}", "tolerance is -1.0; 0 or more"),
        ("default: {latency: 0}", "latency is 0.0; a ratio such as 1.2"),
        ("default: {rounds: 2}", "2 rounds cannot tell noise from cost"),
        ("default: {test: wilcoxon}", "unknown value 'wilcoxon'"),
        ("tasks: {toy: {alpha: 0.01}}", "alpha is given for 'toy'"),
        ("suites: {toys: {memory: 1.1}}", "a cost budget is given for the suite 'toys'"),
        ("default: {effect: a}", "expected a number"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TouchstoneError) as caught:
        policy(tmp_path, text)
    assert message in caught.value.line and "policy.yaml" in caught.value.line


def test_a_rule_over_a_wider_one() -> None:
    assert Rule(effect=0.1).over(Rule(effect=0.2, memory=1.5)) == Rule(effect=0.1, memory=1.5)
