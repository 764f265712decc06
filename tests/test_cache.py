"""What the asset folder holds: listed, explained, checked, kept within a size."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness import assets as assets_module
from harness.assets import Assets
from harness.cache import Difference, collect, entries, nearest, size_limit, verify
from harness.cli import group
from harness.errors import TouchstoneError
from harness.execute import Session
from harness.spec import Json
from tests.models.tiny import write_encoder
from tests.needs import needs
from tests.test_execute import run


def fill(root: Path, key: dict[str, Json], size: int, used: float = 0.0, kind: str = "thing") -> Path:
    """An asset of a size, last used at a moment, by nobody who is alive."""

    def make(folder: Path) -> None:
        (folder / "data").write_bytes(b"x" * size)

    path = Assets(root).get_or_make(kind, key, make).path
    use = path.with_suffix(".use")
    assets_module._HELD.pop(use).close()
    if used:
        os.utime(use, (used, used))
        os.utime(path, (used, used))
    return path


def test_assets_are_listed_with_what_they_are(tmp_path: Path) -> None:
    fill(tmp_path, {"model": "mini", "role": "query", "corpus": "abc"}, 1000, kind="vectors")
    fill(tmp_path, {"a": 1}, 10, used=1000.0)
    with pytest.raises(ValueError, match="no"):
        Assets(tmp_path).get_or_make("thing", {"a": 2}, lambda folder: _fail(folder))
    kinds = [(entry.kind, entry.state) for entry in entries(tmp_path)]
    assert sorted(kinds) == [("thing", "ready"), ("thing", "unfinished"), ("vectors", "ready")]
    assert kinds[-1] == ("thing", "ready")  # the one not used for longest
    vectors = next(entry for entry in entries(tmp_path) if entry.kind == "vectors")
    assert vectors.what == "mini, query"
    assert 1000 <= vectors.bytes < 2000
    assert entries(tmp_path / "none") == []


def _fail(folder: Path) -> None:
    (folder / "half").write_text("x")
    raise ValueError("no")


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    paths = [fill(tmp_path, {"a": age}, 10_000, used=1000.0 + age) for age in (3, 1, 2)]
    done = collect(tmp_path, 25_000)
    assert [entry.key["a"] for entry in done.removed] == [1]
    assert done.bytes_left <= 25_000
    assert [path.exists() for path in paths] == [True, False, True]
    Assets(tmp_path).get_or_make("thing", {"a": 2}, lambda _f: pytest.fail("it is there"))
    assert [entry.key["a"] for entry in collect(tmp_path, 15_000).removed] == [3]


def test_what_is_in_use_or_being_made_stays(tmp_path: Path) -> None:
    used = fill(tmp_path, {"a": 1}, 5000, used=1000.0)
    code = (
        "import sys; from pathlib import Path; from harness.assets import Assets; "
        "Assets(Path(sys.argv[1])).get_or_make('thing', {'a': 1}, None); print('holds', flush=True); "
        "Assets(Path(sys.argv[1])).get_or_make('thing', {'a': 2}, "
        "lambda f: (f / 'part').write_text('x') and print('makes', flush=True) or sys.stdin.read(1))"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], text=True, stdout=subprocess.PIPE, stdin=subprocess.PIPE
    )
    assert other.stdout is not None
    assert [other.stdout.readline().strip() for _ in range(2)] == ["holds", "makes"]
    done = collect(tmp_path, 0)
    assert done.removed == () and len(done.kept_in_use) == 2
    assert used.exists() and list(tmp_path.glob("thing/*.partial/part"))
    other.kill()  # kill -9: what it held and made is nobody's now
    other.communicate()
    assert len(collect(tmp_path, 0).removed) == 2
    assert not used.exists() and entries(tmp_path) == []


def test_a_limit_in_the_environment_holds_after_every_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = fill(tmp_path, {"a": 1}, 50_000, used=1000.0)
    monkeypatch.setenv("TOUCHSTONE_CACHE_LIMIT", "60 kB")
    new = Assets(tmp_path).get_or_make("thing", {"a": 2}, lambda folder: _write(folder, 40_000)).path
    assert new.exists() and not old.exists()
    Assets(tmp_path).get_or_make("thing", {"a": 3}, lambda folder: _write(folder, 40_000))
    assert new.exists()  # this process has asked for it


def _write(folder: Path, size: int) -> None:
    (folder / "data").write_bytes(b"x" * size)


@pytest.mark.parametrize(
    ("text", "size"), [("20GB", 20e9), ("1.5 kB", 1500), ("7", 7), ("500 MB", 5e8), ("2T", 2e12)]
)
def test_sizes(text: str, size: float) -> None:
    if text == "2T":
        with pytest.raises(TouchstoneError, match="not a size"):
            size_limit(text)
    else:
        assert size_limit(text) == size


@pytest.mark.parametrize(("text", "says"), [("", "no size is given"), ("much", "not a size: 'much'")])
def test_bad_sizes(text: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOUCHSTONE_CACHE_LIMIT", raising=False)
    with pytest.raises(TouchstoneError, match=says) as caught:
        size_limit(text)
    assert "20GB" in caught.value.line


def test_changed_missing_and_unhashed_files_are_seen(tmp_path: Path) -> None:
    path = fill(tmp_path, {"a": 1}, 100)
    (entry,) = entries(tmp_path)
    assert verify(entry) == []
    (path / "data").write_bytes(b"y" * 100)
    assert verify(entry) == ["data was changed"]
    (path / "data").unlink()
    assert verify(entry) == ["data is missing"]
    meta = json.loads((path / "asset.json").read_text())
    del meta["files"]
    (path / "asset.json").write_text(json.dumps(meta))
    assert verify(entry) == ["made before hashes were kept"]


def test_the_nearest_key_and_the_fields_that_differ(tmp_path: Path) -> None:
    fill(tmp_path, {"encoder": {"model": "a", "code": 1}, "corpus": "x"}, 1)
    fill(tmp_path, {"encoder": {"model": "a", "code": 2}, "corpus": "y"}, 1)
    fill(tmp_path, {"encoder": {"model": "a", "code": 3}, "corpus": "x"}, 1, kind="other")
    found = nearest({"encoder": {"model": "a", "code": 3}, "corpus": "y"}, "thing", entries(tmp_path))
    assert found is not None
    assert found[1] == [Difference("encoder.code", 3, 2)]
    assert found[0].key["corpus"] == "y"
    assert nearest({"a": 1}, "none", entries(tmp_path)) is None


def call(*arguments: str) -> Result:
    return CliRunner().invoke(group, ["cache", *arguments])


def test_the_commands(session: Session) -> None:
    run(session, "fusion(methods=bm25+random)")
    listed = call("ls")
    assert listed.exit_code == 0, listed.output
    assert "bm25 " in listed.output and "answers" in listed.output and "fusion(methods=bm25" in listed.output
    assert "assets, " in listed.output
    assert "corpus" not in call("ls", "--kind", "answers").output
    sound = call("verify")
    assert sound.exit_code == 0 and " assets sound" in sound.output
    kept = call("gc", "--limit", "1")
    assert kept.exit_code == 0 and "in use, kept" in kept.output
    path = next(session.assets.root.glob("answers/*/answers.npz"))
    path.write_bytes(b"")
    broken = call("verify")
    assert broken.exit_code == 0 or broken.return_value == 1
    assert "answers.npz was changed" in broken.output


@needs("torch")
def test_why_names_the_field_that_differs(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = ["--results", str(session.store.root), "--device", "cpu"]
    method = f"dense(model={write_encoder(tmp_path / 'encoder')})"
    record = run(session, method)
    same = call("why", record.id, *results)
    assert same.exit_code == 0, same.output
    assert "the same run as the stored" in same.output
    assert same.output.count(": ready") == 1  # the answers, and so nothing else is asked for
    monkeypatch.setattr("harness.models.encoder.CODE_VERSION", 999)
    other = call("why", record.id, *results)
    assert f"stored as {record.id}, today it is" in other.output
    assert "encoder.code: it was 2, now 999" in other.output
    assert "vectors" in other.output and "encoder.code: wanted 999, it has 2" in other.output
    assert len(list(session.assets.root.glob("vectors/*/asset.json"))) == 2  # nothing was made
    assert not list(session.assets.root.glob("*/*.partial"))


def test_first_stages_are_computed_once_for_all_who_start_from_them(session: Session, tmp_path: Path) -> None:
    log = tmp_path / "log"
    slow = f"tests.toys:Slow(log={log})"
    first = run(session, f"fusion(methods={slow}+bm25)")
    second = run(session, f"fusion(methods={slow}+random)")
    again = Session(session.catalog, session.store, Assets(session.assets.root))
    third = run(again, f"fusion(methods={slow}+random,mode=minmax)")
    itself = run(again, slow)
    assert sorted(log.read_text().split()) == list("012345")
    assert len({record.id for record in (first, second, third, itself)}) == 4
    parts = {json.dumps(r.provenance["made_with"]["parts"][slow]) for r in (first, second, third)}  # type: ignore[index,call-overload]
    assert parts == {json.dumps(itself.id)}
    code = (
        "import sys; from click.testing import CliRunner; from harness.cli import group; "
        "done = CliRunner().invoke(group, sys.argv[1:]); sys.exit(done.exit_code)"
    )
    command = [sys.executable, "-c", code, "run", "--task", "toy", "--results", str(tmp_path / "other")]
    method = f"fusion(methods={slow}+random,k=10)"
    assert subprocess.run([*command, "--method", method], check=False).returncode == 0
    assert len(log.read_text().split()) == 6
