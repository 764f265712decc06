"""The training loop: repeatable, gone on with after kill -9 to the same bits, stopped early."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import training
from harness.adapter import Context
from harness.answers import Rankings
from harness.assets import Assets
from harness.errors import TouchstoneError
from harness.spec import Json
from harness.training import TrainSpec, load_weights, train, trained
from tests.needs import needs

SPEC = TrainSpec(epochs=4, batch=8, learning_rate=0.05, warmup=0.2, schedule="linear", clip=1.0, patience=9)


class Line:
    """A network with dropout that learns y = 3x from 30 examples; one more parameter is frozen."""

    def __init__(self, name: str = "line", sign: float = 1.0) -> None:
        self.identity: dict[str, Json] = {"name": name}
        self.x = np.linspace(-1, 1, 30, dtype=np.float32)
        self.sign, self.steps = sign, 0

    def __len__(self) -> int:
        return len(self.x)

    def start(self) -> Any:
        import torch

        network = torch.nn.Sequential(torch.nn.Linear(1, 16), torch.nn.Dropout(0.2), torch.nn.Linear(16, 1))
        network[2].bias.requires_grad_(False)
        return network

    def loss(self, module: Any, rows: Any) -> Any:
        import torch

        self.steps += 1
        x = torch.from_numpy(self.x[rows])[:, None]
        return ((module(x) - 3.0 * x) ** 2).mean()

    def quality(self, module: Any) -> float:
        import torch

        x = torch.from_numpy(self.x)[:, None]
        return -self.sign * float(((module(x) - 3.0 * x) ** 2).mean())


def quiet(_done: int, _total: int) -> None:
    """No progress."""


def bits(folder: Path) -> bytes:
    return (folder / "weights.safetensors").read_bytes()


def context(root: Path) -> Context:
    def none(_method: str) -> Rankings:
        raise AssertionError("a first stage was asked for")

    return Context(Assets(root), none)


@needs("torch")
def test_training_learns_and_repeats_itself(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    module, history = trained(context(tmp_path / "a"), Line(), SPEC, "line")
    assert history.qualities[history.best] == max(history.qualities) > 10 * history.qualities[0]
    assert len(history.losses) == 4 and history.losses[-1] < history.losses[0]
    assert not module.training
    assert float(module[2].bias) == float(training._started(Line(), SPEC)[2].bias)  # frozen
    for name in ("b", "c"):
        (tmp_path / name).mkdir()
        train(Line(), SPEC, tmp_path / name, lambda done, total: told.append((done, total)))
    assert bits(tmp_path / "b") == bits(tmp_path / "c")
    assert told[-1] == (16, 16)
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["history.json", "weights.safetensors"]
    again = Line()
    trained(context(tmp_path / "a"), again, SPEC, "line")
    assert again.steps == 0


@needs("torch")
@pytest.mark.parametrize("at", [3, 9])
def test_kill_9_changes_no_bit(tmp_path: Path, at: int) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    train(Line(), SPEC, whole, quiet)
    code = f"""
import os, signal
from pathlib import Path
from harness import training
from tests.test_training import SPEC, Line, quiet
training.SAVE_SECONDS = 0.0
class Killed(Line):
    def loss(self, module, rows):
        if self.steps == {at}:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().loss(module, rows)
training.train(Killed(), SPEC, Path({str(cut)!r}), quiet)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL
    learner = Line()
    train(learner, SPEC, cut, quiet)
    assert learner.steps == 16 - at
    assert bits(cut) == bits(whole)


@needs("torch")
def test_early_stop_keeps_the_best_epoch(tmp_path: Path) -> None:
    """The quality here falls with training: the untrained module is the best, and patience ends it."""
    spec = TrainSpec(epochs=50, batch=30, learning_rate=0.05, patience=3)
    module, history = trained(context(tmp_path), Line("worse", sign=-1.0), spec, "line")
    assert history.best == 0 and len(history.losses) == 3
    fresh = training._started(Line(), spec)
    for name, value in fresh.state_dict().items():
        assert (module.state_dict()[name] == value).all()


@needs("torch")
def test_seeds_and_settings_are_other_assets(tmp_path: Path) -> None:
    context_ = context(tmp_path)
    for learner, seed in ((Line(), 0), (Line(), 1), (Line("other"), 0)):
        trained(context_, learner, TrainSpec(1, 8, 0.01, seed=seed), "line")
    folders = [path for path in (tmp_path / "trained").iterdir() if path.is_dir()]
    assert len(folders) == 3
    assert len({bits(folder) for folder in folders}) == 2


@needs("torch")
def test_mistakes(tmp_path: Path) -> None:
    class Nothing(Line):
        def __len__(self) -> int:
            return 0

    class Unbounded(Line):
        def loss(self, module: Any, rows: Any) -> Any:
            return super().loss(module, rows) * float("nan")

    with pytest.raises(TouchstoneError, match="nothing to train on"):
        trained(context(tmp_path), Nothing(), SPEC, "line")
    with pytest.raises(TouchstoneError, match="training step 0: the loss is nan"):
        trained(context(tmp_path), Unbounded("nan"), SPEC, "line")
    with pytest.raises(TouchstoneError, match="epochs is 0"):
        TrainSpec(0, 8, 0.1)
    (tmp_path / "t").mkdir()
    train(Line(), SPEC, tmp_path / "t", quiet)
    import torch

    with pytest.raises(TouchstoneError, match="of another module"):
        load_weights(torch.nn.Linear(2, 2), tmp_path / "t")
