"""The direction of dependencies, and that nothing heavy is imported before it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# A module imports from its own layer or from those below it; functions may import lazily under the same rule.
LAYERS = (
    {"errors", "spec", "meter", "gauges", "modes", "answers", "qrels", "strict", "parallel"},
    {
        "assets",
        "cache",
        "measures",
        "trec_measures",
        "trec",
        "trec_lines",
        "stats",
        "scores",
        "format",
        "ranking",
        "standings",
        "data",
        "java",
        "lucene",
        "kilt_scores",
        "filtering",
        "mixtures",
        "fuse",
        "fm_index",
        "ngrams",
        "best_numba",
        "search",
        "search_numba",
        "trec_numba",
    },
    {
        "tasks",
        "models",
        "vectors",
        "adapter",
        "dense",
        "judges",
        "prompt_index",
        "prompt_reps",
        "late_interaction",
        "semantic_tree",
        "tree_search",
        "folds",
        "lucene_adapter",
        "training",
        "sparse",
        "sparse_numba",
        "impacts",
        "bm25",
        "sparse_models",
        "sparse_training",
    },
    {"registry", "catalog", "record", "shards", "store", "walk"},
    {"execute"},
    {"schedule"},
    {
        "columns",
        "plan",
        "missing",
        "timed",
        "batch_check",
        "wanted",
        "compare",
        "flips",
        "leaderboard",
        "doctor",
        "plots",
        "drawing",
        "schema",
        "model_cards",
    },
    {"regression", "exchange", "submission", "pages", "publish"},
    {"cli"},
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
MODULES = sorted(
    path for path in (ROOT / "harness").rglob("*.py") if path.name != "__init__.py" or "cli" in path.parts
)


def top(path: Path) -> str:
    """The top-level name of a module below harness/."""
    return path.relative_to(ROOT / "harness").parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """The modules that a file imports, at any depth."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def is_type_only(path: Path, name: str) -> bool:
    """Whether *name* is imported under TYPE_CHECKING only."""
    tree = ast.parse(path.read_text())
    guarded = [
        node for node in tree.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    ]
    return any(name in ast.unparse(node) for node in guarded)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_dependencies_point_one_way(path: Path) -> None:
    own = top(path)
    assert own in LEVEL, f"{own} has no layer"
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "harness" and len(parts) > 1 and parts[1] in LEVEL:
            assert LEVEL[parts[1]] <= LEVEL[own] or is_type_only(path, name), f"{own} imports {name}"
        assert parts[0] != "adapters" or own == "registry", f"{own} imports {name}"


@pytest.mark.parametrize(
    "path", sorted((ROOT / "adapters").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_adapters_never_import_each_other(path: Path) -> None:
    assert not [name for name in imported(path) if name.split(".")[0] == "adapters"]


HEAVY = (
    "torch",
    "transformers",
    "pandas",
    "scipy",
    "pyarrow",
    "numpy",
    "bm25s",
    "pyserini",
    "datasets",
    "ir_datasets",
    "jinja2",
    "rich",
    "yaml",
)


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        ("from harness.cli import group; group.main(['--help'], standalone_mode=False)", ()),
        (
            "from harness.registry import find_adapters; assert not find_adapters().broken",
            ("numpy", "pyarrow", "yaml"),
        ),
    ],
)
def test_nothing_heavy_is_imported_early(statement: str, allowed: tuple[str, ...]) -> None:
    code = f"{statement}\nimport sys\nprint('LOADED', *sorted(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.splitlines()[-1].split()[1:]
    assert set(loaded) <= set(allowed)
