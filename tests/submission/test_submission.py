"""Submissions: an honest one is verified; each kind of hostile one is refused for what it is."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import stat
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from click.testing import CliRunner

from harness.cli import group
from harness.errors import ExitCode, TouchstoneError
from harness.execute import Session
from harness.store import Store
from harness.submission import verify as verify_module
from harness.submission.archive import MANIFEST, Limits, pack
from harness.submission.verify import SpotCheck, verify_archive, verify_run
from tests.test_execute import quiet, run

Files = dict[str, bytes]


@pytest.fixture
def theirs(session: Session, tmp_path: Path) -> Session:
    """Somebody else's session: own results and assets."""
    return Session(
        session.catalog, Store(tmp_path / "theirs"), type(session.assets)(tmp_path / "their-cache")
    )


@pytest.fixture
def honest(theirs: Session, tmp_path: Path) -> Path:
    return pack(theirs.store, run(theirs, "bm25"), tmp_path / "run.zip")


def contents(path: Path) -> Files:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(path: Path, files: Files, honest_manifest: bool = True, compressed: bool = False) -> Path:
    """An archive of *files*, with a manifest that fits them unless they bring their own."""
    if honest_manifest:
        body = json.loads(files[MANIFEST])
        held = {name: data for name, data in files.items() if name != MANIFEST}
        body["sha256"] = {name: hashlib.sha256(data).hexdigest() for name, data in held.items()}
        body["bytes"] = {name: len(data) for name, data in held.items()}
        files = {**files, MANIFEST: json.dumps(body).encode()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def refusal(path: Path, session: Session, limits: Limits | None = None) -> TouchstoneError:
    """The error of verifying *path*; nothing may be stored."""
    with pytest.raises(TouchstoneError) as caught:
        verify_archive(path, session, SpotCheck(3), quiet, limits)
    assert session.store.find() == []
    return caught.value


def with_record(files: Files, change: Callable[[dict[str, Any]], object]) -> Files:
    body = json.loads(files["record.json"])
    change(body)
    return {**files, "record.json": json.dumps(body).encode()}


def test_an_honest_submission_is_verified(session: Session, theirs: Session, honest: Path) -> None:
    found = verify_archive(honest, session, SpotCheck(4), quiet)
    assert (found.run_items, found.agreeing, found.overlap) == (4, 4, 1.0)
    (stored,) = session.store.find()
    (mine,) = theirs.store.find()
    assert stored.origin == "verified" and stored.id == mine.id and stored.scores == mine.scores
    said = stored.provenance["verified"]
    assert isinstance(said, dict) and said["run_items"] == 4 and said["rescored_items"] == 6
    assert "submitted; its costs are its maker's" in stored.notes
    assert session.store.verify(stored, session.task(stored.run.task)) == []


@pytest.mark.parametrize(("method", "task"), [("random", "quiz"), ("oracle", "quiz"), ("random", "toy")])
def test_other_answers_are_verified_too(
    session: Session, theirs: Session, tmp_path: Path, method: str, task: str
) -> None:
    path = pack(theirs.store, run(theirs, method, task), tmp_path / "run.zip")
    assert verify_archive(path, session, SpotCheck(3), quiet).overlap == 1.0


def test_the_same_run_gives_the_same_archive(theirs: Session, honest: Path, tmp_path: Path) -> None:
    again = pack(theirs.store, theirs.store.find()[0], tmp_path / "again.zip")
    assert again.read_bytes() == honest.read_bytes()


def test_without_a_run_nothing_is_marked(session: Session, honest: Path) -> None:
    found = verify_archive(honest, session, SpotCheck(0), quiet)
    assert found.run_items == 0 and session.store.find() == []


def hostile(files: Files) -> Iterator[tuple[str, Files, bool]]:
    """(what the refusal says, files, whether the manifest is made to fit)."""
    items = files["items.parquet"]
    yield "a path leads out of the archive", {**files, "../../evil.py": b"x"}, True
    yield "a path leads out of the archive", {**files, "/etc/cron.d/evil": b"x"}, True
    yield "a path leads out of the archive", {**files, "C:\\evil.exe": b"x"}, True
    yield "a path leads out of the archive", {**files, "..\\evil": b"x"}, True
    yield "a file that no submission has", {**files, "model.pkl": pickle.dumps([1])}, True
    yield "a file that no submission has", {**files, "sub/record.json": b"{}"}, True
    yield "a file is missing", {name: files[name] for name in files if name != "run.trec.zst"}, True
    yield "a hash does not match", {**files, "items.parquet": items + b"x"}, False
    yield "items.parquet is a pickle", {**files, "items.parquet": pickle.dumps({"a": 1})}, True
    yield "run.trec.zst is a pickle", {**files, "run.trec.zst": pickle.dumps({"a": 1})}, True
    yield "run.trec.zst is another kind of file", {**files, "run.trec.zst": b"q0 Q0 d 1 1 t\n"}, True
    yield "items.parquet is no sound Parquet", {**files, "items.parquet": items[: len(items) // 2]}, True
    yield "run.trec.zst is not sound zstd", {**files, "run.trec.zst": files["run.trec.zst"][:40]}, True
    yield "no sound JSON", {**files, "record.json": b"[" * 200_000}, True
    yield "no sound JSON", {**files, "record.json": b'{"schema": 2, "schema": 1}'}, True
    nan = files["record.json"].replace(b'"seconds": ', b'"seconds": NaN, "x": ', 1)
    yield "it holds NaN", {**files, "record.json": nan}, True
    yield "the record has no schema", {**files, "record.json": b"[]"}, True
    frame = pd.read_parquet(io.BytesIO(items))
    table = pa.Table.from_pandas(frame.assign(evil=[b"x"] * len(frame)), preserve_index=False)
    sink = io.BytesIO()
    pa.parquet.write_table(table, sink)
    yield "items.parquet has a column of another type", {**files, "items.parquet": sink.getvalue()}, True


def test_hostile_archives_are_refused(session: Session, honest: Path, tmp_path: Path) -> None:
    for message, files, fits in hostile(contents(honest)):
        error = refusal(packed(tmp_path / "bad.zip", files, fits), session)
        assert message in error.line, (message, error.line)
        assert error.exit_code is ExitCode.USAGE
    assert not (tmp_path.parent / "evil.py").exists()


RECORDS: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
    ("a name holds what no name may", lambda r: r["run"]["method"].update(name="<script>alert(1)</script>")),
    ("a name holds what no name may", lambda r: r["run"]["method"].update(name="../../up")),
    ("a name holds what no name may", lambda r: r["run"]["method"].update(name="x" * 300)),
    ("control characters", lambda r: r["run"]["method"].update(name="bm25\u202e")),
    ("control characters", lambda r: r["provenance"].update(command="\x1b[2J")),
    ("a text of the record is too long", lambda r: r.update(notes=["x" * 5000])),
    ("the run's id is none", lambda r: r.update(id="../../../tmp/evil")),
    ("the run's limit is negative", lambda r: r["run"].update(limit=-1)),
    ("the task is not one of ours", lambda r: r["run"]["task"].update(name="made-up")),
    ("the task is defined in another way", lambda r: r["run"]["task"].update(depth=3)),
    ("the method is not one of our adapters", lambda r: r["run"]["method"].update(adapter="os:system")),
    ("does not fit its schema", lambda r: r.update(evil=1)),
    ("the run failed", lambda r: r.update(status="failed")),
    ("it has none of the task's measures", lambda r: r.update(scores={})),
]


@pytest.mark.parametrize(("message", "change"), RECORDS)
def test_hostile_records_are_refused(
    session: Session, honest: Path, tmp_path: Path, message: str, change: Callable[[dict[str, Any]], object]
) -> None:
    files = with_record(contents(honest), change)
    body = json.loads(files[MANIFEST])
    body["run"] = json.loads(files["record.json"])["id"]
    files[MANIFEST] = json.dumps(body).encode()
    assert message in refusal(packed(tmp_path / "bad.zip", files), session).line


FORGED: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
    ("AP is claimed as", lambda r: r["scores"]["AP"].update(value=1.5)),
    ("nDCG@10 is claimed as", lambda r: r["scores"]["nDCG@10"].update(n=600)),
    ("the answers are over other data", lambda r: r["provenance"].update(data="0" * 32)),
]


@pytest.mark.parametrize(("message", "change"), FORGED)
def test_forged_scores_are_refused(
    session: Session, honest: Path, tmp_path: Path, message: str, change: Callable[[dict[str, Any]], object]
) -> None:
    error = refusal(packed(tmp_path / "bad.zip", with_record(contents(honest), change)), session)
    assert message in error.line and error.exit_code is ExitCode.WORSE


def test_forged_items_are_refused(session: Session, honest: Path, tmp_path: Path) -> None:
    files = contents(honest)
    for message, change in (
        ("the per-item scores of AP are not", lambda f: f.assign(AP=1.5)),
        ("the per-item scores of AP are not", lambda f: f.assign(AP=np.nan)),
        ("the per-item scores are of other items", lambda f: f.iloc[::-1]),
    ):
        sink = io.BytesIO()
        change(pd.read_parquet(io.BytesIO(files["items.parquet"]))).to_parquet(sink, index=False)
        error = refusal(packed(tmp_path / "bad.zip", {**files, "items.parquet": sink.getvalue()}), session)
        assert message in error.line and error.exit_code is ExitCode.WORSE


def test_answers_to_other_items_are_refused(session: Session, theirs: Session, tmp_path: Path) -> None:
    files = contents(pack(theirs.store, run(theirs, "random", "quiz"), tmp_path / "quiz.zip"))
    frame = pd.read_parquet(io.BytesIO(files["answers.parquet"]))
    for changed in (
        frame.assign(item="sums/99"),
        frame[["item"]],
        frame.assign(item=None).astype({"item": str}),
    ):
        sink = io.BytesIO()
        changed.to_parquet(sink, index=False)
        error = refusal(packed(tmp_path / "bad.zip", {**files, "answers.parquet": sink.getvalue()}), session)
        assert "the answers are not to the task's items" in error.line and error.exit_code is ExitCode.WORSE


def test_answers_that_the_method_does_not_give_are_caught_by_running(
    session: Session, theirs: Session, tmp_path: Path
) -> None:
    """Answers, items and scores of the oracle fit one another, and are sent as those of *random*."""
    path = pack(theirs.store, run(theirs, "oracle"), tmp_path / "run.zip")
    files = with_record(contents(path), lambda r: r["run"]["method"].update(name="random", adapter="random"))
    error = refusal(packed(tmp_path / "bad.zip", files), session)
    assert "running 3 items again gives other scores for" in error.line
    assert error.exit_code is ExitCode.WORSE


def test_what_is_not_verified_is_not_kept(
    session: Session, theirs: Session, honest: Path, tmp_path: Path
) -> None:
    def more(body: dict[str, Any]) -> None:
        body["scores"]["Beauty"] = {"value": 1.0, "low": 1.0, "high": 1.0, "n": 6}
        body["scores"]["AP"] |= {"low": 0.3, "high": 0.4}
        body["origin"] = "measured"

    files = with_record(contents(honest), more)
    found = verify_archive(packed(tmp_path / "more.zip", files), session, SpotCheck(2), quiet)
    assert found.record.scores == theirs.store.find()[0].scores
    assert found.record.origin == "verified"


def test_bombs_are_refused(session: Session, honest: Path, tmp_path: Path) -> None:
    files = contents(honest)
    zeros = packed(tmp_path / "zeros.zip", {**files, "items.parquet": bytes(50_000_000)}, compressed=True)
    assert "a file expands too much" in refusal(zeros, session).line
    small = Limits(archive=1000)
    assert "the archive is too large" in refusal(honest, session, small).line
    assert "a file is too large" in refusal(honest, session, Limits(file=100)).line
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as out:
        out.write(b"q0 Q0 d0-0 1 1 t\n" * 3_000_000)
    bomb = packed(tmp_path / "bomb.zip", {**files, "run.trec.zst": sink.getvalue().to_pybytes()})
    assert "run.trec.zst expands too much" in refusal(bomb, session).line
    assert "items.parquet expands too much" in refusal(honest, session, Limits(expanded=10)).line


def test_strange_entries_are_refused(session: Session, honest: Path, tmp_path: Path) -> None:
    files = contents(honest)
    for message, mode in (("a symbolic link", stat.S_IFLNK), ("not a plain file", stat.S_IFIFO)):
        path = tmp_path / "odd.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in files.items():
                info = zipfile.ZipInfo(name)
                info.external_attr = ((mode if name == "record.json" else stat.S_IFREG) | 0o777) << 16
                archive.writestr(info, b"/etc/passwd" if name == "record.json" else data)
        assert message in refusal(path, session).line
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "w") as archive:
        for name, data in [*files.items(), ("record.json", b"{}")]:
            archive.writestr(name, data)
    assert "a name comes twice" in refusal(path, session).line
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(100_000 // 1000):
            archive.writestr(f"{number}.json", b"")
    assert "a file that no submission has" in refusal(path, session).line
    path.write_bytes(honest.read_bytes()[:200])
    assert "not a sound zip archive" in refusal(path, session).line
    path.write_bytes(pickle.dumps("x"))
    assert "not a sound zip archive" in refusal(path, session).line


def test_a_stored_run_is_verified_and_marked(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    record = run(session, "bm25")
    found = verify_run(record.id[:6], session, SpotCheck(5), quiet)
    stored = session.store.get(record.id)
    assert (
        stored.origin == "measured" and stored.provenance["verified"] == found.record.provenance["verified"]
    )
    folder = session.store.folder(record)
    (folder / "items.parquet").write_bytes(b"PAR1")
    with pytest.raises(TouchstoneError) as caught:
        verify_run(record.id, session, SpotCheck(5), quiet)
    assert "items.parquet was changed" in caught.value.line and caught.value.exit_code is ExitCode.WORSE
    assert verify_module.SpotCheck().sample == 20


def test_the_commands(session: Session, theirs: Session, tmp_path: Path) -> None:
    record = run(theirs, "bm25")

    def touchstone(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(group, list(words), standalone_mode=False)
        if done.exception:
            raise done.exception
        return done.return_value or 0, done.output

    out = str(tmp_path / "mine.zip")
    assert "bm25 on toy" in touchstone("submit", record.id, out, "--results", str(theirs.store.root))[1]
    mine = str(session.store.root)
    code, said = touchstone("verify", out, "--sample", "0", "--results", mine)
    assert code == 3 and "it is not marked" in said
    code, said = touchstone("verify", out, "--results", mine)
    assert code == 0 and "verified; 6 of 6 items run again agree, 100% of their answers are equal" in said
    assert touchstone("verify", record.id, "--results", mine)[0] == 0


def test_what_cannot_be_submitted(theirs: Session, tmp_path: Path) -> None:
    with pytest.raises(TouchstoneError):
        run(theirs, "tests.toys:Broken")
    (failed,) = theirs.store.find()
    with pytest.raises(TouchstoneError, match="nothing to submit"):
        pack(theirs.store, failed, tmp_path / "x.zip")
