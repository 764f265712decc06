"""Folders in BEIR layout as suites of one's own."""

from __future__ import annotations

import os
from pathlib import Path

import yaml

from harness.errors import TouchstoneError

MEASURES = ("nDCG@10", "R@100", "AP", "RR@10")


def import_folder(folder: Path, name: str, out: Path) -> list[str]:
    """Write the suite file *out* (named ``<name>.yaml``) with a task for each split of judgements in
    *folder*; returns the names of its tasks. Paths in it are relative to it; nothing is copied.

    The folder holds corpus.jsonl(.gz), queries.jsonl and qrels/<split>.tsv.
    """
    if out.stem != name:
        raise TouchstoneError(f"the suite '{name}' must be named as its file", where=str(out))
    if out.exists():
        raise TouchstoneError("the file is there already", where=str(out), fix="choose another --out")
    corpora = [folder / "corpus.jsonl", folder / "corpus.jsonl.gz"]
    if not any(path.is_file() for path in corpora) or not (folder / "queries.jsonl").is_file():
        raise TouchstoneError(
            "not a folder in BEIR layout", where=str(folder), why="corpus.jsonl or queries.jsonl is missing"
        )
    splits = sorted(path.stem for path in folder.glob("qrels/*.tsv"))
    if not splits:
        raise TouchstoneError("no judgements", where=str(folder / "qrels"), fix="put <split>.tsv there")
    path = os.path.relpath(folder.resolve(), out.parent.resolve())
    names = {split: name if len(splits) == 1 else f"{name}/{split}" for split in splits}
    body = {
        "name": name,
        "title": name,
        "about": f"Imported from a folder in BEIR layout: {folder.name}.",
        "datasets": [
            {"name": task, "sources": [{"format": "beir", "path": path, "split": split}]}
            for split, task in names.items()
        ],
        "define": [
            {"name": task, "kind": "rank", "dataset": task, "measures": list(MEASURES)}
            for task in names.values()
        ],
        "tasks": list(names.values()),
        "methods": ["random", "bm25", "oracle"],
    }
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(yaml.safe_dump(body, sort_keys=False, allow_unicode=True), encoding="utf-8")
    except OSError as error:
        raise TouchstoneError("cannot write the suite", where=str(out), why=str(error)) from error
    return list(names.values())
