"""Batches by length: token sequences are kept ragged, sorted by length, and padded only inside a batch."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from harness.errors import TouchstoneError
from harness.modes import mode

if TYPE_CHECKING:
    import torch

Longs = npt.NDArray[np.int64]
Progress = Callable[[int, int], None]

TOKENISE_AT_ONCE = 1024


@dataclass(frozen=True)
class BatchLimits:
    """How large a batch may be. tokens: rows times the longest row; rows: the most rows."""

    tokens: int
    rows: int


def batch_limits(device: str) -> BatchLimits:
    """Limits for a device. A processor's caches favour small batches; an accelerator needs large ones."""
    return BatchLimits(2048, 128) if torch_device_type(device) == "cpu" else BatchLimits(65_536, 1024)


@dataclass(frozen=True, eq=False)
class Ragged:
    """n integer sequences end to end: values int32[sum of lengths], starts int64[n + 1]."""

    values: npt.NDArray[np.int32]
    starts: Longs

    @classmethod
    def of(cls, rows: Iterable[Sequence[int]]) -> Self:
        """The given sequences."""
        arrays = [np.asarray(row, np.int32) for row in rows]
        starts = np.zeros(len(arrays) + 1, np.int64)
        np.cumsum([len(array) for array in arrays], out=starts[1:])
        return cls(np.concatenate(arrays) if arrays else np.empty(0, np.int32), starts)

    @property
    def lengths(self) -> Longs:
        """int64[n]."""
        return np.diff(self.starts)

    def padded(self, rows: Longs, pad: int) -> tuple[Longs, Longs]:
        """(values, mask), both int64[len(rows), longest of them], padded on the right."""
        lengths = self.lengths[rows]
        columns = np.arange(int(lengths.max(initial=0)))
        mask = columns < lengths[:, None]
        values = np.full(mask.shape, pad, np.int64)
        values[mask] = self.values[(self.starts[rows, None] + columns)[mask]]
        return values, mask.astype(np.int64)


def run_batches(
    lengths: Longs, limits: BatchLimits, run: Callable[[Longs], None], progress: Progress | None
) -> int:
    """Call ``run(rows)`` until every row was in one batch, longest rows first.

    When a batch does not fit in memory, it and all later ones are halved; a single row that does not is an
    error. In the mode of single rows every batch is one row. Returns how often batches were halved.
    """
    order = np.argsort(-lengths, kind="stable")
    start, halved, tokens, most = 0, 0, limits.tokens, 1 if mode().single_rows else limits.rows
    while start < len(order):
        longest = max(1, int(lengths[order[start]]))
        rows = order[start : start + max(1, min(tokens // longest, most))]
        failure = _attempt(run, rows)
        if failure is not None:
            if len(rows) == 1:
                raise TouchstoneError(
                    f"out of memory with a single text of {longest} tokens",
                    why=failure,
                    fix="lower max_length",
                )
            tokens = len(rows) * longest // 2
            halved += 1
            release_memory()
            continue
        start += len(rows)
        if progress is not None:
            progress(start, len(order))
    return halved


def _attempt(run: Callable[[Longs], None], rows: Longs) -> str | None:
    """None when the batch went through, the message when memory ran out. Returns before freeing: a live
    exception would hold the failed batch's tensors."""
    try:
        run(rows)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        return str(error).strip().partition("\n")[0] or type(error).__name__
    return None


def out_of_memory(error: BaseException) -> bool:
    """Whether *error* says that memory ran out, on the host or on an accelerator."""
    name = type(error).__name__
    return (
        isinstance(error, MemoryError) or name == "OutOfMemoryError" or "can't allocate memory" in str(error)
    )


def release_memory() -> None:
    """Hand cached accelerator memory back, when torch is loaded and has any."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def torch_device_type(device: str) -> str:
    """``cuda`` of ``cuda:1``."""
    return device.partition(":")[0]


def to_device(arrays: dict[str, Longs], device: str) -> dict[str, torch.Tensor]:
    """The arrays as tensors on *device*."""
    import torch

    return {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}


def prepare_torch() -> None:
    """Let torch use no more cores than this process may run on, and keep transformers from drawing bars."""
    import torch
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]
    if hasattr(os, "sched_getaffinity"):
        torch.set_num_threads(min(torch.get_num_threads(), len(os.sched_getaffinity(0))))
