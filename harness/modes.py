"""How finely work is cut: as methods and devices like it, or one query or one row at a time.

The timed mode and the check of batches set a mode around an adapter's ``run``; ``tasks.base.blocks`` and
``models.batching.run_batches`` follow it, so that no adapter has to know.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Mode:
    """single_items: blocks of one item, and nothing made for an item beforehand is reused. single_rows:
    batches of one row inside models.
    """

    single_items: bool = False
    single_rows: bool = False


_USUAL = Mode()
_MODE: ContextVar[Mode] = ContextVar("mode", default=_USUAL)


def mode() -> Mode:
    """The mode in force."""
    return _MODE.get()


@contextmanager
def in_mode(wanted: Mode) -> Iterator[None]:
    """Work inside the block is cut as *wanted* says."""
    token = _MODE.set(wanted)
    try:
        yield
    finally:
        _MODE.reset(token)
