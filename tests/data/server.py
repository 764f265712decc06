"""A server on 127.0.0.1 that speaks the hub's protocol and serves plain files, and misbehaves as told."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

REVISION = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Fault:
    """What happens to one request instead of the right answer.

    status: an error page. keep: only so many bytes are sent, of the length announced. content: other bytes.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    keep: int | None = None
    content: bytes | None = None


@dataclass
class Served:
    """files by path; faults: a list for each path, one used up by each request; seen: (path, Range)."""

    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    seen: list[tuple[str, str]] = field(default_factory=list)
    url: str = ""
    ranges: bool = True
    tagged: bool = False

    def repository(self, repo: str, files: dict[str, bytes]) -> None:
        """A dataset repository; .parquet files are large ones, listed with their SHA-256 digest."""
        for name, content in files.items():
            self.files[f"/datasets/{repo}/resolve/{REVISION}/{name}"] = content
        entries = [_entry(name, content) for name, content in files.items()]
        self.files[f"/api/datasets/{repo}/tree/{REVISION}"] = json.dumps(entries).encode()

    def requests_of(self, name: str) -> list[str]:
        """The Range headers of the requests whose path ends so."""
        return [wanted for path, wanted in self.seen if path.endswith(name)]


def _entry(name: str, content: bytes) -> dict[str, object]:
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    entry: dict[str, object] = {"type": "file", "path": name, "size": len(content), "oid": blob}
    if name.endswith(".parquet"):
        entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return entry


def _tag(content: bytes) -> str:
    return f'"{hashlib.md5(content).hexdigest()}"'


@contextmanager
def serving() -> Iterator[Served]:
    """The server, until the block ends."""
    served = Served()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            wanted = self.headers.get("Range", "")
            served.seen.append((path, wanted))
            queue = served.faults.get(path)
            fault = queue.pop(0) if queue else Fault()
            if path not in served.files:
                fault = Fault(404)
            content = served.files.get(path, b"") if fault.content is None else fault.content
            tag = {"ETag": _tag(content)} if served.tagged else {}
            if fault.status != 200:
                self._send(fault.status, fault.headers, b"<html>try again</html>", None)
            elif wanted and served.ranges and self.headers.get("If-Range", _tag(content)) == _tag(content):
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
                if start >= len(content):
                    self._send(416, {}, b"", None)
                else:
                    span = f"bytes {start}-{len(content) - 1}/{len(content)}"
                    self._send(206, {"Content-Range": span, **tag}, content[start:], fault.keep)
            else:
                self._send(200, {**tag, **fault.headers}, content, fault.keep)

        def _send(self, status: int, headers: dict[str, str], content: bytes, keep: int | None) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content[:keep])
            if keep is not None:
                self.close_connection = True

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        served.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield served
        finally:
            server.shutdown()
