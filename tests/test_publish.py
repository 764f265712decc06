"""Building and serving the site as a whole."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest

from harness import publish
from harness.catalog import Catalog
from harness.errors import ExitCode, TouchstoneError
from harness.execute import Session
from harness.pages import runs
from harness.publish import build_site, server
from harness.store import Store
from tests.boards import record, store_record
from tests.test_execute import run
from tests.test_leaderboard import HIGH, LOW


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two methods on one task."""
    made = Store(tmp_path / "results")
    store_record(made, record("bm25", LOW), LOW)
    store_record(made, record("dense", HIGH, finished="2026-02-01T00:00:00+00:00"), HIGH)
    return made


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("**/*") if path.is_file()
    }


def touchstone(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from harness.cli import main; main()", *words]
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )


def test_the_same_results_give_the_same_bytes(session: Session, toy_places: Path) -> None:
    for method in ("bm25", "random", "oracle"):
        run(session, method)
    run(session, "random", "quiz")
    for name, seed in (("one", "1"), ("two", "2")):
        out = str(toy_places / name)
        done = touchstone(
            "site", "build", "--results", str(session.store.root), "--out", out, PYTHONHASHSEED=seed
        )
        assert done.returncode == 0, done.stderr
        assert f"pages in {toy_places / name}" in done.stdout
    one, two = contents(toy_places / "one"), contents(toy_places / "two")
    assert one == two
    assert len(one) > 15


def test_an_empty_store_is_told_what_to_do(tmp_path: Path) -> None:
    done = touchstone("site", "build", "--results", str(tmp_path / "none"), "--out", str(tmp_path / "site"))
    assert done.returncode == ExitCode.NOTHING_MEASURED
    assert "no results to show" in done.stderr and "touchstone run --suite quickstart" in done.stderr
    assert not (tmp_path / "site").exists()


def test_pages_that_are_gone_do_not_stay(store: Store, tmp_path: Path) -> None:
    out = build_site(store, Catalog([]), tmp_path / "site").out
    (out / "runs" / "stale.html").write_text("")
    built = build_site(store, Catalog([]), out)
    assert not (out / "runs" / "stale.html").exists()
    assert built.pages == sum(1 for name in contents(out) if name.endswith(".html")) == 11
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("where", ["write", "swap"])
def test_a_build_that_fails_leaves_the_old_site(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    out = build_site(store, Catalog([]), tmp_path / "site").out
    before = contents(out)

    def fail(*_: object) -> None:
        raise OSError("disk full")

    if where == "write":
        monkeypatch.setattr(runs, "write", fail)
    else:
        monkeypatch.setattr(publish.Path, "rename", rename_all_but_first(publish.Path.rename))
    with pytest.raises(TouchstoneError, match="disk full"):
        build_site(store, Catalog([]), out)
    assert contents(out) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results", "site"]


def rename_all_but_first(real: object) -> object:
    """A rename that fails at its second call: the new site cannot take the place of the old."""
    calls = []

    def rename(path: Path, target: Path) -> Path:
        calls.append(path)
        if len(calls) == 2:
            raise OSError("disk full")
        assert callable(real)
        moved: Path = real(path, target)
        return moved

    return rename


def test_a_folder_that_is_no_site_is_left_alone(store: Store, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    with pytest.raises(TouchstoneError, match="not a site: it is left alone"):
        build_site(store, Catalog([]), tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years"


def test_an_empty_folder_is_used(store: Store, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert build_site(store, Catalog([]), tmp_path / "empty").pages == 11


def test_a_site_is_served_on_this_machine(store: Store, tmp_path: Path) -> None:
    out = build_site(store, Catalog([]), tmp_path / "site").out
    with server(out, 0) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        try:
            assert serving.server_address[0] == "127.0.0.1"
            with urllib.request.urlopen(
                f"http://127.0.0.1:{serving.server_port}/index.html", timeout=10
            ) as answer:
                assert answer.read() == (out / "index.html").read_bytes()
            with pytest.raises(TouchstoneError, match="cannot listen on port"):
                server(out, serving.server_port)
        finally:
            serving.shutdown()
            thread.join()


def test_serving_needs_a_site(tmp_path: Path) -> None:
    done = touchstone("site", "serve", "--out", str(tmp_path))
    assert done.returncode == ExitCode.USAGE
    assert "no site is here" in done.stderr and "touchstone site build" in done.stderr
