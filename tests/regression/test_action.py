"""The GitHub Action's script and the pre-commit hook, run as they would be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from harness.execute import Session
from harness.store import Store
from tests.boards import record, store_record
from tests.test_execute import run
from tests.test_leaderboard import HIGH

ROOT = Path(__file__).parents[2]


@pytest.fixture
def command(tmp_path: Path) -> Path:
    """A folder with the ``touchstone`` command of this checkout."""
    path = tmp_path / "bin" / "touchstone"
    path.parent.mkdir()
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -m harness.cli "$@"\n')
    path.chmod(0o755)
    return path.parent


def step(tmp_path: Path, command: Path, inputs: dict[str, str]) -> tuple[int, str]:
    """Run the check step of action.yml with *inputs*, the others at their defaults."""
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    (check,) = (one for one in action["runs"]["steps"] if one.get("id") == "check")
    given = {name: one.get("default", "") for name, one in action["inputs"].items()} | inputs
    names = {key: text.removeprefix("${{ inputs.").removesuffix(" }}") for key, text in check["env"].items()}
    environment = {
        **os.environ,
        **{key: given[name] for key, name in names.items()},
        "PATH": f"{command}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "GITHUB_ACTIONS": "true",
        "GITHUB_ACTION_PATH": str(ROOT),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
    }
    done = subprocess.run(
        ["bash", "-c", check["run"]],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_the_action_fails_for_a_worse_method_and_says_why(
    session: Session, tmp_path: Path, command: Path
) -> None:
    run(session, "oracle")
    baseline = str(session.store.root)
    code, output = step(tmp_path, command, {"baseline": baseline, "candidate": "random", "reports": "out"})
    assert code == 1
    assert "::error title=worse%3A random against oracle on toy%2C nDCG@10::" in output
    assert (tmp_path / "summary").read_text().startswith("### ❌ touchstone check: worse")
    assert (tmp_path / "output").read_text().splitlines() == ["verdict=worse", "exit-code=1", "worse=1"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"check.json", "check.md", "junit.xml"}
    code, output = step(tmp_path, command, {"baseline": baseline, "suite": "toys"})
    assert code == 0 and "::" not in output


@pytest.mark.parametrize(("doubt", "code"), [("fail", 5), ("warn", 0)])
def test_doubt_may_only_warn(tmp_path: Path, command: Path, doubt: str, code: int) -> None:
    noisy = HIGH[:4] + np.array([0.2, -0.2, 0.1, -0.15])
    for name, values in (("one", HIGH[:4]), ("two", noisy)):
        store_record(Store(tmp_path / name), record("bm25", values), values)
    found, output = step(tmp_path, command, {"baseline": "one", "candidate": "two", "doubt": doubt})
    assert found == code
    assert "::warning title=cannot tell%3A bm25 on toy%2C nDCG@10::" in output
    assert ("::warning title=touchstone check::the data cannot tell" in output) == (doubt == "warn")


def test_the_outputs_are_those_of_the_script() -> None:
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    assert set(action["outputs"]) == {"verdict", "exit-code", "worse"}
    workflow = yaml.safe_load((ROOT / "docs" / "examples" / "check-workflow.yml").read_text())
    (used,) = (one for one in workflow["jobs"]["check"]["steps"] if "touchstone" in one.get("uses", ""))
    assert set(used["with"]) <= set(action["inputs"])


def test_the_hook_checks_the_smoke_suite(tmp_path: Path, command: Path) -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    touchstone = str(command / "touchstone")
    made = [touchstone, "run", "--suite", "smoke", "--method", "random", "--results", hook["args"][0]]
    subprocess.run(made, cwd=tmp_path, env=environment, check=True, capture_output=True)
    words = [touchstone, *hook["entry"].split()[1:], *hook["args"]]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "fine" in done.stdout and "pydoc" in done.stdout
