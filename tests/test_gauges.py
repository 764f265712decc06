"""Peak memory and energy counters."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from harness import gauges
from harness.gauges import Counter, Gauges


@pytest.fixture
def powercap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two packages as Linux shows them, one of them with a part."""
    for name, joules in (("intel-rapl:0", 100.0), ("intel-rapl:1", 900.0), ("intel-rapl:0:0", 50.0)):
        write(tmp_path / name, joules)
    monkeypatch.setattr(gauges, "RAPL", tmp_path)
    return tmp_path


def write(folder: Path, joules: float) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "energy_uj").write_text(f"{joules * 1e6:.0f}\n")
    (folder / "max_energy_range_uj").write_text("1000000000\n")


def test_joules_of_the_packages_since_the_last_reading(powercap: Path) -> None:
    read = Gauges("cpu")
    write(powercap / "intel-rapl:0", 130.0)
    write(powercap / "intel-rapl:0:0", 70.0)
    assert read.read().joules == {"cpu": pytest.approx(30.0)}
    write(powercap / "intel-rapl:1", 50.0)  # wrapped round at 1000 J
    assert read.read().joules == {"cpu": pytest.approx(150.0)}


def test_no_counter_is_none_and_not_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gauges, "RAPL", tmp_path)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert Gauges("cpu").read().joules is None
    read = Gauges("cuda:0").read()
    assert read.joules is None


@pytest.mark.parametrize(
    ("visible", "device", "card"),
    [
        ("", "cuda:1", "1"),
        ("3,5", "cuda:1", "5"),
        ("3,5", "cuda", "3"),
        ("GPU-ab,GPU-cd", "cuda:1", "GPU-cd"),
    ],
)
def test_the_counter_of_the_visible_card_is_read(
    visible: str, device: str, card: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked, milli = list[str](), iter((5_000, 12_500))

    def handle(name: object) -> str:
        asked.append(str(name))
        return str(name)

    nvml = SimpleNamespace(
        nvmlInit=lambda: None,
        NVMLError=RuntimeError,
        nvmlDeviceGetHandleByUUID=handle,
        nvmlDeviceGetHandleByIndex=handle,
        nvmlDeviceGetTotalEnergyConsumption=lambda _handle: next(milli),
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(gauges, "RAPL", tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert Gauges(device).read().joules == {"gpu": pytest.approx(7.5)}
    assert set(asked) == {card}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts a peak anew")
def test_the_peak_is_that_of_this_stretch() -> None:
    before = np.ones(40_000_000, np.float32)
    del before
    read = Gauges("cpu")
    base = read.read().peak_memory
    now = np.ones(25_000_000, np.float32)
    assert 80e6 < read.read().peak_memory - base < 140e6
    assert len(now)


def test_counters_that_wrap() -> None:
    assert Counter((5.0, 7.0), (100.0, 0.0)).since(Counter((98.0, 4.0), (100.0, 0.0))) == pytest.approx(10.0)
