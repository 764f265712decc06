"""One function over many jobs, by several forked processes where that pays."""

from __future__ import annotations

import gc
import multiprocessing
import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

S = TypeVar("S")
J = TypeVar("J")
R = TypeVar("R")

MOST = 4  # processes: beyond, the disk is what is waited for
_shared: list[Any] = []  # what forked processes find in place of an argument


def each(function: Callable[[S, J], R], shared: S, jobs: Sequence[J], processes: int = 0) -> list[R]:
    """``function(shared, job)`` of every job, in their order.

    shared is inherited, never sent; jobs and what is returned are. processes: 1 works here, 0 takes as many
    as there are cores, up to MOST. Without fork (Windows) the work is done here. Exceptions are raised here.
    """
    count = min(processes or min(MOST, len(os.sched_getaffinity(0)) if _forks() else 1), len(jobs))
    if count <= 1 or not _forks():
        return [function(shared, job) for job in jobs]
    _shared[:] = [function, shared]
    collecting = gc.isenabled()
    gc.disable()  # what comes back are millions of objects, none of them garbage
    gc.freeze()  # a collection in a child would copy every page of what is shared
    try:
        with multiprocessing.get_context("fork").Pool(count, gc.enable) as pool:
            return pool.map(_call, jobs, chunksize=1)
    finally:
        gc.unfreeze()
        if collecting:
            gc.enable()
        _shared.clear()


def _forks() -> bool:
    return "fork" in multiprocessing.get_all_start_methods() and hasattr(os, "sched_getaffinity")


def _call(job: Any) -> Any:
    function, shared = _shared
    return function(shared, job)
