"""Readings of this process and of its devices: peak memory, and joules where a counter tells."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RAPL = Path("/sys/class/powercap")


@dataclass(frozen=True)
class Readings:
    """What a stretch of work took, in bytes and joules; None where nothing tells.

    peak_device: what torch reserved on the accelerator. joules: by part of the machine ("gpu", "cpu"), each
    counted for the whole part, whatever else ran on it.
    """

    peak_memory: int
    peak_device: int | None = None
    joules: Mapping[str, float] | None = None


class Gauges:
    """Readings since the start or since the last ``read``, on the device of a run."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._energy = _energy(device)
        _reset_peaks(device)

    def read(self) -> Readings:
        """The peak memory since the start, and the joules since the last reading."""
        energy = _energy(self._device)
        spent = {part: energy[part].since(before) for part, before in self._energy.items() if part in energy}
        self._energy = energy
        return Readings(peak_memory_bytes(), _peak_device(self._device), spent or None)


def peak_memory_bytes() -> int:
    """The most resident memory this process has held since the last reset (since its start where it cannot
    be reset).
    """
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _reset_peaks(device: str) -> None:
    """Start counting the peaks anew, where the system allows it (Linux)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    cuda = _cuda(device)
    if cuda is not None and cuda.is_initialized():
        cuda.reset_peak_memory_stats(device)


def _peak_device(device: str) -> int | None:
    cuda = _cuda(device)
    if cuda is None:
        return None
    return int(cuda.max_memory_reserved(device)) if cuda.is_initialized() else 0


def _cuda(device: str) -> Any:
    """``torch.cuda`` when the run is on CUDA and something has loaded torch."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and device.startswith("cuda") else None


@dataclass(frozen=True)
class Counter:
    """Joules counted up to now, by counter; a counter wraps round at its range (0: never)."""

    joules: tuple[float, ...]
    ranges: tuple[float, ...]

    def since(self, before: Counter) -> float:
        """Joules from *before* until this reading."""
        total = 0.0
        for now, then, span in zip(self.joules, before.joules, self.ranges, strict=True):
            total += now - then + (span if now < then else 0.0)
        return total


def _energy(device: str) -> dict[str, Counter]:
    """The energy counters that can be read here: the device's by NVML, the processor packages' by RAPL."""
    found = {"cpu": _rapl(RAPL)}
    if device.startswith("cuda"):
        found["gpu"] = _nvml(device)
    return {part: counter for part, counter in found.items() if counter is not None}


def _rapl(root: Path) -> Counter | None:
    """The packages' counters (not those of their parts), None when none can be read."""
    joules, ranges = [], []
    for folder in sorted(root.glob("intel-rapl:[0-9]*")):
        if folder.name.count(":") == 1:
            with suppress(OSError, ValueError):
                now = int((folder / "energy_uj").read_text()) / 1e6
                ranges.append(int((folder / "max_energy_range_uj").read_text()) / 1e6)
                joules.append(now)
    return Counter(tuple(joules), tuple(ranges)) if joules else None


def _nvml(device: str) -> Counter | None:
    """The card's counter, None without nvidia-ml-py, a driver or such a counter."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        card = _visible(device)
        by_uuid = card.startswith(("GPU-", "MIG-"))
        handle = (
            pynvml.nvmlDeviceGetHandleByUUID(card)
            if by_uuid
            else pynvml.nvmlDeviceGetHandleByIndex(int(card))
        )
        return Counter((pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000,), (0.0,))
    except (pynvml.NVMLError, ValueError):
        return None


def _visible(device: str) -> str:
    """The card that CUDA means by ``cuda:1``: CUDA_VISIBLE_DEVICES renumbers them."""
    number = int(device.partition(":")[2] or 0)
    listed = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return listed[number] if number < len(listed) else str(number)


def free_bytes(device: str) -> int:
    """Memory that is free on a device; 0 where the system does not say."""
    if device.partition(":")[0] == "cuda":
        import torch

        free: int = torch.cuda.mem_get_info(torch.device(device))[0]
        # What torch holds in reserve for itself is free too.
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    info = Path("/proc/meminfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable")), 0)
