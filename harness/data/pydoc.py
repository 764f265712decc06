"""Known-item search over the docstrings of the running Python's standard library: real text on every machine.

A query is the first sentence of a docstring, its one relevant document the rest of that definition: qualified
name, signature and the remaining docstring. The sources are parsed, never imported.
"""

from __future__ import annotations

import ast
import re
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from harness.data.corpus import Document
from harness.data.dataset import Source
from harness.errors import TouchstoneError
from harness.qrels import Qrels
from harness.spec import Json, digest
from harness.trec import QrelsFile

SKIPPED = {
    "test",
    "tests",
    "idlelib",
    "idle_test",
    "site-packages",
    "dist-packages",
    "__pycache__",
    "lib2to3",
    "turtledemo",
}
VERSION = 1  # raise when the way definitions are read changes
QUERIES = 500
MIN_QUERY_WORDS = 5
MIN_REST_WORDS = 12
TEXT_WORDS = 100
SENTENCE = re.compile(r"(?<=[.!?])\s+|\n\s*\n")


@dataclass(frozen=True)
class Definition:
    """A documented module, class or function. name is qualified: module, then what it stands in."""

    name: str
    signature: str
    first: str
    rest: str


@lru_cache(maxsize=1)
def definitions() -> tuple[Definition, ...]:
    """Every definition with a docstring, sorted by name; of equal names the first stands."""
    root = Path(sysconfig.get_path("stdlib"))
    found: dict[str, Definition] = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if SKIPPED.isdisjoint(parts) and parts[0] in sys.stdlib_module_names:
            for definition in _of_module(path, parts):
                found.setdefault(definition.name, definition)
    if len(found) < 1000:
        raise TouchstoneError(
            "the standard library's sources are not here",
            where=str(root),
            fix="install Python with its .py files",
        )
    return tuple(found[name] for name in sorted(found))


@dataclass(frozen=True)
class PydocReader:
    """The definitions as ranking data."""

    @property
    def source(self) -> Source:
        """Nothing but the format."""
        return Source("pydoc")

    def has_corpus(self) -> bool:
        """Every Python has its library."""
        return True

    def corpus_key(self) -> dict[str, Json]:
        """The Python that runs, to the build."""
        return {"python": sys.version, "definitions": VERSION}

    def documents(self) -> Iterator[Document]:
        """One document a definition: the first sentence is left out."""
        for item in definitions():
            yield Document(item.name, item.name, f"{item.signature}\n{item.rest}".strip(), item.name)

    def queries(self) -> dict[str, str]:
        """The first sentences of QUERIES definitions, chosen by digest; each opens one docstring only."""
        openings = Counter(item.first for item in definitions())
        fit = [
            item
            for item in definitions()
            if openings[item.first] == 1
            and len(item.first.split()) >= MIN_QUERY_WORDS
            and len(item.rest.split()) >= MIN_REST_WORDS
        ]
        chosen = sorted(fit, key=lambda item: digest(item.name))[:QUERIES]
        return {item.name: item.first for item in sorted(chosen, key=lambda item: item.name)}

    def judgements(self) -> QrelsFile:
        """A query and its one relevant document share the definition's name."""
        names = tuple(self.queries())
        each = np.arange(len(names), dtype=np.int32)
        return QrelsFile(names, pa.array(names), Qrels.build(len(names), each, each, np.ones_like(each)))

    def texts(self) -> list[tuple[str, str]]:
        """The docstrings of at least TEXT_WORDS words, whole: prose to predict."""
        whole = ((item.name, f"{item.first}\n\n{item.rest}") for item in definitions())
        return [(name, text) for name, text in whole if len(text.split()) >= TEXT_WORDS]

    def excluded(self) -> Mapping[str, tuple[str, ...]]:
        """Nothing."""
        return {}


def _of_module(path: Path, parts: tuple[str, ...]) -> Iterator[Definition]:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return  # the library ships a few files that are broken on purpose
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    yield from _walk(tree, name)


def _walk(node: ast.AST, name: str) -> Iterator[Definition]:
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        text = ast.get_docstring(node)
        if text:
            first, rest = _split(text)
            yield Definition(name, _signature(node, name), first, rest)
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _walk(child, f"{name}.{child.name}")
        elif isinstance(child, ast.If | ast.Try):
            yield from _walk(child, name)


def _signature(node: ast.AST, name: str) -> str:
    short = name.rpartition(".")[2]
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return f"def {short}({ast.unparse(node.args)})"
    if isinstance(node, ast.ClassDef):
        return f"class {short}({', '.join(ast.unparse(base) for base in node.bases)})"
    return f"module {name}"


def _split(text: str) -> tuple[str, str]:
    first, *rest = SENTENCE.split(text.strip(), maxsplit=1)
    return " ".join(first.split()), rest[0].strip() if rest else ""
