"""``touchstone data`` and ``--offline`` from the command line, with and without sockets."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness.cli import group
from harness.cli.options import OFFLINE
from harness.errors import TouchstoneError
from tests.data.conftest import server, waits
from tests.data.server import REVISION, Served
from tests.data.test_sources import JSONL
from tests.needs import needs
from tests.toys import write_definitions

__all__ = ["server", "waits"]  # fixtures

THINGS = f"""\
- name: things
  title: Things
  about: From a local server.
  licence: none at all
  url: https://example.org/things
  sources: [{{format: hub, repo: someone/things, revision: "{REVISION}"}}]
  counts: {{documents: 40, queries: 2, judgements: 3}}
- name: closed
  title: Closed
  about: Nobody may download it.
  licence: ask its owner
  url: https://example.org/closed
  sources: [{{format: beir, path: closed}}]
"""
TASKS = """\
- {name: things, kind: rank, dataset: things, measures: [nDCG@10], depth: 10}
- {name: closed, kind: rank, dataset: closed, measures: [nDCG@10], depth: 10}
- {name: again, kind: rank, dataset: things, measures: [nDCG@10], depth: 10, candidates: runs/bm25.trec}
"""
SUITES = {
    "both": "tasks: [things, closed]\nmethods: [random]\naggregate: none\n",
    "wide": (
        "tasks: [toy, things, closed, again]\n"
        'methods: [random, "dense(model=nobody/none)", "fusion(methods=bm25+dense(model=some/other))"]\n'
        "aggregate: none\n"
    ),
}


def invoke(*arguments: str) -> Result:
    """In this process; a command's exit code is the result's return_value."""
    return CliRunner().invoke(group, arguments, standalone_mode=False)


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Definitions of two datasets; offline marks do not outlive a test."""
    folder = tmp_path / "suites"
    write_definitions(folder)
    (folder / "datasets" / "things.yaml").write_text(THINGS)
    (folder / "tasks" / "things.yaml").write_text(TASKS)
    for name, body in SUITES.items():
        (folder / f"{name}.yaml").write_text(f"name: {name}\ntitle: T\nabout: A.\n{body}")
    monkeypatch.setenv("TOUCHSTONE_SUITES", str(folder))
    for name in OFFLINE:
        monkeypatch.setenv(name, os.environ.get(name, ""))  # restored afterwards
    return tmp_path


