"""A packed folder: complete, checked, runnable without the mirror."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.assets import Assets
from harness.catalog import Catalog
from harness.data.dataset import Source
from harness.data.hub import HubReader
from harness.data.pack import MANIFEST, pack, unpack, verify
from harness.data.sources import fetch_dataset, open_dataset
from harness.errors import TouchstoneError
from harness.tasks.load import load_task
from tests.data.server import Served
from tests.data.test_download import quiet
from tests.data.test_sources import JSONL, TASK, things


@pytest.fixture
def packed(toy_places: Path) -> Path:
    """The toy datasets, packed."""
    catalog = Catalog()
    datasets = [catalog.dataset(name) for name in ("toy", "quiz", "quest", "pydoc")]
    folder = toy_places / "packed"
    pack(datasets, [], folder, quiet)
    return folder


@pytest.mark.parametrize("how", ["as mirror", "unpacked"])
def test_tasks_from_a_packed_folder_are_the_same(
    packed: Path, toy_places: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    catalog = Catalog()
    names = ("toy", "quiz", "quest", "quest-retrieval")
    before = {name: _digest(catalog, name) for name in names}
    (toy_places / "mirror").rename(toy_places / "gone")
    monkeypatch.setenv("TOUCHSTONE_CACHE", str(toy_places / "cache2"))
    if how == "as mirror":
        monkeypatch.setenv("TOUCHSTONE_DATA", str(packed))
    else:
        monkeypatch.delenv("TOUCHSTONE_DATA")
        unpack(packed, toy_places / "cache2" / "data", quiet)
        unpack(packed, toy_places / "cache2" / "data", quiet)  # again: nothing to do
    assert {name: _digest(catalog, name) for name in names} == before


def _digest(catalog: Catalog, name: str) -> str:
    task = catalog.task(name)
    return load_task(task, catalog.dataset(task.dataset), Assets(Path("assets-of-test"))).data_digest


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_packing_again_changes_nothing_and_another_suite_is_added(packed: Path) -> None:
    before = (packed / MANIFEST).read_bytes()
    said: list[str] = []
    pack([Catalog().dataset("toy")], [], packed, said.append)
    assert (packed / MANIFEST).read_bytes() == before
    assert said == []
    assert verify(packed) == []


def test_verify_names_what_is_missing_changed_and_new(packed: Path) -> None:
    (packed / "toy" / "queries.jsonl").unlink()
    with (packed / "toy" / "corpus.jsonl").open("a") as out:
        out.write("\n")
    (packed / "toy" / "notes").write_text("mine")
    assert verify(packed) == [
        "toy/corpus.jsonl: changed",
        "toy/queries.jsonl: missing",
        "toy/notes: not in the manifest",
    ]


def test_unpacking_refuses_a_changed_file_and_overwrites_nothing(packed: Path, tmp_path: Path) -> None:
    path = packed / "toy" / "queries.jsonl"
    content = path.read_bytes()
    path.write_bytes(content.replace(b"river", b"ocean"))
    with pytest.raises(TouchstoneError, match="differs from its digest"):
        unpack(packed, tmp_path / "new", quiet)
    assert not list((tmp_path / "new" / "toy").glob("queries*"))
    path.write_bytes(content)
    (tmp_path / "new" / "toy" / "queries.jsonl").write_text("mine")
    with pytest.raises(TouchstoneError, match="another file is there"):
        unpack(packed, tmp_path / "new", quiet)
    assert (tmp_path / "new" / "toy" / "queries.jsonl").read_text() == "mine"


@pytest.mark.parametrize("name", ["../outside", "/etc/outside", "a/../../outside"])
def test_a_manifest_cannot_name_files_outside(packed: Path, name: str) -> None:
    body = json.loads((packed / MANIFEST).read_text())
    body["files"][name] = [1, "0" * 64]
    (packed / MANIFEST).write_text(json.dumps(body))
    with pytest.raises(TouchstoneError, match="outside"):
        unpack(packed, packed.parent / "new", quiet)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 1, "files": {"a": 1}, "datasets": []}'])
def test_a_broken_manifest_is_an_error(packed: Path, text: str) -> None:
    (packed / MANIFEST).write_text(text)
    with pytest.raises(TouchstoneError, match="broken"):
        verify(packed)
    (packed / MANIFEST).unlink()
    with pytest.raises(TouchstoneError, match="not a packed folder"):
        verify(packed)


def test_all_that_is_missing_is_named_before_anything_is_copied(toy_places: Path) -> None:
    (toy_places / "mirror" / "toy" / "corpus.jsonl").unlink()
    (toy_places / "mirror" / "quest" / "quest.jsonl").unlink()
    catalog = Catalog()
    datasets = [catalog.dataset(name) for name in ("toy", "quiz", "quest")]
    with pytest.raises(TouchstoneError, match="2 datasets") as caught:
        pack(datasets, [], toy_places / "packed", quiet)
    assert caught.value.why == "toy (its documents), quest"
    assert not (toy_places / "packed").exists()


def test_a_hub_dataset_is_packed_and_read_elsewhere(
    server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.repository("someone/things", JSONL)
    fetch_dataset(things(), quiet)
    first = load_task(TASK, things(), Assets(tmp_path / "a")).data_digest
    pack([things()], [], tmp_path / "packed", quiet)
    monkeypatch.setenv("TOUCHSTONE_CACHE", str(tmp_path / "elsewhere"))
    with pytest.raises(TouchstoneError, match="not here"):
        open_dataset(things())
    monkeypatch.setenv("TOUCHSTONE_DATA", str(tmp_path / "packed"))
    assert isinstance(open_dataset(things()), HubReader)
    assert load_task(TASK, things(), Assets(tmp_path / "b")).data_digest == first


def test_an_ir_datasets_export_is_read_in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """vaswani, with the library's reader replaced by one over a BEIR folder: no download."""
    from harness.data import pack as module
    from harness.data.irds import IrdsReader, open_irds

    source = Source("ir_datasets", id="a/b/test")
    reader = IrdsReader(source)
    folder = tmp_path / "mirror" / "things"
    (folder / "qrels").mkdir(parents=True)
    for name, content in JSONL.items():
        (folder / name).write_bytes(content)
    monkeypatch.setenv("TOUCHSTONE_DATA", str(tmp_path / "mirror"))
    local = open_dataset(things(Source("beir", path="things")))
    for name in ("documents", "queries", "judgements"):
        monkeypatch.setattr(IrdsReader, name, lambda self, name=name: getattr(local, name)())
    monkeypatch.setattr(IrdsReader, "excluded", lambda self: {"q0": ("d3", "d4")})
    monkeypatch.setattr(module, "open_dataset", lambda dataset: reader)
    pack([things(source)], [], tmp_path / "packed", quiet)
    assert verify(tmp_path / "packed") == []
    monkeypatch.undo()
    monkeypatch.setenv("TOUCHSTONE_DATA", str(tmp_path / "packed"))
    found = open_irds(source)
    assert not isinstance(found, str | IrdsReader)
    assert found.excluded() == {"q0": ("d3", "d4")}
    assert list(found.queries()) == ["q0", "q1", "q2"]
    assert len(list(found.documents())) == 40
    assert found.judgements().qrels.grades.tolist() == [1, 2, 1]
