"""Calls of a server that speaks JSON: retries with back-off, rate limits, timeouts, broken answers."""

from __future__ import annotations

import http.client
import json
import os
import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from harness.errors import TouchstoneError

T = TypeVar("T")

RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
LONGEST_WAIT = 60.0
KEY_VARIABLE = "OPENAI_API_KEY"


class Refused(TouchstoneError):
    """The server answered that it will not do this; asking again would not help. status: its HTTP status."""

    def __init__(self, status: int, message: str, url: str) -> None:
        self.status, self.message = status, message
        fix = f"set {KEY_VARIABLE}" if status in (401, 403) else ""
        super().__init__(f"the server answers {status}", where=url, why=message, fix=fix)


class _Again(Exception):
    """This attempt failed and another may not. wait: seconds the server asks for, None when it does not."""

    def __init__(self, why: str, wait: float | None = None) -> None:
        self.wait = wait
        super().__init__(why)


@dataclass(frozen=True)
class Client:
    """One server. timeout: seconds without a byte; attempts: calls in all before giving up; retries are
    0.5, 1, 2, ... seconds apart, up to half as much at random added, or what Retry-After says.
    """

    base: str
    timeout: float = 120.0
    attempts: int = 6
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)

    def call(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The JSON object that the server answers; GET without a body."""
        return self._tried(path, lambda: _object(b"".join(self._chunks(path, body))))

    def stream(self, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        """The events of a streamed answer up to ``[DONE]``; one that is cut short is asked for again."""
        return self._tried(path, lambda: list(_events(self._chunks(path, {**body, "stream": True}))))

    def _tried(self, path: str, once: Callable[[], T]) -> T:
        why = ""
        for attempt in range(self.attempts):
            try:
                return once()
            except _Again as error:
                why = str(error)
                backoff = 0.5 * 2**attempt * (1 + random.random() / 2)
                if attempt + 1 < self.attempts:
                    self.sleep(min(LONGEST_WAIT, backoff if error.wait is None else error.wait))
        raise TouchstoneError(
            f"the server failed {self.attempts} times", where=f"{self.base}{path}", why=f"at last: {why}"
        )

    def _chunks(self, path: str, body: dict[str, Any] | None) -> Iterator[bytes]:
        """The lines of the answer; what may pass with time is _Again, what will not is Refused."""
        headers = {"Content-Type": "application/json", "User-Agent": "touchstone"}
        if os.environ.get(KEY_VARIABLE):
            headers["Authorization"] = f"Bearer {os.environ[KEY_VARIABLE]}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.base}{path}", data, headers)
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as answer:
                yield from answer
        except urllib.error.HTTPError as error:
            message = _message(error)
            if error.code not in RETRIED:
                raise Refused(error.code, message, f"{self.base}{path}") from error
            wait = _seconds(error.headers.get("Retry-After"))
            raise _Again(f"{error.code} {message}", wait) from error
        except (OSError, http.client.HTTPException) as error:
            raise _Again(f"{type(error).__name__}: {error}") from error


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError as error:
        raise _Again(f"malformed JSON: {data[:60]!r}") from error
    if not isinstance(found, dict):
        raise _Again(f"not a JSON object: {data[:60]!r}")
    return found


def _events(lines: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    """The objects of server-sent events."""
    for line in lines:
        text = line.strip()
        if not text.startswith(b"data:"):
            continue
        payload = text.removeprefix(b"data:").strip()
        if payload == b"[DONE]":
            return
        event = _object(payload)
        if "error" in event:
            raise _Again(f"an error in the stream: {event['error']}")
        yield event
    raise _Again("the stream was cut before its end")


def _message(error: urllib.error.HTTPError) -> str:
    """What the server says about its refusal."""
    try:
        body = json.loads(error.read() or b"{}")
    except (ValueError, OSError, http.client.HTTPException):
        return str(error.reason)
    inner = body.get("error", body) if isinstance(body, dict) else body
    text = inner.get("message", inner) if isinstance(inner, dict) else inner
    return str(text or error.reason)[:300]


def _seconds(header: str | None) -> float | None:
    """Retry-After: seconds, or a date."""
    if not header:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None
