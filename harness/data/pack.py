"""A folder with all data that tasks need, and a digest of every file: it can be carried to another machine.

The folder is a mirror: ``TOUCHSTONE_DATA`` may name it, or ``unpack`` copies it to where fetched data lies.
"""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.data.dataset import RANKED, DatasetSpec, roots
from harness.data.download import Say, digest_of
from harness.data.hub import marker_of
from harness.data.irds import EXPORTED, IrdsReader, exported_folder
from harness.data.sources import Reader, is_whole, open_dataset
from harness.errors import TouchstoneError

MANIFEST = "touchstone-data.json"
VERSION = 1


@dataclass(frozen=True)
class Manifest:
    """What a packed folder holds: (bytes, sha256) of each file by its path in the folder."""

    datasets: tuple[str, ...]
    files: Mapping[str, tuple[int, str]]

    def write(self, folder: Path) -> None:
        """As JSON, whole or not at all."""
        body = {"version": VERSION, "datasets": [*self.datasets], "files": dict(sorted(self.files.items()))}
        part = folder / f"{MANIFEST}.part"
        part.write_text(json.dumps(body, indent=1))
        part.rename(folder / MANIFEST)

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest of a packed folder; one that is broken or names files outside of it is an error."""
        path = folder / MANIFEST
        try:
            body = json.loads(path.read_text(encoding="utf-8"))
            if body["version"] != VERSION:
                raise TouchstoneError(f"written by another version ({body['version']})", where=str(path))
            files = {name: (int(size), str(digest)) for name, (size, digest) in body["files"].items()}
            datasets = tuple(body["datasets"])
        except FileNotFoundError:
            raise TouchstoneError("not a packed folder", where=str(folder), why=f"no {MANIFEST}") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise TouchstoneError("the manifest is broken", where=str(path), why=str(error)) from error
        for name in files:
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise TouchstoneError(f"the manifest names a file outside: {name}", where=str(path))
        return cls(datasets, files)


def pack(datasets: Iterable[DatasetSpec], extra: Iterable[str], folder: Path, say: Say) -> Manifest:
    """Copy the files of *datasets* and the *extra* ones (paths below the mirror) into *folder*.

    All must be here, documents included: a TouchstoneError names every one that is not, before anything is
    copied. What the folder holds already is kept.
    """
    every = list(datasets)
    readers = _whole_readers(every)
    wanted = {name: path for reader in readers.values() for name, path in _files(reader).items()}
    wanted |= {name: _below_a_root(name) for name in extra}
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, tuple[int, str]] = {}
    for name, path in sorted(wanted.items()):
        target = folder / name
        if not target.exists() or target.stat().st_size != path.stat().st_size:
            say(name)
            _copy(path, target)
        files[name] = _size_and_digest(path)
    for reader in readers.values():
        if isinstance(reader, IrdsReader):
            say(f"{reader.source.id} of ir_datasets")
            files |= _export(reader, folder)
    problems = _differences(folder, files)
    if problems:
        raise TouchstoneError("the copy differs", where=str(folder), why="; ".join(problems))
    before = Manifest.read(folder) if (folder / MANIFEST).exists() else Manifest((), {})
    names = tuple(dict.fromkeys([*before.datasets, *readers]))
    manifest = Manifest(names, {**before.files, **files})
    manifest.write(folder)
    return manifest


def unpack(folder: Path, target: Path, say: Say) -> Manifest:
    """Copy a packed folder to *target*, each file compared with its digest; one that differs is an error, and
    is not copied. Equal files that are there already are kept, others with the same name are an error.
    """
    manifest = Manifest.read(folder)
    for name, wanted in manifest.files.items():
        there = target / name
        if there.exists():
            if _size_and_digest(there) != wanted:
                raise TouchstoneError("another file is there already", where=str(there), fix="move it away")
            continue
        say(name)
        source = folder / name
        if not source.exists():
            raise TouchstoneError("a file of the manifest is missing", where=str(source))
        part = there.with_name(f"{there.name}.part")
        _copy(source, part)
        if _size_and_digest(part) != wanted:
            part.unlink()
            raise TouchstoneError("the file differs from its digest in the manifest", where=str(source))
        part.rename(there)
    return manifest


def verify(folder: Path) -> list[str]:
    """What is missing, changed or not listed in a packed folder, a line each."""
    manifest = Manifest.read(folder)
    here = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name != MANIFEST
    }
    extra = [f"{name}: not in the manifest" for name in sorted(here - set(manifest.files))]
    return _differences(folder, manifest.files) + extra


def _differences(folder: Path, files: Mapping[str, tuple[int, str]]) -> list[str]:
    found = []
    for name, wanted in sorted(files.items()):
        path = folder / name
        if not path.exists():
            found.append(f"{name}: missing")
        elif _size_and_digest(path) != wanted:
            found.append(f"{name}: changed")
    return found


def _size_and_digest(path: Path) -> tuple[int, str]:
    return path.stat().st_size, digest_of(path, "sha256").removeprefix("sha256:")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise TouchstoneError("cannot copy the file", where=str(source), why=str(error)) from error


def _whole_readers(datasets: Iterable[DatasetSpec]) -> dict[str, Reader]:
    found: dict[str, Reader] = {}
    missing = []
    for dataset in datasets:
        try:
            found[dataset.name] = open_dataset(dataset)
        except TouchstoneError:
            missing.append(dataset.name)
            continue
        if not is_whole(found[dataset.name]):
            missing.append(f"{dataset.name} (its documents)")
    if missing:
        raise TouchstoneError(
            f"{len(missing)} datasets are not here",
            why=", ".join(missing),
            fix="touchstone data fetch them, or pack --available",
        )
    return found


def _files(reader: Reader) -> dict[str, Path]:
    """The files that a reader reads, by their paths below the root that they lie in."""
    source = reader.source
    if source.format in RANKED:
        qrels = "" if source.gold else source.qrels
        named = [source.corpus, source.queries, qrels, source.excluded]
        paths = [Path(name) for name in named if name]
    elif source.format == "kilt":
        paths = [Path(source.path), Path(source.corpus)]
    elif source.format == "mmlu":
        paths = sorted(path for split in ("dev", "test") for path in Path(source.path).glob(f"{split}/*.csv"))
    elif source.format == "text":
        paths = reader.paths()  # type: ignore[union-attr]
    elif source.format == "hub":
        files = [path for paths in reader.files.values() for path in paths]  # type: ignore[union-attr]
        paths = [*files, marker_of(source)]
    else:
        paths = []  # pydoc has none, ir_datasets is written anew
    return {_name_below_a_root(path): path for path in paths}


def _name_below_a_root(path: Path) -> str:
    for root in roots():
        if path.is_relative_to(root):
            return path.relative_to(root).as_posix()
    raise TouchstoneError(
        "the file lies outside of the mirror",
        where=str(path),
        fix="copy data of your own with its suite file",
    )


def _below_a_root(name: str) -> Path:
    for root in roots():
        if (root / name).exists():
            return root / name
    raise TouchstoneError("the file is not here", where=name)


def _export(reader: IrdsReader, folder: Path) -> dict[str, tuple[int, str]]:
    """The dataset in BEIR layout, where ``open_irds`` looks for it."""
    place = exported_folder(reader.source, folder)
    place.mkdir(parents=True, exist_ok=True)
    with gzip.GzipFile(place / EXPORTED["corpus"], "wb", mtime=0) as out:
        for document in reader.documents():
            entry = {"_id": document.id, "title": document.title, "text": document.text}
            out.write(json.dumps(entry).encode() + b"\n")
    queries = (json.dumps({"_id": name, "text": text}) + "\n" for name, text in reader.queries().items())
    (place / EXPORTED["queries"]).write_text("".join(queries))
    judged = reader.judgements()
    names = judged.doc_ids.to_pylist()
    rows = zip(judged.qrels.rows, judged.qrels.docs, judged.qrels.grades, strict=True)
    (place / EXPORTED["qrels"]).write_text(
        "".join(f"{judged.query_ids[row]} 0 {names[doc]} {grade}\n" for row, doc, grade in rows)
    )
    excluded = (f"{query} {name}\n" for query, names in reader.excluded().items() for name in names)
    (place / EXPORTED["excluded"]).write_text("".join(excluded))
    return {
        path.relative_to(folder).as_posix(): _size_and_digest(path)
        for path in sorted(place.iterdir())
        if path.is_file()
    }
