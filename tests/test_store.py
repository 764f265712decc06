"""The store: whole or not at all, verified, superseded, found, and records of other schemas."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from harness import record as record_module
from harness.errors import TouchstoneError
from harness.execute import Session
from harness.record import Latency, read_record, to_text
from harness.store import Store, slug
from tests.test_execute import run

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("task", ["toy", "quiz"])
def test_answers_come_back_as_arrays(session: Session, task: str) -> None:
    record = run(session, "random", task)
    loaded = session.task(record.run.task)
    stored = session.store.answers(record, loaded)
    again = loaded.score(stored)
    frame = session.store.items(record)
    assert list(frame["item"]) == list(loaded.item_ids)
    for measure in again.measures:
        assert np.array_equal(again.column(measure), frame[measure].to_numpy())


@pytest.mark.parametrize(
    ("method", "task", "file"), [("bm25", "toy", "run.trec.zst"), ("random", "quiz", "answers.parquet")]
)
def test_verify_sees_a_changed_file(session: Session, method: str, task: str, file: str) -> None:
    record = run(session, method, task)
    loaded = session.task(record.run.task)
    assert session.store.verify(record, loaded) == []
    path = session.store.folder(record) / file
    path.write_bytes(path.read_bytes() + b" ")
    assert session.store.verify(record, loaded) == [f"{file} was changed"]
    path.unlink()
    assert session.store.verify(record, loaded) == [f"{file} is missing"]


def test_verify_sees_a_forged_score(session: Session) -> None:
    record = run(session, "bm25")
    path = session.store.folder(record) / "record.json"
    body = json.loads(path.read_text())
    body["scores"]["nDCG@10"]["value"] = 0.9999
    path.write_text(json.dumps(body))
    problems = session.store.verify(session.store.get(record.id), session.task(record.run.task))
    assert problems == ["nDCG@10: the answers do not give 0.999900"]


def test_a_failed_record_is_replaced_by_a_good_one(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.bm25 import Bm25Index

    with monkeypatch.context() as patch:
        patch.setattr(Bm25Index, "search", lambda *_a: 1 / 0)
        with pytest.raises(TouchstoneError, match="ZeroDivisionError"):
            run(session, "bm25")
    (failed,) = session.store.find()
    record = run(session, "bm25")
    assert record.id == failed.id
    assert [r.status for r in session.store.find()] == ["done"]


def test_a_full_disk_leaves_the_old_and_keeps_the_answers(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(session, "random")

    def full(*_args: object, **_more: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("harness.store._write_items", full)
        with pytest.raises(TouchstoneError, match="No space left on device"):
            run(session, "bm25")
    assert [r.id for r in session.store.find() if r.status == "done"] == [first.id]
    assert not list((session.store.root / ".partial").glob("*-*/"))
    record = run(session, "bm25")
    assert record.cost.segments == 1
    assert session.store.verify(record, session.task(record.run.task)) == []


def test_find_and_index(session: Session) -> None:
    for method in ("bm25", "oracle", "bm25(k1=1.2)"):
        run(session, method)
    assert {r.run.method.name for r in session.store.find("toy")} == {"bm25", "oracle", "bm25(k1=1.2)"}
    assert len(session.store.find("toy", "bm25")) == 1
    frame = session.store.index()
    assert set(frame["method"]) == {"bm25", "oracle", "bm25(k1=1.2)"}
    assert (session.store.root / "index.parquet").exists()
    shutil.rmtree(session.store.root / "toy" / "oracle")
    assert len(session.store.index()) == 2


def test_prefixes_of_ids(session: Session) -> None:
    record = run(session, "oracle")
    assert session.store.get(record.id[:6]) == record
    with pytest.raises(TouchstoneError, match="unknown run 'zzzz'"):
        session.store.get("zzzz")
    run(session, "random")
    with pytest.raises(TouchstoneError, match="begins 2 run ids"):
        session.store.get("")


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("bm25(k1=1.2,b=0.75)", "bm25-k1-1.2-b-0.75"),
        ("../../etc", "etc"),
        ("<script>", "script"),
        ("///", "unnamed"),
        ("a b", "a-b"),
    ],
)
def test_no_name_leaves_the_store(name: str, folder: str) -> None:
    assert slug(name) == folder


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("record-v*.json")), ids=lambda path: path.stem)
def test_golden_records_still_load(path: Path) -> None:
    found = read_record(path)
    assert found.status == "done"
    assert found.main is not None and 0 <= found.main.value <= 1


def test_a_record_of_schema_1_does_not_know_what_schema_2_measures() -> None:
    old, new = (read_record(GOLDEN / f"record-v{version}.json") for version in (1, 2))
    assert (old.cost.peak_device_bytes, old.cost.joules, old.latency) == (None, None, None)
    assert (old.cost.seconds, old.cost.peak_memory_bytes, old.cost.segments) == (0.0173, 343457792, 1)
    assert new.cost.joules == {"cpu": 12.5}
    assert new.latency is not None and new.latency.count == 4 and new.latency.excludes == ("bm25", "random")


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("record-v*.json")), ids=lambda path: path.stem)
def test_a_migrated_record_is_written_in_todays_schema(path: Path, tmp_path: Path) -> None:
    found = read_record(path)
    (tmp_path / "record.json").write_text(to_text(found))
    assert json.loads(to_text(found))["schema"] == record_module.SCHEMA
    assert read_record(tmp_path / "record.json") == found


def test_a_latency_is_added_to_a_stored_record(session: Session) -> None:
    record = run(session, "bm25")
    measured = Latency(0.001, 0.002, 0.003, 5, 1, {"cpu": "x"})
    added = session.store.add_latency(record, measured)
    assert session.store.get(record.id) == added
    assert added.latency == measured and added.scores == record.scores
    assert session.store.verify(added, session.task(record.run.task)) == []
    assert not list(session.store.folder(record).glob(".*"))


def test_a_golden_record_of_each_schema_is_kept() -> None:
    assert {path.stem for path in GOLDEN.glob("record-v*.json")} == {
        f"record-v{version}" for version in range(1, record_module.SCHEMA + 1)
    }


def test_migrations_run_in_order(monkeypatch: pytest.MonkeyPatch, session: Session, tmp_path: Path) -> None:
    record = run(session, "oracle")
    old = json.loads(to_text(record))
    old["schema"], old["remarks"] = -1, old.pop("notes")
    monkeypatch.setitem(record_module.MIGRATIONS, -1, lambda body: {"hints": body.pop("remarks"), **body})
    monkeypatch.setitem(record_module.MIGRATIONS, 0, lambda body: {"notes": body.pop("hints"), **body})
    path = tmp_path / "record.json"
    path.write_text(json.dumps(old))
    assert read_record(path) == record


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "cannot read the record"),
        ("[]", "not a record"),
        ('{"schema": 99}', "the record has schema 99 (this version knows 2); upgrade touchstone"),
        ('{"schema": 2, "id": "x", "status": "maybe"}', "unknown value 'maybe'"),
    ],
)
def test_bad_records(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(TouchstoneError) as caught:
        read_record(path)
    assert says in caught.value.line


def test_an_empty_store_is_empty(tmp_path: Path) -> None:
    assert Store(tmp_path / "none").find() == []
