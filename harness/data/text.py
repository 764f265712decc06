"""Plain texts: a folder of .txt and .md files, one such file, or JSON lines with a ``text``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from harness.data.dataset import Source
from harness.errors import TouchstoneError

SUFFIXES = (".txt", ".md")


@dataclass(frozen=True)
class TextReader:
    """The folder or the file ``source.path`` (absolute)."""

    source: Source

    def paths(self) -> list[Path]:
        """The files that are read, in the order of their paths."""
        path = Path(self.source.path)
        if not path.is_dir():
            return [path]
        return sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES and p.is_file())

    def texts(self) -> list[tuple[str, str]]:
        """(name, text) of every text that is not blank; files are named by their path below the folder."""
        path = Path(self.source.path)
        if path.suffix == ".jsonl":
            found = _lines(path)
        else:
            root = path if path.is_dir() else path.parent
            found = [(file.relative_to(root).as_posix(), _read(file)) for file in self.paths()]
        found = [(name, text) for name, text in found if text.strip()]
        if not found:
            raise TouchstoneError("no texts", where=str(path), fix="expected .txt or .md files, or a .jsonl")
        return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise TouchstoneError("not UTF-8", where=str(path), why=str(error)) from error


def _lines(path: Path) -> list[tuple[str, str]]:
    found = []
    for number, line in enumerate(_read(path).splitlines(), 1):
        where = f"{path}:{number}"
        try:
            body = json.loads(line) if line.strip() else {"text": ""}
        except ValueError as error:
            raise TouchstoneError("not JSON", where=where, why=str(error)) from error
        if not isinstance(body, dict) or not isinstance(body.get("text"), str):
            raise TouchstoneError("expected an object with a 'text'", where=where)
        found.append((str(body.get("id", number)), body["text"]))
    return found
