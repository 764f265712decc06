"""Opening a dataset: its sources are tried in order, and the first one that is here is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.data.beir import BeirReader
from harness.data.dataset import DatasetSpec, Source, mirror, missing_file, placed
from harness.data.kilt import KiltReader
from harness.data.mmlu import MmluReader
from harness.data.pydoc import PydocReader
from harness.data.reader import QuestionReader, RankReader
from harness.data.trec_text import TrecTextReader
from harness.errors import TouchstoneError

Reader = RankReader | QuestionReader
LOCAL: dict[str, Callable[[Source], Reader]] = {
    "beir": BeirReader,
    "kilt": KiltReader,
    "trec": TrecTextReader,
    "mmlu": lambda source: MmluReader(Path(source.path)),
}


def open_dataset(dataset: DatasetSpec) -> Reader:
    """A reader of the first source of *dataset* that is here; a TouchstoneError that says what was tried."""
    tried = []
    for source in dataset.sources:
        if source.format == "pydoc":
            return PydocReader()
        if source.format in LOCAL:
            root = Path("/") if Path(source.path).is_absolute() else mirror()
            here = placed(source, root) if root else None
            missing = missing_file(here) if here else "no local mirror is set"
            if here and not missing:
                return LOCAL[source.format](here)
            tried.append(f"{missing} is not there" if here else missing)
    raise TouchstoneError(
        f"the dataset '{dataset.name}' is not here",
        why="; ".join(dict.fromkeys(tried)),
        fix="set TOUCHSTONE_DATA to a folder that holds it",
    )
