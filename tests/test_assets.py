"""Assets: made once, resumed after a crash, waited for, and never half there."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.assets import Asset, Assets
from harness.errors import TouchstoneError
from harness.modes import Mode, in_mode, mode


def _slow_make(folder: Path) -> None:
    (folder / "started").touch()
    time.sleep(0.4)
    count = folder / "made"
    count.write_text(str(int(count.read_text()) + 1 if count.exists() else 1))


def _want(root: Path) -> None:
    Assets(root).get_or_make("thing", {"a": 1}, _slow_make)


def _hang(root: Path) -> None:
    def make(folder: Path) -> None:
        (folder / "part-0").write_text("first half")
        time.sleep(60)

    Assets(root).get_or_make("thing", {"a": 1}, make)


def test_made_once_then_found(tmp_path: Path) -> None:
    assets = Assets(tmp_path)
    first = assets.get_or_make("thing", {"a": 1}, lambda folder: (folder / "x").write_text("hello") and 2.5)
    again = assets.get_or_make("thing", {"a": 1}, lambda _folder: pytest.fail("made twice"))
    assert (first.made_now, again.made_now) == (True, False)
    assert again.seconds == 2.5
    assert (again.path / "x").read_text() == "hello"
    assert again.bytes > 5


def test_another_key_is_another_asset(tmp_path: Path) -> None:
    assets = Assets(tmp_path)
    paths = {
        assets.get_or_make("thing", key, lambda _f: None).path
        for key in ({"a": 1}, {"a": 2}, {"a": 1, "b": None})
    }
    assert len(paths) == 3


def test_a_failed_maker_leaves_nothing_to_be_found_and_its_work_to_go_on_from(tmp_path: Path) -> None:
    assets = Assets(tmp_path)

    def fails(folder: Path) -> None:
        (folder / "part-0").write_text("kept")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        assets.get_or_make("thing", {"a": 1}, fails)
    seen: list[str] = []
    asset = assets.get_or_make("thing", {"a": 1}, lambda folder: seen.append((folder / "part-0").read_text()))
    assert seen == ["kept"]
    assert asset.made_now


def test_two_processes_make_it_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_want, args=(tmp_path,)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(20)
    asset: Asset = Assets(tmp_path).get_or_make("thing", {"a": 1}, lambda _f: pytest.fail("made again"))
    assert (asset.path / "made").read_text() == "1"


def test_a_killed_builder_is_noticed_and_its_part_kept(tmp_path: Path) -> None:
    worker = multiprocessing.get_context("fork").Process(target=_hang, args=(tmp_path,))
    worker.start()
    deadline = time.monotonic() + 10
    while not list(tmp_path.glob("thing/*.partial/part-0")) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    worker.join(10)
    asset = Assets(tmp_path).get_or_make("thing", {"a": 1}, lambda folder: (folder / "part-1").touch())
    assert (asset.path / "part-0").read_text() == "first half"
    assert (asset.path / "part-1").exists()


def test_a_cache_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TouchstoneError, match="set TOUCHSTONE_CACHE"):
        Assets(tmp_path / "file").get_or_make("thing", {"a": 1}, lambda _f: None)


CHILD = """
import sys, time
from pathlib import Path
from harness.assets import Assets

def make(folder):
    (folder / "part-0").write_text("kept")
    print("making", flush=True)
    time.sleep(float(sys.argv[2]))
    (folder / "part-1").write_text("done")

Assets(Path(sys.argv[1])).get_or_make("thing", {"a": 1}, make)
print("has it", flush=True)
"""


def _child(root: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, str(root), str(seconds)]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def _line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def test_who_waits_says_for_whom(tmp_path: Path) -> None:
    builder = _child(tmp_path, 1.5)
    assert _line(builder) == "making"
    told: list[str] = []
    asset = Assets(tmp_path, told.append).get_or_make("thing", {"a": 1}, lambda _f: pytest.fail("made twice"))
    (line,) = told
    assert line.startswith(f"waiting for process {builder.pid}: it makes thing ")
    assert not asset.made_now and (asset.path / "part-1").read_text() == "done"
    builder.communicate(timeout=20)


def test_who_waited_for_a_killed_builder_takes_over(tmp_path: Path) -> None:
    builder = _child(tmp_path, 60)
    assert _line(builder) == "making"
    waiting = _child(tmp_path, 0)
    deadline = time.monotonic() + 20
    lock = next(tmp_path.glob("thing/*.lock"))
    assert lock.read_text() == str(builder.pid)
    time.sleep(0.5)
    assert waiting.poll() is None and time.monotonic() < deadline
    builder.kill()
    said, told = waiting.communicate(timeout=20)
    assert said.split("\n")[:2] == ["making", "has it"]
    name = lock.stem[:8]
    assert told.splitlines() == [
        f"waiting for process {builder.pid}: it makes thing {name}",
        f"process {builder.pid} ended before thing {name} was finished; going on from what it left",
    ]
    builder.communicate()


def test_assets_are_made_in_the_usual_mode(tmp_path: Path) -> None:
    seen: list[Mode] = []
    with in_mode(Mode(single_items=True, single_rows=True)):
        Assets(tmp_path).get_or_make("thing", {"a": 1}, lambda _f: seen.append(mode()))
        assert mode().single_rows
    assert seen == [Mode()]
