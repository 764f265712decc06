"""One function over many jobs, by several forked processes where that pays."""

from __future__ import annotations

import gc
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

S = TypeVar("S")
J = TypeVar("J")
R = TypeVar("R")

MOST = 4  # processes: beyond, the disk is what is waited for
SELDOM = (100_000, 50, 100)  # when a forked process looks for garbage: most of what it makes is kept or sent
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
    gc.freeze()  # a collection in a child would copy every page of what is shared
    try:
        with uncollected(), multiprocessing.get_context("fork").Pool(count, _calm) as pool:
            return pool.map(_call, jobs, chunksize=1)
    finally:
        gc.unfreeze()
        _shared.clear()


@contextmanager
def uncollected() -> Iterator[None]:
    """No search for garbage meanwhile: for work that makes millions of objects, none of them garbage, which
    would be gone through again and again.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _calm() -> None:
    """What a forked process is asked first: not to look for garbage often, nor to work with more threads than
    the one, since the others have cores of their own.
    """
    gc.set_threshold(*SELDOM)
    gc.enable()
    threadpool_limits(1)


def _forks() -> bool:
    return "fork" in multiprocessing.get_all_start_methods() and hasattr(os, "sched_getaffinity")


def _call(job: Any) -> Any:
    function, shared = _shared
    return function(shared, job)
