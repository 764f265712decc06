"""Fixtures shared by all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.assets import Assets
from harness.catalog import Catalog
from harness.execute import Session
from harness.store import Store
from tests.needs import DATA
from tests.toys import write_definitions, write_mirror


@pytest.fixture(autouse=True)
def _own_places(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test session has its own asset folder, so that no test reads or fills a user's cache."""
    monkeypatch.setenv("TOUCHSTONE_CACHE", str(_cache(tmp_path_factory)))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TOUCHSTONE_EXECUTOR", "inline")  # tests/schedule has the others
    if DATA.is_dir():
        monkeypatch.setenv("TOUCHSTONE_DATA", str(DATA))


def _cache(factory: pytest.TempPathFactory) -> Path:
    folder = factory.getbasetemp() / "cache"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def toy_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A toy mirror and toy definitions, found through the environment; returns the folder that holds both."""
    write_mirror(tmp_path / "mirror")
    write_definitions(tmp_path / "suites")
    monkeypatch.setenv("TOUCHSTONE_DATA", str(tmp_path / "mirror"))
    monkeypatch.setenv("TOUCHSTONE_SUITES", str(tmp_path / "suites"))
    monkeypatch.setenv("TOUCHSTONE_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def session(toy_places: Path) -> Session:
    """A session over the toy definitions with an empty store and cache."""
    return Session(Catalog(), Store(toy_places / "results"), Assets(toy_places / "cache"))