def test_fetch_list_pack_unpack_verify(server: Served, places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.repository("someone/things", JSONL)
    done = invoke("data", "fetch", "--suite", "both")
    assert done.return_value == 4
    assert "things: fetched from hub someone/things" in done.output
    assert "closed: the dataset 'closed' cannot be downloaded (ask its owner)" in done.output
    assert "things: here" in invoke("data", "fetch", "things").output
    listed = invoke("data", "list", "--suite", "both").output
    assert "none at all" in listed
    assert "on request, not downloadable" in listed
    packed = str(places / "packed")
    assert isinstance(invoke("data", "pack", "both", packed).exception, TouchstoneError)
    assert "left out: closed" in invoke("data", "pack", "both", packed, "--available").output
    assert "all as it should be" in invoke("data", "verify", packed).output
    monkeypatch.setenv("TOUCHSTONE_CACHE", str(places / "other"))
    assert "1 datasets" in invoke("data", "unpack", packed).output
    verified = invoke("data", "verify", "--suite", "both")
    assert verified.return_value == 1
    assert "closed: the dataset 'closed' is not here" in verified.output
    assert "things: checked" in verified.output


def test_run_fetches_what_is_missing(server: Served, places: Path) -> None:
    server.repository("someone/things", JSONL)
    done = invoke("run", "--task", "things", "--method", "random", "--results", str(places / "results"))
    assert done.exception is None, done.output
    assert "Things" in done.output or "things" in done.output
    assert server.requests_of("corpus.jsonl") == [""]


def test_plan_downloads_nothing(server: Served, places: Path) -> None:
    done = invoke("plan", "--suite", "both", "--results", str(places / "results"))
    assert "2 not here" in done.output
    assert server.seen == []


# Every attempt to open a connection or to look up a host ends the process with 99.
GUARDED = """
import os, socket, sys
def refuse(*arguments, **named):
    print("A SOCKET WAS USED", arguments, file=sys.stderr, flush=True)
    os._exit(99)
for name in ("connect", "connect_ex", "sendto"):
    setattr(socket.socket, name, refuse)
for name in ("getaddrinfo", "create_connection", "gethostbyname"):
    setattr(socket, name, refuse)
sys.argv = ["touchstone", *sys.argv[1:]]
from harness.cli import main
main()
"""


def guarded(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a fresh process that may not use the network."""
    return subprocess.run([sys.executable, "-c", GUARDED, *arguments], capture_output=True, text=True)


def test_the_guard_catches_a_download(server: Served, places: Path) -> None:
    assert guarded("data", "fetch", "things").returncode == 99


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("data", "fetch", "--suite", "wide"), 4),
        (("data", "list"), 0),
        (("plan", "--suite", "wide"), 0),
        (("run", "--suite", "wide", "--available"), 3),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_offline_opens_no_socket(
    server: Served, places: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], code: int
) -> None:
    monkeypatch.setenv("TOUCHSTONE_RESULTS", str(places / "results"))
    done = guarded(*command, "--offline")
    assert done.returncode == code, done.stderr
    assert server.seen == []


def test_offline_lists_all_that_is_missing_before_anything_starts(server: Served, places: Path) -> None:
    """Data, documents, the candidate run and models, those of a part of a method too, in one list."""
    results = places / "results"
    done = guarded("run", "--suite", "wide", "--offline", "--results", str(results))
    missing = [line for line in done.stderr.splitlines() if line.startswith("missing: ")]
    for words in (
        "data: the dataset 'toy' is not here",
        "data: the dataset 'things' is not here",
        "data: the dataset 'closed' is not here",
        "data: the candidate run runs/bm25.trec of again",
        "nobody/none",
        "some/other",
    ):
        assert [line for line in missing if words in line], (words, done.stderr)
    assert done.returncode == 3
    assert "6 things are missing here" in done.stderr
    assert not [path for path in results.rglob("*") if path.is_file()]


def test_offline_runs_what_is_here_when_told_so(toy_places: Path, places: Path) -> None:
    done = invoke(
        "run", "--task", "toy", "--task", "things", "--method", "random", "--offline", "--available",
        "--results", str(places / "results"),
    )  # fmt: skip
    assert done.exception is None, done.output
    assert "missing: data: the dataset 'things'" in done.output
    assert "Toy" in done.output or "toy" in done.output


@needs("data")
@pytest.mark.parametrize(
    ("task", "cells"),
    [
        ("beir/bioasq", ["500", "14,914,603", "nDCG@10", "BioASQ terms (registration)", "no documents"]),
        ("beir/scifact", ["300", "5,183", "nDCG@10", "CC BY 4.0", "yes"]),
        ("msmarco/trec-dl-2022", ["76", "138,364,198", "nDCG@10", "MS MARCO terms", "no"]),
        ("bright/pony-long", ["112", "577", "R@1", "CC BY 4.0", "no documents"]),
        ("kilt/wow", ["3,054", "5,903,530", "KILT-F1", "MIT", "no documents"]),
        ("mmlu", ["14,042", "Acc", "MIT", "yes"]),
    ],
)
def test_list_tasks_shows_counts_and_licence(task: str, cells: list[str]) -> None:
    (line,) = [line for line in _tasks().splitlines() if line.split()[:1] == [task]]
    places = [line.find(cell, len(task)) for cell in cells]
    assert -1 not in places
    assert places == sorted(places)


@cache
def _tasks() -> str:
    assert "mmlu/anatomy" not in invoke("list", "tasks").output
    whole = invoke("list", "tasks", "--all").output
    assert "mmlu/anatomy" in whole
    return whole


def test_everything_is_planned_with_no_data_at_all(tmp_path: Path) -> None:
    """In a fresh process without a mirror, a cache or a network."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TOUCHSTONE_")},
        "TOUCHSTONE_CACHE": str(tmp_path / "cache"),
        "HOME": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", GUARDED, "plan", "--suite", "everything", "--offline"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert "not here" in done.stdout
    assert "missing: data: the dataset 'beir/bioasq' is not here" in done.stdout
