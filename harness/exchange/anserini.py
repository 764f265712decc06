"""The expected scores of Pyserini's and Anserini's reproductions, as a CSV table or as YAML."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.errors import TouchstoneError
from harness.exchange.names import anserini_measure, anserini_task
from harness.exchange.reported import Reported, sha256_of

COLUMNS = ("collection", "condition", "dataset", "metric", "score")


def read_anserini(path: Path) -> list[Reported]:
    """The numbers of a table with the columns COLUMNS, or of one of Pyserini's two_click_reproduction YAML
    files (conditions, each with topics and their scores).
    """
    digest = sha256_of(path)
    rows = list(_yaml(path) if path.suffix in (".yaml", ".yml") else _csv(path))
    if not rows:
        raise TouchstoneError("no expected score is here", where=str(path))
    return [
        Reported(
            anserini_task(collection, dataset),
            f"anserini/{condition}",
            anserini_measure(metric),
            score,
            "anserini",
            path.name,
            digest,
            details={"collection": collection},
        )
        for collection, condition, dataset, metric, score in rows
    ]


Row = tuple[str, str, str, str, float]


def _csv(path: Path) -> Iterator[Row]:
    try:
        with path.open(newline="", encoding="utf-8") as handle:
            reader = csv.DictReader(handle)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise TouchstoneError(
                    "not a table of expected scores", where=str(path), fix=f"columns {COLUMNS}"
                )
            for row in reader:
                where = f"{path}:{reader.line_num}"
                yield (
                    row["collection"],
                    row["condition"],
                    row["dataset"],
                    row["metric"],
                    _number(row["score"], where),
                )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TouchstoneError("cannot read the table", where=str(path), why=str(error)) from error


def _yaml(path: Path) -> Iterator[Row]:
    import yaml

    try:
        body = yaml.safe_load(path.read_text(encoding="utf-8"))
        for condition in body["conditions"]:
            sets = condition.get("datasets") or condition["topics"]
            for one in sets:
                dataset = str(one.get("dataset") or one.get("topic_key") or one["eval_key"])
                for scores in one["scores"]:
                    for metric, value in scores.items():
                        yield (
                            path.stem,
                            str(condition["name"]),
                            dataset,
                            str(metric),
                            _number(value, str(path)),
                        )
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise TouchstoneError("cannot read the scores", where=str(path), why=str(error)) from error
    except (KeyError, TypeError, AttributeError) as error:
        raise TouchstoneError(
            "not a file of expected scores", where=str(path), why=f"{type(error).__name__}: {error}"
        ) from error


def _number(value: Any, where: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise TouchstoneError(f"'{value}' is not a score", where=where) from error
