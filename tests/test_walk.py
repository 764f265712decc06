"""Finding records: all of them, in the order of their paths, and none that is kept apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import TouchstoneError
from harness.record import RECORD_FILE
from harness.store import Store
from harness.walk import parts_of, records_below


def found_below(root: Path) -> list[str]:
    return [path for part in parts_of(root) for path in records_below(part)]


def test_the_parts_of_a_store_hold_every_record(tmp_path: Path) -> None:
    runs = ("short/bm25/1", "beir/scifact/bm25/1", "beir/scifact/bm25/2", "mmlu/a/b/lm/3")
    for run in (*runs, "_reported/x/y/bm25/1", ".partial/1", "beir/scifact/_reported/bm25/1"):
        (tmp_path / run).mkdir(parents=True)
        (tmp_path / run / RECORD_FILE).write_text("{}")
    (tmp_path / "beir" / "nfcorpus" / "bm25" / "unfinished").mkdir(parents=True)
    (tmp_path / "index.parquet").write_text("a file")
    wanted = sorted(f"{tmp_path}/{run}/{RECORD_FILE}" for run in runs)
    assert sorted(found_below(tmp_path)) == wanted
    assert list(map(str, Store(tmp_path).record_files())) == found_below(tmp_path)
    assert found_below(tmp_path) == sorted(wanted, key=lambda path: path.split("/"))


@pytest.mark.parametrize("root", ["beir", "beir/scifact", "beir/scifact/bm25", "beir/scifact/bm25/1"])
def test_records_are_found_from_wherever_one_looks(tmp_path: Path, root: str) -> None:
    folder = tmp_path / "beir" / "scifact" / "bm25" / "1"
    folder.mkdir(parents=True)
    (folder / RECORD_FILE).write_text("{}")
    assert found_below(tmp_path / root) == [f"{folder}/{RECORD_FILE}"]


def test_no_store_has_no_parts(tmp_path: Path) -> None:
    assert parts_of(tmp_path / "none") == []


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TouchstoneError, match="cannot look for results"):
        list(records_below(str(tmp_path / "gone")))
