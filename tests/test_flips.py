from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from harness.cli.flips_command import command
from harness.errors import TouchstoneError
from harness.execute import Session
from harness.flips import find_flips
from harness.registry import parse_method
from harness.spec import RunSpec
from harness.stats import mcnemar
from tests.test_execute import quiet


def stored(session: Session, method: str, task: str = "quiz", seed: int = 0) -> str:
    run = RunSpec(parse_method(method), session.catalog.task(task), seed)
    return session.execute(session.plan(run), quiet).id


def test_flips_are_those_of_the_stored_items(session: Session) -> None:
    a, b = stored(session, "random"), stored(session, "random", seed=3)
    flips = find_flips(session.store, a, b)
    left, right = (
        session.store.items(session.store.get(run)).set_index("item")["Acc"] > 0.5 for run in (a, b)
    )
    assert (flips.both, flips.only_a) == (int((left & right).sum()), int((left & ~right).sum()))
    assert flips.both + flips.only_a + flips.only_b + flips.neither == 9
    assert flips.mcnemar_p == mcnemar(left.to_numpy(), right.to_numpy())
    assert set(flips.changed[flips.changed["flip"] == "lost"]["item"]) == set(left.index[left & ~right])
    assert set(flips.changed[flips.changed["flip"] == "won"]["item"]) == set(left.index[right & ~left])
    assert (flips.changed["a"] != flips.changed["b"]).all()
    assert flips.groups["questions"].sum() == 9
    assert flips.groups[["won", "lost", "wrong"]].to_numpy().sum() == len(flips.changed)
    back = find_flips(session.store, b, a)
    assert (back.only_a, back.only_b) == (flips.only_b, flips.only_a)


def test_a_run_does_not_flip_against_itself(session: Session) -> None:
    a = stored(session, "oracle")
    flips = find_flips(session.store, a, a)
    assert (flips.both, len(flips.changed), flips.mcnemar_p) == (9, 0, 1.0)


def test_other_kinds_are_refused(session: Session) -> None:
    a = stored(session, "random", "toy")
    with pytest.raises(TouchstoneError, match=r"only answers to multiple choice flip .*touchstone compare"):
        find_flips(session.store, a, a)


def test_the_command_prints_and_writes(session: Session, tmp_path: Path) -> None:
    a, b = stored(session, "random"), stored(session, "oracle")
    file = tmp_path / "flips.csv"
    done = CliRunner().invoke(
        command, [a, b, "--results", str(session.store.root), "--csv", str(file)], catch_exceptions=False
    )
    assert done.exit_code == 0
    assert "McNemar (exact)" in done.output and "won: only B, oracle" in done.output
    assert len(pd.read_csv(file)) == len(find_flips(session.store, a, b).changed)
