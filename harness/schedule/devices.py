"""What ``--devices`` means on this machine."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from harness.errors import TouchstoneError
from harness.schedule.jobs import Device, DeviceKind

UNITS = {
    "": 1,
    "k": 10**3,
    "m": 10**6,
    "g": 10**9,
    "t": 10**12,
    "ki": 2**10,
    "mi": 2**20,
    "gi": 2**30,
    "ti": 2**40,
}
FAKE = re.compile(r"(?:fake:)?(\d+)x([\d.]+)\s*([kmgt]?i?)b?", re.IGNORECASE)
USABLE = 0.95  # the share of a memory that runs may claim


def parse_devices(text: str) -> list[Device]:
    """``cpu``, ``all`` (every card, and the cpu for what needs none), ``0,1`` (these cards and the cpu), or
    ``fake:4x80GiB``: four shares of this machine that are scheduled as cards of 80 GiB.
    """
    if text.startswith("fake:"):
        return fake_devices(text, "fake")
    if text == "cpu":
        return [cpu()]
    cards = gpus()
    if text == "all":
        return [cpu(), *cards]
    wanted = [part.strip() for part in text.split(",")]
    known = {card.id: card for card in cards}
    for name in wanted:
        if name not in known:
            raise TouchstoneError(
                f"no card '{name}' here",
                where=f"--devices {text}",
                why=f"cards: {', '.join(known)}" if known else "nvidia-ml-py and torch see none",
                fix="cpu, all, card numbers such as 0,1, or fake:4x80GiB",
            )
    return [cpu(), *(known[name] for name in dict.fromkeys(wanted))]


def fake_devices(text: str, kind: DeviceKind = "gpu") -> list[Device]:
    """``8x80GiB`` as devices, eight a node."""
    match = FAKE.fullmatch(text)
    if match is None or not int(match[1]) or not float(match[2]):
        raise TouchstoneError(f"'{text}' is no number of devices", fix="write it as fake:4x80GiB")
    size = int(float(match[2]) * UNITS[match[3].lower()])
    return [Device(f"{kind}{n}", kind, size, f"node{n // 8}") for n in range(int(match[1]))]


def cpu(node: str = "here") -> Device:
    """The processor of this machine, with its memory or what its control group leaves of it."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):
        total = min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return Device("cpu", "cpu", int(total * USABLE), node)


def gpus(node: str = "here") -> list[Device]:
    """The cards that CUDA_VISIBLE_DEVICES leaves, with their memory, by NVML, else by torch."""
    if not Path("/dev/nvidia0").exists() or os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return []
    listed = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    try:
        import pynvml

        pynvml.nvmlInit()
        names = listed or [str(n) for n in range(pynvml.nvmlDeviceGetCount())]
        sizes = []
        for name in names:
            by_uuid = name.startswith(("GPU-", "MIG-"))
            find = pynvml.nvmlDeviceGetHandleByUUID if by_uuid else pynvml.nvmlDeviceGetHandleByIndex
            sizes.append(int(pynvml.nvmlDeviceGetMemoryInfo(find(name if by_uuid else int(name))).total))
    except Exception:  # no package, no library, no permission: torch may still know
        with suppress(ImportError):
            import torch

            count = torch.cuda.device_count()
            names = listed[:count] or [str(n) for n in range(count)]
            sizes = [int(torch.cuda.get_device_properties(n).total_memory) for n in range(count)]
            return [Device(i, "gpu", int(s * USABLE), node) for i, s in zip(names, sizes, strict=True)]
        return []
    return [Device(name, "gpu", int(size * USABLE), node) for name, size in zip(names, sizes, strict=True)]
