"""Batches by length: token sequences are kept ragged, sorted by length, and padded only inside a batch."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from harness.errors import TouchstoneError
from harness.meter import count_event
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

    def joined(self, rows: Longs) -> tuple[Longs, Longs]:
        """(values of *rows* end to end, their lengths), both int64."""
        starts, lengths = self.starts[rows], self.lengths[rows]
        within = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return self.values[np.repeat(starts, lengths) + within].astype(np.int64), lengths

    def padded(self, rows: Longs, pad: int) -> tuple[Longs, Longs]:
        """(values, mask), both int64[len(rows), longest of them], padded on the right."""
        lengths = self.lengths[rows]
        columns = np.arange(int(lengths.max(initial=0)))
        mask = columns < lengths[:, None]
        values = np.full(mask.shape, pad, np.int64)
        values[mask] = self.values[(self.starts[rows, None] + columns)[mask]]
        return values, mask.astype(np.int64)


def run_batches(
    lengths: Longs,
    limits: BatchLimits,
    run: Callable[[Longs], None],
    progress: Progress | None,
    threads: int = 1,
) -> int:
    """Call ``run(rows)`` until every row was in one batch, longest rows first, on *threads* at once.

    When a batch does not fit in memory, it and all later ones are halved, which the run's meter counts; a
    single row that does not is an error. In the mode of single rows every batch is one row. Returns how often
    batches were halved.
    """
    queue = _Queue(np.argsort(-lengths, kind="stable"), lengths, limits, progress)
    with ThreadPoolExecutor(threads, initializer=one_torch_thread) if threads > 1 else nullcontext() as pool:
        if pool is None:
            queue.work(run)
        else:
            for worker in [pool.submit(queue.work, run) for _ in range(threads)]:
                worker.result()
    for _ in range(queue.halvings):
        count_event("batches halved for memory")
    return queue.halvings


class _Queue:
    """The rows still to do, handed out in batches."""

    def __init__(self, order: Longs, lengths: Longs, limits: BatchLimits, progress: Progress | None) -> None:
        self.halvings = 0
        self._total, self._lengths, self._progress = len(order), lengths, progress
        self._tokens, self._rows = limits.tokens, 1 if mode().single_rows else limits.rows
        self._done = 0
        self._rest = [order]  # the last of them is next; the first is what no batch has held yet
        self._lock = Lock()
        self._failed = False

    def work(self, run: Callable[[Longs], None]) -> None:
        """Run batches until none is left, or one has failed anywhere."""
        while (rows := self._next()) is not None:
            try:
                failure = _attempt(run, rows)
                if failure is not None:
                    self._halve(rows, failure)
                    continue
            except BaseException:
                self._failed = True
                raise
            with self._lock:
                self._done += len(rows)
                if self._progress is not None:
                    self._progress(self._done, self._total)

    def _next(self) -> Longs | None:
        with self._lock:
            if self._failed:
                return None
            rest = self._rest.pop()
            if not len(rest):
                self._rest.append(rest)
                return None
            longest = max(1, int(self._lengths[rest[0]]))
            stop = max(1, min(self._tokens // longest, self._rows))
            if stop < len(rest) or not self._rest:
                self._rest.append(rest[stop:])
            return rest[:stop]

    def _halve(self, rows: Longs, failure: str) -> None:
        longest = max(1, int(self._lengths[rows[0]]))
        if len(rows) == 1:
            raise TouchstoneError(
                f"out of memory with a single text of {longest} tokens",
                why=failure,
                fix="lower max_length",
            )
        release_memory()
        with self._lock:
            self.halvings += 1
            self._tokens = min(self._tokens, len(rows) * longest // 2)
            self._rest.append(rows)


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


def one_torch_thread() -> None:
    """Let torch use one thread for what the calling thread asks of it: batches side by side keep the cores
    busier than the parts of one batch, which wait for each other at every step.
    """
    import torch

    torch.set_num_threads(1)


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
