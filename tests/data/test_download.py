"""One file from a server that is busy, breaks off, lies or is not there."""

from __future__ import annotations

import errno
import hashlib
import random
import time
from email.utils import formatdate
from pathlib import Path

import pytest

from harness.data import download as module
from harness.data.download import Remote, download
from harness.errors import TouchstoneError
from tests.data.server import Fault, Served

CONTENT = random.Random(0).randbytes(5000)
SHA = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
MD5 = f"md5:{hashlib.md5(CONTENT).hexdigest()}"
GIT = f"git:{hashlib.sha1(b'blob 5000' + bytes(1) + CONTENT).hexdigest()}"


def quiet(line: str) -> None:
    """Say nothing."""


@pytest.fixture
def served(server: Served) -> Served:
    server.files["/file"] = CONTENT
    return server


def _get(served: Served, folder: Path, digest: str = SHA, size: int = 0) -> bytes:
    return download(Remote(f"{served.url}/file", digest, size), folder / "got", quiet).read_bytes()


@pytest.mark.parametrize("digest", ["", SHA, MD5, GIT])
def test_a_file_arrives_and_is_not_asked_for_again(served: Served, tmp_path: Path, digest: str) -> None:
    assert _get(served, tmp_path, digest, 5000) == CONTENT
    assert _get(served, tmp_path, digest, 5000) == CONTENT
    assert len(served.seen) == 1
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(
    ("faults", "waited"),
    [
        ([Fault(503)], [0.5]),
        ([Fault(503), Fault(502), Fault(500), Fault(504)], [0.5, 1, 2, 4]),
        ([Fault(429, {"Retry-After": "7"})], [7]),
        ([Fault(503, {"Retry-After": "3"}), Fault(429)], [3, 1]),
    ],
)
def test_a_busy_server_is_asked_again(
    served: Served, tmp_path: Path, waits: list[float], faults: list[Fault], waited: list[float]
) -> None:
    served.faults["/file"] = faults
    assert _get(served, tmp_path) == CONTENT
    assert waits == waited


def test_a_date_to_retry_after_is_respected(served: Served, tmp_path: Path, waits: list[float]) -> None:
    served.faults["/file"] = [Fault(503, {"Retry-After": formatdate(time.time() + 30, usegmt=True)})]
    assert _get(served, tmp_path) == CONTENT
    assert 25 < waits[0] <= 30


def test_a_server_that_stays_busy_or_asks_for_hours_is_an_error(served: Served, tmp_path: Path) -> None:
    served.faults["/file"] = [Fault(503)] * 9
    with pytest.raises(TouchstoneError, match="503"):
        _get(served, tmp_path)
    assert len(served.seen) == module.TRIES
    served.faults["/file"] = [Fault(429, {"Retry-After": "7200"})]
    with pytest.raises(TouchstoneError, match="7,200 s"):
        _get(served, tmp_path)
    assert not (tmp_path / "got").exists()


def test_a_broken_transfer_goes_on_where_it_stopped(served: Served, tmp_path: Path) -> None:
    served.faults["/file"] = [Fault(keep=1200), Fault(keep=800), Fault(503)]
    assert _get(served, tmp_path) == CONTENT
    assert served.requests_of("file") == ["", "bytes=1200-", "bytes=2000-", "bytes=2000-"]


def test_a_later_process_goes_on_too(served: Served, tmp_path: Path) -> None:
    (tmp_path / "got.part").write_bytes(CONTENT[:3000])
    assert _get(served, tmp_path) == CONTENT
    assert served.requests_of("file") == ["bytes=3000-"]


def test_what_an_earlier_process_left_of_another_file_is_dropped(served: Served, tmp_path: Path) -> None:
    (tmp_path / "got.part").write_bytes(b"x" * 3000)
    assert _get(served, tmp_path) == CONTENT
    (tmp_path / "got").unlink()
    (tmp_path / "got.part").write_bytes(b"x" * 9000)
    assert _get(served, tmp_path) == CONTENT


@pytest.mark.parametrize("tagged", [False, True], ids=["untold", "by its tag"])
def test_a_file_that_changed_meanwhile_is_never_mixed(served: Served, tmp_path: Path, tagged: bool) -> None:
    """By its tag where the server gives one, else by the digest."""
    served.tagged = tagged
    served.faults["/file"] = [Fault(keep=1200)]

    def change(line: str) -> None:
        if "again" in line:  # between the first request, which breaks off, and the second
            served.files["/file"] = CONTENT[::-1]

    remote = Remote(f"{served.url}/file", "" if tagged else SHA)
    if tagged:
        assert download(remote, tmp_path / "got", change).read_bytes() == CONTENT[::-1]
    else:
        with pytest.raises(TouchstoneError, match="not the expected file"):
            download(remote, tmp_path / "got", change)
    assert not list(tmp_path.glob("*.tag"))


def test_a_server_without_ranges_sends_all_again(served: Served, tmp_path: Path) -> None:
    served.ranges = False
    served.faults["/file"] = [Fault(keep=1200)]
    assert _get(served, tmp_path) == CONTENT


def test_a_file_that_stays_truncated_is_refused(served: Served, tmp_path: Path) -> None:
    served.ranges = False
    served.faults["/file"] = [Fault(keep=1200)] * 9
    with pytest.raises(TouchstoneError, match="failed"):
        _get(served, tmp_path)
    assert not (tmp_path / "got").exists()


def test_a_short_file_that_the_server_calls_whole_is_refused_by_its_size(
    served: Served, tmp_path: Path
) -> None:
    served.files["/file"] = CONTENT[:4000]
    with pytest.raises(TouchstoneError, match="4,000 bytes instead of 5,000"):
        _get(served, tmp_path, "", 5000)


@pytest.mark.parametrize("digest", [SHA, MD5, GIT])
def test_other_content_is_refused_by_its_digest(served: Served, tmp_path: Path, digest: str) -> None:
    served.files["/file"] = b"y" * 5000
    with pytest.raises(TouchstoneError, match="not the expected file") as caught:
        _get(served, tmp_path, digest, 5000)
    assert digest in caught.value.why
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["got.lock"]


@pytest.mark.parametrize(("status", "what"), [(404, "no such file"), (403, "refuses"), (401, "refuses")])
def test_a_refusal_is_final(served: Served, tmp_path: Path, status: int, what: str) -> None:
    served.faults["/file"] = [Fault(status)]
    with pytest.raises(TouchstoneError, match=what):
        _get(served, tmp_path)
    assert len(served.seen) == 1


def test_a_host_that_is_not_there_is_tried_by_one_download_only(
    server: Served, tmp_path: Path, waits: list[float]
) -> None:
    for name in ("a", "b"):
        with pytest.raises(TouchstoneError, match=r"http://127\.0\.0\.1:9/"):
            download(Remote(f"http://127.0.0.1:9/{name}"), tmp_path / name, quiet)
    assert len(waits) == module.TRIES - 1


def test_a_full_disk_is_one_clear_error(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module.os, "fsync", full)
        with pytest.raises(TouchstoneError, match="No space left on device") as caught:
            _get(served, tmp_path)
    assert "TOUCHSTONE_CACHE" in caught.value.fix
    assert _get(served, tmp_path) == CONTENT  # goes on once there is space


def test_offline_asks_nobody(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOUCHSTONE_OFFLINE", "1")
    with pytest.raises(TouchstoneError, match="offline"):
        _get(served, tmp_path)
    assert not served.seen
