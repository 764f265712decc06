"""Building and serving the site as a whole."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
import urllib.request
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import jsonschema
import pandas as pd
import pytest

from harness import leaderboard, publish
from harness.catalog import Catalog
from harness.errors import ExitCode, TouchstoneError
from harness.execute import Session
from harness.pages import runs, site
from harness.pages.site import write_new
from harness.publish import build_site, server
from harness.store import Store
from tests.boards import TOY, record, store_record
from tests.test_execute import run
from tests.test_leaderboard import HIGH, LOW

HOSTILE = '"><script>alert(1)</script>&'


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


def test_one_new_result_rebuilds_only_what_it_touches(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    for task in ("one", "two"):
        for method, values in {"bm25": LOW, "dense": HIGH, "fusion": HIGH / 2}.items():
            store_record(store, record(method, values, replace(TOY, name=task, title=task)), values)
    out = build_site(store, Catalog([]), tmp_path / "site").out
    before = {path: path.stat().st_ino for path in out.glob("**/*.html")}
    assert build_site(store, Catalog([]), out).kept == 2 + 3 + 6
    task = replace(TOY, name="one", title="one")
    new = store_record(store, record("bm25", HIGH / 3, task, finished="2026-05-01T00:00:00+00:00"), HIGH / 3)
    built = build_site(store, Catalog([]), out)
    after = {path.relative_to(out).as_posix(): path.stat().st_ino for path in out.glob("**/*.html")}
    touched = {path for path, node in after.items() if before.get(out / path) != node and "/" in path}
    old = next(r for r in store.find("one", "bm25") if r.id != new.id)
    neighbour = store.find("one", "fusion")[0]
    assert touched == {"tasks/one.html", "methods/bm25.html"} | {
        f"runs/{r.id}.html" for r in (old, new, neighbour)
    }
    assert built.kept == len(after) - len(touched) - 6
    whole = build_site(store, Catalog([]), tmp_path / "whole").out
    assert contents(whole) == contents(out)


@pytest.mark.parametrize("damage", ["missing", "not JSON", "a list"])
def test_a_damaged_manifest_means_everything_anew(store: Store, tmp_path: Path, damage: str) -> None:
    out = build_site(store, Catalog([]), tmp_path / "site").out
    (out / "manifest.json").unlink()
    if damage != "missing":
        (out / "manifest.json").write_text("[]" if damage == "a list" else "{")
    (out / "tasks" / "toy.html").write_text("spoilt")
    built = build_site(store, Catalog([]), out)
    assert built.kept == 0 and "spoilt" not in (out / "tasks" / "toy.html").read_text()


def test_results_can_be_downloaded(store: Store, tmp_path: Path) -> None:
    store_record(store, record(HOSTILE, None, finished="2025-01-01T00:00:00+00:00"), None)
    out = build_site(store, Catalog([]), tmp_path / "site").out
    rows = json.loads((out / "data" / "results.json").read_text())
    jsonschema.validate(rows, json.loads((out / "schema" / "results.json").read_text()))
    assert [(row["method"], row["measure"], row["current"]) for row in rows] == [
        ("dense", "nDCG@10", True),
        ("dense", "AP", True),
        ("bm25", "nDCG@10", True),
        ("bm25", "AP", True),
        (HOSTILE, None, False),
    ]
    table = pd.read_parquet(out / "data" / "results.parquet")
    assert table["value"].tolist()[:4] == [row["value"] for row in rows[:4]]
    assert pd.read_csv(out / "data" / "results.csv")["run"].tolist() == [row["run"] for row in rows]
    items = pd.read_parquet(out / "tasks" / "toy" / "items.parquet")
    assert items[items.method == "bm25"].score.to_numpy() == pytest.approx(LOW)
    body = json.loads((out / "runs" / "toy" / f"{store.find('toy', 'bm25')[0].id}.record.json").read_text())
    jsonschema.validate(body, json.loads((out / "schema" / "record.json").read_text()))


def test_the_feed_and_the_map_are_sound(store: Store, tmp_path: Path) -> None:
    store_record(store, record(HOSTILE, LOW), LOW)
    plain = build_site(store, Catalog([]), tmp_path / "plain").out
    assert not (plain / "sitemap.xml").exists()
    out = build_site(store, Catalog([]), tmp_path / "site", "https://example.org/board").out
    atom = ET.parse(out / "feed.xml").getroot()
    entries = atom.findall("{http://www.w3.org/2005/Atom}entry")
    titles = [entry.findtext("{http://www.w3.org/2005/Atom}title") for entry in entries]
    assert titles[0] == f"dense on Toy: nDCG@10 {HIGH.mean():.4f}" and any(
        HOSTILE in str(one) for one in titles
    )
    links = [link.get("href", "") for link in atom.iter("{http://www.w3.org/2005/Atom}link")]
    addresses = [str(loc.text) for loc in ET.parse(out / "sitemap.xml").iter() if loc.tag.endswith("}loc")]
    assert "https://example.org/board/tasks/toy.html" in addresses
    for address in (*links, *addresses):
        assert (out / address.removeprefix("https://example.org/board/")).is_file()
    with pytest.raises(TouchstoneError, match="not a web address"):
        build_site(store, Catalog([]), tmp_path / "site", "javascript:alert(1)")


def test_a_large_store_gives_the_same_bytes(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = build_site(store, Catalog([]), tmp_path / "small").out
    for module in (leaderboard, site):
        monkeypatch.setattr(module, "WORTH", 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    assert contents(build_site(store, Catalog([]), tmp_path / "large").out) == contents(small)


def test_a_file_is_written_whole_or_not_without_an_error(tmp_path: Path) -> None:
    content, limits = b"x" * 10_000, resource.getrlimit(resource.RLIMIT_FSIZE)
    write_new(str(tmp_path / "whole"), content)
    assert (tmp_path / "whole").read_bytes() == content
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, limits[1]))  # then the system takes a part only
    try:
        with pytest.raises(OSError, match="File too large"):
            write_new(str(tmp_path / "cut"), content)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
