"""What the asset folder holds: listing it, explaining it, checking it and keeping it within a size."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.assets import ASSET_FILE, file_hashes
from harness.errors import TouchstoneError
from harness.spec import Json, canonical

LIMIT = "TOUCHSTONE_CACHE_LIMIT"
UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


@dataclass(frozen=True)
class Entry:
    """An asset, or what is left of one that was not finished. made, used: seconds since 1970."""

    folder: Path
    kind: str
    state: Literal["ready", "unfinished"]
    bytes: int
    made: float
    used: float
    key: Mapping[str, Json]
    about: Mapping[str, Json]

    @property
    def name(self) -> str:
        """The first digits of the key's digest."""
        return self.folder.name[:12]

    @property
    def what(self) -> str:
        """In one line: the names that its key and description hold."""
        facts = flat({**self.key, **self.about})
        named = [str(value) for field, value in facts.items() if field.rpartition(".")[2] in NAMING and value]
        return ", ".join(named) or ", ".join(f"{field} {value}" for field, value in list(facts.items())[:3])


NAMING = ("method", "task", "model", "role", "precision", "format", "path", "name", "dataset", "stemmer")


def entries(root: Path) -> list[Entry]:
    """Everything in the asset folder, most recently used first."""
    found = [
        _entry(folder)
        for folder in root.glob("*/*")
        if folder.is_dir() and ((folder / ASSET_FILE).exists() or folder.suffix == ".partial")
    ]
    return sorted((entry for entry in found if entry), key=lambda entry: (-entry.used, entry.folder))


def _entry(folder: Path) -> Entry | None:
    """None when it disappears while it is looked at."""
    try:
        meta = json.loads((folder / ASSET_FILE).read_text()) if (folder / ASSET_FILE).exists() else {}
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        made = folder.stat().st_mtime
        use = folder.with_suffix(".use")
        used = use.stat().st_mtime if use.exists() else made
    except (OSError, ValueError):
        return None
    return Entry(
        folder,
        folder.parent.name,
        "ready" if folder.suffix != ".partial" else "unfinished",
        size,
        made,
        max(used, made),
        meta.get("key") or {},
        meta.get("about") or {},
    )


def flat(value: Mapping[str, Json], before: str = "") -> dict[str, Json]:
    """Nested objects as one, names joined by dots."""
    found: dict[str, Json] = {}
    for name, inner in value.items():
        if isinstance(inner, dict):
            found |= flat(inner, f"{before}{name}.")
        else:
            found[before + name] = inner
    return found


@dataclass(frozen=True)
class Difference:
    """A field of a key: what is wanted, and what the nearest asset has; None where it is not given."""

    field: str
    wanted: Json
    held: Json


def nearest(
    wanted: Mapping[str, Json], kind: str, held: list[Entry]
) -> tuple[Entry, list[Difference]] | None:
    """The ready asset of a kind whose key and description differ least from *wanted*, and the fields that
    differ; None when there is no asset of the kind.
    """
    asked = flat(wanted)
    best: tuple[Entry, list[Difference]] | None = None
    for entry in held:
        if entry.kind != kind or entry.state != "ready":
            continue
        has = flat({**entry.key, **entry.about})
        fields = sorted(name for name in asked.keys() | has.keys() if asked.get(name) != has.get(name))
        found = [Difference(name, asked.get(name), has.get(name)) for name in fields]
        if best is None or len(found) < len(best[1]):
            best = entry, found
    return best


def shown(value: Json) -> str:
    """A field's value in a line."""
    text = value if isinstance(value, str) else canonical(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def size_limit(text: str = "") -> int:
    """Bytes of ``20GB`` or ``500 MB``; without a text those of TOUCHSTONE_CACHE_LIMIT."""
    given = text or os.environ.get(LIMIT, "")
    parts = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kKMGT]?B?)\s*", given)
    if not parts or parts[2].upper() not in UNITS:
        raise TouchstoneError(
            f"not a size: '{given}'" if given else "no size is given",
            where=LIMIT if not text else "--limit",
            fix=f"write it like 20GB{'' if given else f', by --limit or {LIMIT}'}",
        )
    return int(float(parts[1]) * UNITS[parts[2].upper()])


@dataclass(frozen=True)
class Collected:
    """What was removed, and what could not be: in use or being made."""

    removed: tuple[Entry, ...]
    kept_in_use: tuple[Entry, ...]
    bytes_left: int


def collect(root: Path, limit: int) -> Collected:
    """Remove assets, those not used for longest first, until the rest takes at most *limit* bytes.

    An asset that a living process has asked for, or is making, stays.
    """
    held = entries(root)
    total = sum(entry.bytes for entry in held)
    removed, busy = [], []
    for entry in reversed(held):
        if total <= limit:
            break
        if _remove(entry.folder):
            removed.append(entry)
            total -= entry.bytes
        else:
            busy.append(entry)
    return Collected(tuple(removed), tuple(busy), total)


def _remove(folder: Path) -> bool:
    """Whether the folder could be removed: nobody uses it and nobody makes it."""
    with (
        folder.with_suffix(".lock").open("a") as making,
        folder.with_suffix(".use").open("a") as using,
    ):
        try:
            fcntl.flock(making, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(using, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        gone = folder.with_name(f".gone-{os.getpid()}-{folder.name}")
        with suppress(FileNotFoundError):
            folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
        return True


def verify(entry: Entry) -> list[str]:
    """What is wrong with the files of a ready asset: changed, missing or foreign. Empty when sound."""
    meta = json.loads((entry.folder / ASSET_FILE).read_text())
    wanted = meta.get("files")
    if not isinstance(wanted, dict):
        return ["made before hashes were kept"]
    has = file_hashes(entry.folder)
    problems = [f"{name} is missing" for name in wanted if name not in has]
    problems += [f"{name} was changed" for name in wanted if name in has and has[name] != wanted[name]]
    return problems
