"""The one training loop of methods that learn: seeded, told in epochs, gone on with after a kill, bit-equal.

A method describes what it trains as a ``Learner``; ``trained`` gives the module from the cache or trains it
now. What queries may be trained on is said in ``harness.folds``.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from harness.adapter import Context
from harness.errors import TouchstoneError
from harness.models.batching import Progress, torch_device_type
from harness.models.source import library_identity
from harness.spec import Json, digest

if TYPE_CHECKING:
    import torch

Longs = npt.NDArray[np.int64]

CODE_VERSION = 1  # raise when a change here can move a trained weight
SAVE_SECONDS = 60.0  # of work that a kill costs at most


@dataclass(frozen=True)
class TrainSpec:
    """How to train. batch: examples a step; warmup: share of the steps over which the rate rises from 0;
    linear: afterwards it falls to 0 at the last step. clip: the largest gradient norm, 0 for any.

    patience: stop after so many epochs without a better ``quality`` and keep the best epoch's weights, the
    untrained module's (epoch 0) included; 0: all epochs, the last one's weights.
    """

    epochs: int
    batch: int
    learning_rate: float
    weight_decay: float = 0.01
    warmup: float = 0.0
    schedule: Literal["constant", "linear"] = "constant"
    clip: float = 0.0
    patience: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "learning_rate"):
            if getattr(self, name) <= 0:
                raise TouchstoneError(f"{name} is {getattr(self, name)}", where="training", fix="above 0")


class Learner(Protocol):
    """What is trained: examples 0..n-1, a module, and a loss over rows of examples."""

    @property
    def identity(self) -> dict[str, Json]:
        """Everything that can change the weights besides the TrainSpec: code, settings, data, base model."""

    def __len__(self) -> int:
        """Number of training examples."""

    def start(self) -> torch.nn.Module:
        """The untrained module, on its device; torch is seeded. What needs no gradient stays as it is."""

    def loss(self, module: Any, rows: Longs) -> torch.Tensor:
        """The mean loss of some examples, a scalar with a gradient."""

    def quality(self, module: Any) -> float:
        """How good the module is on queries held out from training; higher is better. Only with patience."""


@dataclass(frozen=True)
class History:
    """What training did. losses: mean of each epoch; qualities: from epoch 0, before training; best: the
    epoch whose weights were kept. seconds: over all attempts.
    """

    losses: tuple[float, ...] = ()
    qualities: tuple[float, ...] = ()
    best: int = 0
    seconds: float = 0.0


def trained(context: Context, learner: Learner, spec: TrainSpec, what: str) -> tuple[Any, History]:
    """(module in evaluation mode, history) of *learner*, trained now or found in the cache.

    what: for the progress line. A loss that is not finite, or no examples, is a TouchstoneError.
    """
    if not len(learner):
        raise TouchstoneError("there is nothing to train on", where=what)
    key = training_key(learner, spec, context.device)
    asset = context.asset(
        "trained", key, lambda folder: train(learner, spec, folder, partial(context.progress, what))
    )
    module = _started(learner, spec)
    load_weights(module, asset.path)
    told = json.loads((asset.path / "history.json").read_text())
    return module.eval(), History(
        tuple(told["losses"]), tuple(told["qualities"]), told["best"], told["seconds"]
    )


def training_key(learner: Learner, spec: TrainSpec, device: str) -> dict[str, Json]:
    """All that the trained weights depend on."""
    return {
        "learner": learner.identity,
        "spec": asdict(spec),
        "device": torch_device_type(device),
        "code": CODE_VERSION,
        **library_identity(),
    }


def _started(learner: Learner, spec: TrainSpec) -> torch.nn.Module:
    """The untrained module, the same each time."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(spec.seed)
        return learner.start()


@dataclass
class _Progress:
    """Where training stands, all of it plain values: step counts batches from the start."""

    step: int = 0
    sums: float = 0.0  # of this epoch's losses, by example
    losses: list[float] = field(default_factory=list)
    qualities: list[float] = field(default_factory=list)
    best: int = 0
    seconds: float = 0.0


def train(learner: Learner, spec: TrainSpec, folder: Path, progress: Progress) -> float:
    """Train, going on from ``folder/checkpoint.pt`` when it is there; returns the seconds of all attempts.

    Leaves weights.safetensors and history.json. The order of examples and every random draw follow from the
    seed and the step alone, so that an interrupted training ends with the same bits.
    """
    import torch

    if (folder / "history.json").exists():  # killed between its last file and the asset's name
        return float(json.loads((folder / "history.json").read_text())["seconds"])
    with torch.random.fork_rng():
        run = _Run(learner, spec, folder)
        run.until_done(progress)
    return run.at.seconds


