"""Floors and ceilings on real data."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.assets import Assets
from harness.catalog import Catalog
from harness.execute import Session
from harness.store import Store
from tests.needs import needs
from tests.test_execute import run


@pytest.fixture
def real(tmp_path: Path) -> Session:
    return Session(Catalog(), Store(tmp_path / "results"), Assets(tmp_path / "cache"))


@needs("data")
@pytest.mark.parametrize(
    ("method", "low", "high"), [("random", 0.24, 0.26), ("majority", 0.24, 0.27), ("oracle", 1.0, 1.0)]
)
def test_on_all_of_mmlu(real: Session, method: str, low: float, high: float) -> None:
    record = run(real, method, "mmlu-0shot")
    accuracy = record.scores["Acc"]
    assert accuracy.n == 14042
    assert low <= accuracy.value <= high
    assert accuracy.low <= accuracy.value <= accuracy.high
    assert "guessing is right 0.2500 of the time" in record.notes


@needs("data")
def test_on_scifact(real: Session) -> None:
    assert run(real, "oracle", "beir/scifact").scores["nDCG@10"].value == 1.0
    assert run(real, "random", "beir/scifact").scores["nDCG@10"].value < 0.02
