"""A server that misbehaves, and the network allowed to reach it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.data import download as module
from tests.data.server import Served, serving


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that downloads would have waited."""
    found: list[float] = []
    monkeypatch.setattr(module.time, "sleep", found.append)
    return found


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> Iterator[Served]:
    """A local server as the hub, an empty mirror and an empty cache."""
    import huggingface_hub.constants

    for name in module.OFFLINE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("TOUCHSTONE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TOUCHSTONE_DATA", str(tmp_path / "mirror"))
    monkeypatch.setenv("HF_TOKEN", "")
    monkeypatch.setattr(module, "_unreachable", {})
    with serving() as served:
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        yield served
