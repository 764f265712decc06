"""The archive of a submission: a zip with a manifest, a record and its files, and nothing else.

What comes from outside is believed in nothing: names, sizes, hashes and types are checked before anything is
read as what it says it is.
"""

from __future__ import annotations

import hashlib
import json
import stat
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import TouchstoneError
from harness.record import RECORD_FILE, Record
from harness.store import ANSWERS_FILE, ITEMS_FILE, RUN_FILE, Store
from harness.strict import from_plain

MANIFEST = "submission.json"
SCHEMA = 1
NAMES = (MANIFEST, RECORD_FILE, ITEMS_FILE, RUN_FILE, ANSWERS_FILE)
MAGIC = {ITEMS_FILE: b"PAR1", ANSWERS_FILE: b"PAR1", RUN_FILE: b"\x28\xb5\x2f\xfd"}
STAMP = (1980, 1, 1, 0, 0, 0)  # the same files give the same archive
BLOCK = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Bytes that a submission may take: archive, one file in it, one of these expanded; and how many times
    its size a file may expand to.
    """

    archive: int = 1 << 30
    file: int = 1 << 30
    expanded: int = 8 << 30
    ratio: float = 100.0


@dataclass(frozen=True)
class Manifest:
    """What an archive says of itself: the digest and the size of every other file."""

    schema: int
    run: str
    sha256: dict[str, str] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)


def refused(what: str, where: str, why: str = "") -> TouchstoneError:
    """The error for a submission that is not taken."""
    return TouchstoneError(f"submission refused: {what}", where=where, why=why)


def pack(store: Store, record: Record, out: Path) -> Path:
    """Write the archive of a finished run with its items and answers; the same run, the same bytes."""
    folder = store.folder(record)
    if record.status != "done":
        raise TouchstoneError(
            f"the run {record.id} failed: there is nothing to submit", fix=record.run.command
        )
    if record.origin == "reported":
        raise TouchstoneError(f"the run {record.id} is only reported", fix="submit what was run here")
    names = [name for name in NAMES[1:] if (folder / name).is_file()]
    contents = {name: (folder / name).read_bytes() for name in names}
    body = {
        "schema": SCHEMA,
        "run": record.id,
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()},
        "bytes": {name: len(data) for name, data in contents.items()},
    }
    try:
        with zipfile.ZipFile(out, "w") as archive:
            manifest = (json.dumps(body, indent=1, sort_keys=True) + "\n").encode()
            for name, data in {MANIFEST: manifest, **contents}.items():
                info = zipfile.ZipInfo(name, STAMP)
                info.external_attr = (stat.S_IFREG | 0o644) << 16
                archive.writestr(info, data, zipfile.ZIP_STORED)
    except OSError as error:
        raise TouchstoneError("cannot write the submission", where=str(out), why=str(error)) from error
    return out


def unpack(path: Path, into: Path, limits: Limits | None = None) -> Manifest:
    """Check an archive and write its files into the empty folder *into*; returns its manifest.

    Every refusal is a TouchstoneError that says what is wrong. Nothing of an entry is written before its
    name, type and stated size are found good, and no more than that size ever is.
    """
    limits = limits or Limits()
    where = path.name
    try:
        if path.stat().st_size > limits.archive:
            raise refused("the archive is too large", where, f"over {limits.archive:,} bytes")
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _check_entries(entries, limits, where)
            for entry in entries:
                _extract(archive, entry, into / entry.filename, where)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise refused("not a sound zip archive", where, str(error)) from error
    except OSError as error:
        raise TouchstoneError("cannot read the submission", where=str(path), why=str(error)) from error
    manifest = _manifest(into / MANIFEST, where)
    _check_hashes(into, manifest, where)
    for name, magic in MAGIC.items():
        if (into / name).exists():
            _check_magic(into / name, magic, where)
    return manifest


def _check_entries(entries: list[zipfile.ZipInfo], limits: Limits, where: str) -> None:
    seen: set[str] = set()
    for entry in entries[: len(NAMES) + 1]:
        problem = _problem(entry, limits) or ("a name comes twice" if entry.filename in seen else "")
        if problem:
            raise refused(problem, where, ascii(entry.filename[:100]))
        seen.add(entry.filename)
    if len(entries) > len(NAMES):
        raise refused("too many files", where, str(len(entries)))
    missing = [name for name in (MANIFEST, RECORD_FILE, ITEMS_FILE) if name not in seen]
    if missing or not seen & {RUN_FILE, ANSWERS_FILE}:
        raise refused("a file is missing", where, missing[0] if missing else f"{RUN_FILE} or {ANSWERS_FILE}")


def _problem(entry: zipfile.ZipInfo, limits: Limits) -> str:
    """Why an entry is not taken, '' when it is."""
    parts = entry.filename.replace("\\", "/").split("/")
    mode = entry.external_attr >> 16
    checks = (
        (".." in parts or parts[0] == "" or ":" in parts[0], "a path leads out of the archive"),
        (stat.S_ISLNK(mode), "a symbolic link"),
        (bool(stat.S_IFMT(mode)) and not stat.S_ISREG(mode), "not a plain file"),
        (bool(entry.flag_bits & 1), "an encrypted file"),
        (entry.filename not in NAMES, "a file that no submission has"),
        (entry.file_size > limits.file, "a file is too large"),
        (entry.file_size > limits.ratio * max(entry.compress_size, 1), "a file expands too much"),
    )
    return next((problem for wrong, problem in checks if wrong), "")


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, to: Path, where: str) -> None:
    left = entry.file_size
    with archive.open(entry) as source, to.open("xb") as target:
        while block := source.read(BLOCK):
            left -= len(block)
            if left < 0:
                raise refused("a file is larger than it says", where, entry.filename)
            target.write(block)


def read_plain_json(path: Path, where: str) -> Any:
    """A JSON file without NaN, infinities, repeated keys or bottomless nesting."""

    def refuse(name: str) -> Any:
        raise ValueError(f"it holds {name}")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) != len(pairs):
            raise ValueError("a key comes twice")
        return dict(pairs)

    try:
        return json.loads(path.read_bytes(), parse_constant=refuse, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise refused(f"{path.name} is no sound JSON", where, str(error)[:200]) from error


def _manifest(path: Path, where: str) -> Manifest:
    manifest: Manifest = from_plain(read_plain_json(path, where), Manifest, f"{where}: {MANIFEST}")
    if manifest.schema != SCHEMA:
        raise refused(f"the manifest has schema {manifest.schema}", where, f"this version knows {SCHEMA}")
    return manifest


def _check_hashes(folder: Path, manifest: Manifest, where: str) -> None:
    held = sorted(path.name for path in folder.iterdir() if path.name != MANIFEST)
    if held != sorted(manifest.sha256):
        raise refused("the manifest names other files", where, ", ".join(sorted(manifest.sha256))[:200])
    for name in held:
        with (folder / name).open("rb") as handle:
            found = hashlib.file_digest(handle, "sha256").hexdigest()
        if found != manifest.sha256[name]:
            raise refused("a hash does not match", where, name)


def _check_magic(path: Path, magic: bytes, where: str) -> None:
    with path.open("rb") as handle:
        head = handle.read(len(magic))
    if head != magic:
        kind = "a pickle" if head[:1] == b"\x80" else "another kind of file"
        raise refused(f"{path.name} is {kind}", where)
