"""Downloading one file so that it is whole or not there: retried, resumed, its size and digest checked.

The hub's and ir_datasets' own downloads do not suffice here: the first checks no content digest and gives up
at a 503, the second takes the error page of a busy server for the file.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from harness.assets import locked
from harness.errors import TouchstoneError

BUSY = {408, 425, 429, 500, 502, 503, 504}
TRIES = 5  # in a row without a new byte
FIRST_WAIT, LONGEST_WAIT = 0.5, 600.0  # seconds
TIMEOUT = 30.0  # seconds without a byte
CHUNK = 1 << 20
SAY_EVERY = 10.0  # seconds
OFFLINE = ("TOUCHSTONE_OFFLINE", "HF_HUB_OFFLINE")

Say = Callable[[str], None]
_unreachable: dict[str, str] = {}  # hosts that could not be reached, and why: they are not tried again


@dataclass(frozen=True)
class Remote:
    """A file to download. digest: ``sha256:``, ``md5:`` or ``git:`` (SHA-1 of a git blob) and the hex digits,
    '' when it is not known; size in bytes, 0 when it is not known.
    """

    url: str
    digest: str = ""
    size: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)


class _Again(Exception):
    """The attempt failed, another one may succeed. wait: what the server asked for, in seconds."""

    def __init__(self, why: str, wait: float | None = None) -> None:
        self.wait = wait
        super().__init__(why)


def offline() -> bool:
    """Whether the user forbids the network, by ``--offline`` or in the environment."""
    return any(os.environ.get(name, "").lower() in ("1", "true", "yes", "on") for name in OFFLINE)


def download(remote: Remote, target: Path, say: Say) -> Path:
    """*target* with the content of *remote*; kept when it is there already. A TouchstoneError says why not.

    An interrupted download is gone on with, in this process or a later one. A file of the wrong size or
    digest never becomes *target*.
    """
    if offline():
        raise TouchstoneError("the network is not to be used", where=remote.url, why="offline")
    try:
        with locked(target.with_name(f"{target.name}.lock")):
            return target if target.exists() else _downloaded(remote, target, say)
    except OSError as error:
        fix = "if the disk is full, set TOUCHSTONE_CACHE"
        raise TouchstoneError("cannot write the file", where=str(target), why=str(error), fix=fix) from error


def refuse_unreachable(url: str) -> None:
    """A TouchstoneError when the host of *url* could not be reached before."""
    host = urlsplit(url).netloc
    if host in _unreachable:
        raise TouchstoneError("the server cannot be reached", where=url, why=_unreachable[host])


def remember_unreachable(url: str, error: BaseException | None) -> None:
    """Note the host of *url* when *error*, of whatever library, says that no connection was made."""
    if "connect" in type(error).__name__.lower():
        _unreachable[urlsplit(url).netloc] = str(error)


def digest_of(path: Path, kind: str) -> str:
    """``kind:hex`` of a file; kinds are those of ``Remote.digest``."""
    with path.open("rb") as handle:
        if kind != "git":
            return f"{kind}:{hashlib.file_digest(handle, kind).hexdigest()}"
        hasher = hashlib.sha1(f"blob {path.stat().st_size}\0".encode())
        while chunk := handle.read(CHUNK):
            hasher.update(chunk)
        return f"git:{hasher.hexdigest()}"


def _downloaded(remote: Remote, target: Path, say: Say) -> Path:
    part = target.with_name(f"{target.name}.part")
    resumed = part.exists()
    say(f"{remote.url}{f' ({remote.size:,} bytes)' if remote.size else ''}")
    _transfer(remote, part, say)
    wrong = _wrong(remote, part)
    if wrong and resumed:  # what an earlier process left may be of another file
        part.unlink()
        _transfer(remote, part, say)
        wrong = _wrong(remote, part)
    if wrong:
        part.unlink()
        part.with_suffix(".tag").unlink(missing_ok=True)
        raise TouchstoneError("not the expected file", where=remote.url, why=wrong)
    part.with_suffix(".tag").unlink(missing_ok=True)
    return part.rename(target)


def _wrong(remote: Remote, part: Path) -> str:
    """How the file differs from the one expected, '' when it does not."""
    size = part.stat().st_size
    if remote.size and size != remote.size:
        return f"{size:,} bytes instead of {remote.size:,}"
    found = digest_of(part, remote.digest.partition(":")[0]) if remote.digest else ""
    return f"{found} instead of {remote.digest}" if found != remote.digest else ""


def _transfer(remote: Remote, part: Path, say: Say) -> None:
    """All bytes into *part*, with up to TRIES attempts in a row that bring none."""
    refuse_unreachable(remote.url)
    failed, wait = 0, FIRST_WAIT
    while True:
        had = part.stat().st_size if part.exists() else 0
        try:
            _attempt(remote, part, had, say)
            return
        except _Again as problem:
            gained = part.exists() and part.stat().st_size > had
            failed, wait = (1, FIRST_WAIT) if gained else (failed + 1, wait)
            asked = problem.wait if problem.wait is not None else wait
            if failed >= TRIES or asked > LONGEST_WAIT:
                remember_unreachable(remote.url, problem.__cause__)
                why = f"{problem}; it asks to wait {asked:,.0f} s" if asked > LONGEST_WAIT else str(problem)
                raise TouchstoneError("the download failed", where=remote.url, why=why) from problem
            say(f"  {problem}: again in {asked:g} s")
            time.sleep(asked)
            wait *= 2


def _attempt(remote: Remote, part: Path, had: int, say: Say) -> None:
    """One request for what is missing after the first *had* bytes; _Again when it may be repeated."""
    import requests

    headers = {"Accept-Encoding": "identity", **remote.headers}
    tag = part.with_suffix(".tag")
    if had:
        headers["Range"] = f"bytes={had}-"
        if tag.exists():
            headers["If-Range"] = tag.read_text()  # a file that changed meanwhile is sent whole
    try:
        with requests.get(remote.url, headers=headers, stream=True, timeout=TIMEOUT) as reply:
            if reply.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                if had == remote.size:
                    return
                part.unlink()
                raise _Again("what was downloaded before does not fit")
            _refuse_status(reply, remote)
            resumes = reply.status_code == HTTPStatus.PARTIAL_CONTENT
            if resumes and not reply.headers.get("Content-Range", "").startswith(f"bytes {had}-"):
                part.unlink()
                raise _Again("the server sent another part than the one asked for")
            _keep_tag(reply, tag)
            with part.open("ab" if resumes else "wb") as out:
                told = time.monotonic()
                for chunk in reply.raw.stream(CHUNK, decode_content=False):
                    out.write(chunk)
                    if time.monotonic() > told + SAY_EVERY:
                        told = time.monotonic()
                        say(f"  {out.tell():,} bytes")
                out.flush()
                os.fsync(out.fileno())
            _refuse_short(reply, part, had if resumes else 0)
    except (requests.RequestException, ConnectionError, TimeoutError, _transport_errors()) as error:
        raise _Again(f"{type(error).__name__}: {error}") from error


def _keep_tag(reply: Any, tag: Path) -> None:
    """Remember which version of the file the reply is of, where the server says so."""
    strong = reply.headers.get("ETag", "")
    if strong and not strong.startswith("W/"):
        tag.write_text(strong)
    else:
        tag.unlink(missing_ok=True)


def _transport_errors() -> type[Exception]:
    from urllib3.exceptions import HTTPError

    return HTTPError


def _refuse_status(reply: Any, remote: Remote) -> None:
    status = f"{reply.status_code} {reply.reason}"
    if reply.status_code in BUSY:
        raise _Again(status, _retry_after(reply.headers.get("Retry-After", "")))
    if reply.status_code in (401, 403):
        fix = "accept the dataset's terms on its page, and set HF_TOKEN if it is on the hub"
        raise TouchstoneError("the server refuses the file", where=remote.url, why=status, fix=fix)
    if reply.status_code not in (200, 206):
        raise TouchstoneError("the server has no such file", where=remote.url, why=status)


def _refuse_short(reply: Any, part: Path, before: int) -> None:
    """The length that the reply announced against what came."""
    announced = reply.headers.get("Content-Length")
    if announced is not None and part.stat().st_size < before + int(announced):
        raise _Again(f"truncated: {part.stat().st_size:,} of {before + int(announced):,} bytes")


def _retry_after(value: str) -> float | None:
    """Seconds to wait by a ``Retry-After`` header: a number, or a date."""
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError):
        return None
