"""Reusable intermediate products (vectors, indexes, first-stage rankings), addressed by what they were
made from.

An asset's key is everything that can change its bytes; its folder is named by the key's digest. One process
builds, others wait for it; a builder that dies leaves its partial folder to the next one, which may go on
from it.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.errors import TouchstoneError
from harness.spec import Json, digest

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
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on *path*; the system releases it when this process ends, however it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def asset_name(kind: str, key: Mapping[str, Json]) -> str:
    """``kind/digest``: where an asset lies below the root."""
    return f"{kind}/{digest(dict(key), 32)}"


@dataclass(frozen=True)
class Assets:
    """The asset folder of this machine."""

    root: Path

    def has(self, name: str) -> bool:
        """Whether the asset of a name (see ``asset_name``) is finished."""
        return (self.root / name / "asset.json").exists()

    def get_or_make(self, kind: str, key: Mapping[str, Json], make: Make) -> Asset:
        """The asset of *key*; when absent, ``make(folder)`` writes its files into a folder that then
        becomes it.

        *make* finds what an interrupted attempt left in the folder, and returns the seconds spent over all
        attempts, or None when only this one counts.
        """
        final = self.root / asset_name(kind, key)
        try:
            if (final / "asset.json").exists():
                return _load(final)
            with locked(final.with_suffix(".lock")):
                if (final / "asset.json").exists():
                    return _load(final)
                return _build(final, kind, dict(key), make)
        except OSError as error:
            raise TouchstoneError(
                f"cannot make the asset '{kind}'",
                where=str(final),
                why=str(error),
                fix="if the disk is full, set TOUCHSTONE_CACHE",
            ) from error


def _load(folder: Path) -> Asset:
    meta = json.loads((folder / "asset.json").read_text())
    return Asset(folder, float(meta["seconds"]), made_now=False)


def _build(final: Path, kind: str, key: dict[str, Json], make: Make) -> Asset:
    partial = final.with_suffix(".partial")
    partial.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    told = make(partial)
    seconds = told if told is not None else time.perf_counter() - start
    meta = {"kind": kind, "key": key, "seconds": round(seconds, 6)}
    (partial / "asset.json").write_text(json.dumps(meta, indent=1, sort_keys=True))
    if final.exists():
        shutil.rmtree(final)
    partial.rename(final)
    return Asset(final, seconds, made_now=True)
