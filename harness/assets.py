"""Reusable intermediate products (vectors, indexes, first-stage rankings), addressed by what they were
made from.

An asset's key is everything that can change its bytes; its folder is named by the key's digest. One process
builds, others wait for it; a builder that dies leaves its partial folder to the next one, which may go on
from it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from harness.errors import TouchstoneError
from harness.modes import Mode, in_mode
from harness.spec import Json, digest

ASSET_FILE = "asset.json"
Make = Callable[[Path], float | None]


@dataclass(frozen=True)
class Asset:
    """A finished asset. seconds: what making it cost, over all attempts the maker could account for."""

    path: Path
    seconds: float
    made_now: bool

    @property
    def bytes(self) -> int:
        """Size on disk."""
        return sum(f.stat().st_size for f in self.path.rglob("*") if f.is_file())


def cache_root() -> Path:
    """``$TOUCHSTONE_CACHE``, else ``~/.cache/touchstone``."""
    return Path(os.environ.get("TOUCHSTONE_CACHE") or Path.home() / ".cache" / "touchstone")


@contextmanager
def locked(path: Path, busy: Callable[[str], None] | None = None) -> Iterator[str]:
    """Hold an exclusive lock on *path*; the system releases it when this process ends, however it ends.

    Yields the number of the process that held it before, '' when that gave it back in order. busy: told the
    number of the process that holds it now, before waiting for it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if busy is not None:
                busy(path.read_text().strip())
            fcntl.flock(handle, fcntl.LOCK_EX)
        handle.seek(0)
        left = handle.read().strip()
        _write_holder(handle, str(os.getpid()))
        yield left
        _write_holder(handle, "")


def _write_holder(handle: IO[str], text: str) -> None:
    handle.seek(0)
    handle.truncate()
    handle.write(text)
    handle.flush()


_HELD: dict[Path, IO[str]] = {}  # what this process uses: a shared lock each, until it ends


def hold(folder: Path) -> None:
    """Keep an asset from being collected while this process lives, and note that it was used now."""
    path = folder.with_suffix(".use")
    if path not in _HELD or not path.exists():
        handle = path.open("a")
        fcntl.flock(handle, fcntl.LOCK_SH)
        _HELD[path] = handle
    os.utime(path)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def asset_name(kind: str, key: Mapping[str, Json]) -> str:
    """``kind/digest``: where an asset lies below the root."""
    return f"{kind}/{digest(dict(key), 32)}"


@dataclass(frozen=True)
class Assets:
    """The asset folder of this machine."""

    root: Path
    tell: Callable[[str], None] = _say

    def has(self, name: str) -> bool:
        """Whether the asset of a name (see ``asset_name``) is finished."""
        return (self.root / name / ASSET_FILE).exists()

    def get_or_make(
        self, kind: str, key: Mapping[str, Json], make: Make, about: Mapping[str, Json] | None = None
    ) -> Asset:
        """The asset of *key*; when absent, ``make(folder)`` writes its files into a folder that then
        becomes it.

        *make* finds what an interrupted attempt left in the folder, and returns the seconds spent over all
        attempts, or None when only this one counts. about: what a reader of the cache may want to know beside
        the key. While another process makes the same asset this one waits; what a process has asked for is
        not collected while it lives.
        """
        final = self.root / asset_name(kind, key)
        try:
            return self._found(final) or self._make(
                final, kind, {"key": dict(key), "about": dict(about or {})}, make
            )
        except OSError as error:
            raise TouchstoneError(
                f"cannot make the asset '{kind}'",
                where=str(final),
                why=str(error),
                fix="if the disk is full, set TOUCHSTONE_CACHE, or run `touchstone cache gc --limit 20GB`",
            ) from error

    def _found(self, final: Path) -> Asset | None:
        if not (final / ASSET_FILE).exists():
            return None
        hold(final)  # from here on nobody removes it
        return _load(final) if (final / ASSET_FILE).exists() else None

    def _make(self, final: Path, kind: str, facts: dict[str, Json], make: Make) -> Asset:
        name = f"{kind} {final.name[:8]}"
        with locked(
            final.with_suffix(".lock"), lambda who: self.tell(f"waiting for process {who}: it makes {name}")
        ) as left:
            found = self._found(final)
            if found is not None:
                return found
            partial = final.with_suffix(".partial")
            if left and partial.exists():
                self.tell(f"process {left} ended before {name} was finished; going on from what it left")
            asset = _build(final, kind, facts, make)
        hold(final)
        if os.environ.get("TOUCHSTONE_CACHE_LIMIT"):
            from harness.cache import collect, size_limit

            collect(self.root, size_limit())
        return asset


def _load(folder: Path) -> Asset:
    meta = json.loads((folder / ASSET_FILE).read_text())
    return Asset(folder, float(meta["seconds"]), made_now=False)


def _build(final: Path, kind: str, facts: dict[str, Json], make: Make) -> Asset:
    partial = final.with_suffix(".partial")
    partial.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    with in_mode(Mode()):  # what is kept is made in the usual way, whoever asks for it
        told = make(partial)
    seconds = told if told is not None else time.perf_counter() - start
    meta = {"kind": kind, **facts, "seconds": round(seconds, 6), "files": file_hashes(partial)}
    (partial / ASSET_FILE).write_text(json.dumps(meta, indent=1, sort_keys=True))
    if final.exists():
        shutil.rmtree(final)
    partial.rename(final)
    return Asset(final, seconds, made_now=True)


def file_hashes(folder: Path) -> dict[str, Json]:
    """SHA-256 of every file of an asset but its own description, by path below *folder*."""
    found: dict[str, Json] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != ASSET_FILE:
            with path.open("rb") as handle:
                found[path.relative_to(folder).as_posix()] = hashlib.file_digest(handle, "sha256").hexdigest()
    return found