class _Run:
    """One training on its way: module, optimiser, the best weights so far, and where it stands."""

    def __init__(self, learner: Learner, spec: TrainSpec, folder: Path) -> None:
        import torch

        self.learner, self.spec, self.folder = learner, spec, folder
        self.begin = time.perf_counter()
        self.module = _started(learner, spec)
        learned = [p for p in self.module.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(
            learned, lr=spec.learning_rate, weight_decay=spec.weight_decay, foreach=False
        )
        self.steps = math.ceil(len(learner) / spec.batch)  # an epoch
        self.at, self.best = _Progress(), weights_of(self.module)
        self._resume()

    @property
    def finished(self) -> bool:
        """All epochs done, or none better for as long as the patience lasts."""
        at, patience = self.at, self.spec.patience
        done = len(at.losses)
        return done >= self.spec.epochs or bool(patience and done - at.best >= patience)

    def until_done(self, progress: Progress) -> None:
        """The loop over epochs and batches."""
        at, total = self.at, self.steps * self.spec.epochs
        saved = time.perf_counter()
        if self.spec.patience and not at.qualities:
            at.qualities.append(self._quality())
        while not self.finished:
            for rows in self._batches(len(at.losses), at.step - len(at.losses) * self.steps):
                at.sums += self._step(rows) * len(rows)
                at.step += 1
                progress(at.step, total)
                if time.perf_counter() - saved > SAVE_SECONDS:
                    self._save()
                    saved = time.perf_counter()
            self._end_epoch()
        self._finish()

    def _batches(self, epoch: int, start: int) -> Iterator[Longs]:
        order = np.random.default_rng([self.spec.seed, epoch]).permutation(len(self.learner))
        for number in range(start, self.steps):
            yield order[number * self.spec.batch : (number + 1) * self.spec.batch]

    def _step(self, rows: Longs) -> float:
        import torch

        step = self.at.step
        torch.manual_seed(int(digest([self.spec.seed, step], 12), 16))  # dropout
        self.module.train()
        for group in self.optimiser.param_groups:
            group["lr"] = self.spec.learning_rate * self._share(step)
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.learner.loss(self.module, rows)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TouchstoneError(
                f"the loss is {value}", where=f"training step {step}", fix="lower the learning rate"
            )
        loss.backward()  # type: ignore[no-untyped-call]
        if self.spec.clip:
            torch.nn.utils.clip_grad_norm_(self.module.parameters(), self.spec.clip)
        self.optimiser.step()
        return value

    def _share(self, step: int) -> float:
        """The share of the learning rate that a step uses."""
        total = self.steps * self.spec.epochs
        rising = math.ceil(self.spec.warmup * total)
        if step < rising:
            return (step + 1) / rising
        return (total - step) / (total - rising) if self.spec.schedule == "linear" else 1.0

    def _quality(self) -> float:
        import torch

        self.module.eval()
        with torch.no_grad():
            return float(self.learner.quality(self.module))

    def _end_epoch(self) -> None:
        at = self.at
        at.losses.append(at.sums / len(self.learner))
        at.sums = 0.0
        if self.spec.patience:
            at.qualities.append(self._quality())
            if at.qualities[-1] > at.qualities[at.best]:
                at.best, self.best = len(at.losses), weights_of(self.module)
        else:
            at.best = len(at.losses)

    def _save(self) -> None:
        import torch

        at = {**asdict(self.at), "seconds": self.at.seconds + time.perf_counter() - self.begin}
        state = {
            "at": at,
            "weights": weights_of(self.module),
            "best": self.best,
            "optimiser": self.optimiser.state_dict(),
        }
        _write(self.folder / "checkpoint.pt", lambda path: torch.save(state, path))

    def _resume(self) -> None:
        import torch

        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return
        device = next(self.module.parameters()).device
        state = torch.load(path, map_location=device, weights_only=True)
        self.at, self.best = _Progress(**state["at"]), state["best"]
        self.module.load_state_dict(state["weights"], strict=False)
        self.optimiser.load_state_dict(state["optimiser"])

    def _finish(self) -> None:
        from safetensors.torch import save_file

        at = self.at
        kept = self.best if self.spec.patience else weights_of(self.module)
        _write(self.folder / "weights.safetensors", lambda path: save_file(kept, path))
        at.seconds += time.perf_counter() - self.begin
        told = {name: value for name, value in asdict(at).items() if name not in ("step", "sums")}
        _write(self.folder / "history.json", lambda path: path.write_text(json.dumps(told, indent=1)))
        (self.folder / "checkpoint.pt").unlink(missing_ok=True)


def weights_of(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Copies of what training can change: all of the state but parameters without gradient."""
    frozen = {name for name, value in module.named_parameters() if not value.requires_grad}
    state = module.state_dict()
    return {name: value.detach().clone() for name, value in state.items() if name not in frozen}


def load_weights(module: torch.nn.Module, folder: Path) -> None:
    """What ``train`` left in *folder*, into a module that ``Learner.start`` made."""
    from safetensors.torch import load_file

    weights = load_file(folder / "weights.safetensors")
    if weights.keys() != weights_of(module).keys():
        raise TouchstoneError("the trained weights are of another module", where=str(folder))
    module.load_state_dict(weights, strict=False)


def _write(path: Path, write: Callable[[Path], Any]) -> None:
    """A file that is whole or not there, on the disk when this returns."""
    partial_path = path.with_suffix(".tmp")
    write(partial_path)
    with partial_path.open("rb") as handle:
        os.fsync(handle.fileno())
    partial_path.rename(path)
