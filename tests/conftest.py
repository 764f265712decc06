"""Fixtures shared by all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.needs import DATA


@pytest.fixture(autouse=True)
def _own_places(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test session has its own asset folder, so that no test reads or fills a user's cache."""
    monkeypatch.setenv("TOUCHSTONE_CACHE", str(_cache(tmp_path_factory)))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    if DATA.is_dir():
        monkeypatch.setenv("TOUCHSTONE_DATA", str(DATA))


def _cache(factory: pytest.TempPathFactory) -> Path:
    folder = factory.getbasetemp() / "cache"
    folder.mkdir(exist_ok=True)
    return folder
