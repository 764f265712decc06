"""Finding the records of a store, which may be a hundred thousand."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from harness.errors import TouchstoneError
from harness.record import RECORD_FILE

REPORTED = "_reported"
APART = (".partial", REPORTED)  # folders whose runs are none of the store's


def parts_of(root: Path) -> list[str]:
    """Folders that together hold every record of a store, in the order of their paths, to be looked through
    side by side: three levels below its root, as many as there are results of methods on tasks.
    """
    return list(_folders(str(root), 3)) if root.is_dir() else []


def records_below(folder: str) -> Iterator[str]:
    """The files of the records in a folder of a store and below it, in the order of the paths."""
    return (f"{found}/{RECORD_FILE}" for found in _folders(folder))


def _folders(folder: str, levels: int = -1) -> Iterator[str]:
    """The folders with a record in one and below it, and whatever is *levels* down (-1: nowhere)."""
    if not levels or _holds_record(folder):
        yield folder
        return
    for inner in _inside(folder):
        yield from _folders(inner, levels - 1)


def _holds_record(folder: str) -> bool:
    return os.access(f"{folder}/{RECORD_FILE}", os.F_OK)


def _inside(folder: str) -> list[str]:
    """The folders in one that may hold records, by name."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError as error:
        raise TouchstoneError(
            "cannot look for results", where=folder, why=error.strerror or str(error)
        ) from error
    return [f"{folder}/{name}" for name in names if name not in APART]
