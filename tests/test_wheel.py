"""The wheel alone, in an empty environment outside the checkout, runs the quickstart."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds the wheel with its core dependencies only; returns its bin folder."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "env", with_pip=True)
    binaries = folder / "env" / "bin"
    subprocess.run(
        [binaries / "python", "-m", "pip", "install", "--quiet", str(wheel)], check=True, capture_output=True
    )
    return binaries


def test_quickstart_with_the_core_install(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOUCHSTONE_DATA", raising=False)
    monkeypatch.setenv("TOUCHSTONE_CACHE", str(tmp_path / "cache"))

    def touchstone(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [installed / "touchstone", *args], cwd=tmp_path, capture_output=True, text=True, check=False
        )

    without_torch = subprocess.run(
        [installed / "python", "-c", "import torch"], capture_output=True, check=False
    )
    assert without_torch.returncode != 0

    whole = touchstone("run", "--suite", "quickstart")
    text = " ".join(whole.stdout.split())
    assert whole.returncode == 4, whole.stderr
    assert (
        "dense: dense needs the package torch, which is not installed; pip install 'touchstone-bench[neural]'"
        in text
    )
    assert "1.0000 [1.000, 1.000]" in text

    again = touchstone("run", "--suite", "quickstart", "--available")
    assert again.returncode == 0, again.stderr
    assert {path.parts[-3] for path in tmp_path.glob("results/pydoc/*/*/record.json")} == {
        "bm25",
        "oracle",
        "random",
    }

    site = touchstone("site", "build", "--results", "results", "--out", "site")
    assert site.returncode == 0, site.stderr
    assert (tmp_path / "site" / "index.html").exists()
