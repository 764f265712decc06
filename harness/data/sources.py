"""Opening a dataset from the first of its sources that is here, and fetching it from the first that answers.

Opening never uses the network; only ``fetch_dataset`` does.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from harness.data.beir import BeirReader
from harness.data.dataset import FILES, DatasetSpec, Source, fetched_root, needed_files, placed, roots
from harness.data.download import Remote, Say, digest_of, download, offline
from harness.data.hub import fetch_hub, open_hub
from harness.data.irds import fetch_irds, open_irds
from harness.data.kilt import KiltReader
from harness.data.mmlu import MmluReader
from harness.data.pydoc import PydocReader
from harness.data.reader import QuestionReader, RankReader, TextsReader
from harness.data.text import TextReader
from harness.data.trec_text import TrecTextReader
from harness.errors import TouchstoneError

Reader = RankReader | QuestionReader | TextsReader
LOCAL: dict[str, Callable[[Source], Reader]] = {
    "beir": BeirReader,
    "kilt": KiltReader,
    "trec": TrecTextReader,
    "mmlu": MmluReader,
    "text": TextReader,
}


def open_dataset(dataset: DatasetSpec) -> Reader:
    """A reader of the first source of *dataset* that is here with its documents, else of the first one that
    has queries and judgements; a TouchstoneError that says what was tried.
    """
    tried: list[str] = []
    without_corpus = None
    for source in dataset.sources:
        for found in _readers(source):
            if isinstance(found, str):
                tried.append(found)
            elif is_whole(found):
                return found
            else:
                without_corpus = without_corpus or found
    if without_corpus is not None:
        return without_corpus
    downloadable = any(source.remote for source in dataset.sources)
    where = f"from {dataset.url}, " if dataset.url else ""
    raise TouchstoneError(
        f"the dataset '{dataset.name}' is not here",
        why="; ".join(dict.fromkeys(tried)),
        fix=f"touchstone data fetch {dataset.name}, or set TOUCHSTONE_DATA to a folder that holds it"
        if downloadable
        else f"it cannot be downloaded freely ({dataset.licence}): get it {where}"
        "and set TOUCHSTONE_DATA to a folder that holds it",
    )


def presence(dataset: DatasetSpec) -> str:
    """``yes``, ``no documents`` (runs made elsewhere can be scored) or ``no``."""
    try:
        return "yes" if is_whole(open_dataset(dataset)) else "no documents"
    except TouchstoneError:
        return "no"


def is_whole(reader: Reader) -> bool:
    """Whether the documents are here too; questions need none."""
    return not hasattr(reader, "has_corpus") or bool(cast(Any, reader).has_corpus())


def fetch_dataset(dataset: DatasetSpec, say: Say) -> Source:
    """Download *dataset* from the first source that gives all of it, documents included; returns the source.

    A source of which any part fails is given up for the next. A TouchstoneError says why each one failed.
    """
    failed = []
    if offline():
        raise TouchstoneError(f"the dataset '{dataset.name}' is not fetched", why="offline")
    for source in dataset.sources:
        if not source.remote:
            continue
        try:
            _fetch(source, say)
            _check_whole(source)
            return source
        except TouchstoneError as error:
            say(f"  {source.remote}: {error.line}")
            failed.append(f"{source.remote}: {error.line}")
    if not failed:
        raise TouchstoneError(
            f"the dataset '{dataset.name}' cannot be downloaded",
            why=dataset.licence,
            fix=f"get it from {dataset.url} and set TOUCHSTONE_DATA to a folder that holds it",
        )
    raise TouchstoneError(f"the dataset '{dataset.name}' could not be fetched", why="; ".join(failed))


def _check_whole(source: Source) -> None:
    """Queries and judgements can be read, and the documents are there."""
    whole = [found for found in _readers(source) if not isinstance(found, str) and is_whole(found)]
    if not whole:
        raise TouchstoneError("what came is not complete")
    if hasattr(whole[0], "judgements"):
        reader = cast(RankReader, whole[0])
        reader.queries(), reader.judgements()


def wrong_digests(dataset: DatasetSpec) -> list[str]:
    """A line for each file of the source that is read whose known digest differs."""
    source = open_dataset(dataset).source
    files = {name: Path(getattr(source, name)) for name in FILES if name in source.hashes}
    found = {name: digest_of(path, source.hashes[name].partition(":")[0]) for name, path in files.items()}
    return [
        f"{dataset.name}: {files[name]} is {value}, not {source.hashes[name]}"
        for name, value in found.items()
        if value != source.hashes[name]
    ]


def _fetch(source: Source, say: Say) -> None:
    if source.format == "hub":
        fetch_hub(source, say)
    elif source.format == "ir_datasets":
        fetch_irds(source, say)
    else:
        for name in (name for name in FILES if name in source.urls):
            target = fetched_root() / getattr(source, name)
            download(Remote(source.urls[name], source.hashes.get(name, "")), target, say)


def _readers(source: Source) -> list[Reader | str]:
    """A reader for each place that holds *source*, or what is missing there."""
    if source.format == "pydoc":
        return [PydocReader()]
    if source.format == "hub":
        return [open_hub(source)]
    if source.format == "ir_datasets":
        return [open_irds(source)]
    absolute = any(Path(getattr(source, name)).is_absolute() for name in FILES)
    return [_local(placed(source, root)) for root in ([Path("/")] if absolute else roots())]


def _local(source: Source) -> Reader | str:
    missing = [path for path in needed_files(source) if not path.exists()]
    return f"{missing[0]} is not there" if missing else LOCAL[source.format](source)
