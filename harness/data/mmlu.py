"""MMLU from its original CSV files: dev/<subject>_dev.csv and test/<subject>_test.csv, six columns, no
header.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from harness.data.dataset import Source
from harness.errors import TouchstoneError

LETTERS = "ABCD"


@dataclass(frozen=True)
class Question:
    """A multiple-choice question; answer is the position of the right choice."""

    text: str
    choices: tuple[str, ...]
    answer: int
    group: str


@dataclass(frozen=True)
class MmluReader:
    """The folder of the original CSV files, as ``source.path`` (absolute)."""

    source: Source

    def questions(self, split: str) -> list[Question]:
        """All questions of a split, subjects in alphabetical order, questions in file order."""
        files = sorted((Path(self.source.path) / split).glob(f"*_{split}.csv"))
        if not files:
            raise TouchstoneError(
                "no MMLU files",
                where=str(Path(self.source.path) / split),
                fix=f"expected <subject>_{split}.csv",
            )
        return [
            question for path in files for question in _read(path, path.name.removesuffix(f"_{split}.csv"))
        ]


def _read(path: Path, subject: str) -> list[Question]:
    found = []
    with path.open(encoding="utf-8", newline="") as handle:
        reader = csv.reader(handle)
        for row in reader:
            where = f"{path}:{reader.line_num}"
            if len(row) != 6:
                raise TouchstoneError(
                    f"{len(row)} columns",
                    where=where,
                    why="expected question, four choices and the answer's letter",
                )
            if row[5] not in LETTERS or len(row[5]) != 1:
                raise TouchstoneError(f"the answer is '{row[5]}'", where=where, fix="one of A, B, C, D")
            found.append(Question(row[0], tuple(row[1:5]), LETTERS.index(row[5]), subject))
    return found
