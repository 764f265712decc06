"""Numbers that others report. They lie in a file of their own and never among what was measured here."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from harness.assets import locked
from harness.errors import TouchstoneError
from harness.spec import canonical
from harness.store import Store
from harness.strict import from_plain

NUMBERS_FILE = "numbers.jsonl"
Source = Literal["trec", "mteb", "lm-eval", "anserini"]


@dataclass(frozen=True)
class Reported:
    """A number of somebody else's.

    value: on our scale (0 to 1). file, sha256: where it was read. items: how many it is over, 0 when that is
    not said. run: the run in the reported area that holds its per-item answers, '' without. details: what the
    source says of model, versions and settings.
    """

    task: str
    method: str
    measure: str
    value: float
    source: Source
    file: str
    sha256: str
    items: int = 0
    run: str = ""
    details: Mapping[str, str] = field(default_factory=dict)
    origin: Literal["reported"] = "reported"

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise TouchstoneError(f"{self.measure} is {self.value}", where=f"{self.file}: {self.task}")


def add_reported(store: Store, rows: Iterable[Reported]) -> int:
    """Add rows to the numbers beside *store*; one of the same file, task, method and measure is replaced.
    Returns how many were given.
    """
    path = store.reported.root / NUMBERS_FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_suffix(".lock")):
            held = {_key(row): row for row in read_reported(store)}
            given = {_key(row): row for row in rows}
            held |= given
            lines = sorted(canonical(json.loads(json.dumps(asdict(row)))) for row in held.values())
            partial = path.with_suffix(f".{os.getpid()}")
            partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            partial.rename(path)
    except OSError as error:
        raise TouchstoneError("cannot store reported numbers", where=str(path), why=str(error)) from error
    return len(given)


def read_reported(store: Store) -> list[Reported]:
    """All numbers reported beside *store*, in a fixed order."""
    path = store.reported.root / NUMBERS_FILE
    if not path.exists():
        return []
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        rows.append(from_plain(json.loads(line), Reported, f"{path}:{number}"))
    return rows


def _key(row: Reported) -> tuple[str, ...]:
    return row.source, row.sha256, row.task, row.method, row.measure, canonical(dict(row.details))


def sha256_of(path: Path) -> str:
    """The digest of a file, hexadecimal."""
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise TouchstoneError(
            "cannot read the file", where=str(path), why=error.strerror or str(error)
        ) from error


def read_json(path: Path) -> dict[str, object]:
    """A file's one JSON object; NaN, Infinity and anything else are TouchstoneErrors."""

    def refuse(name: str) -> object:
        raise ValueError(f"it holds {name}")

    try:
        body = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    except (OSError, ValueError, RecursionError) as error:
        raise TouchstoneError("cannot read the results", where=str(path), why=str(error)) from error
    if not isinstance(body, dict):
        raise TouchstoneError("not a JSON object", where=str(path))
    return body
