"""Finding adapters and reading method expressions."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import TouchstoneError
from harness.registry import adapter_named, find_adapters, make_adapter, parse_method
from harness.spec import MethodSpec


@pytest.mark.parametrize(
    ("text", "name", "settings"),
    [
        ("bm25", "bm25", {}),
        ("bm25()", "bm25", {}),
        (" bm25( k1 = 1.2 , b=0.75 )", "bm25(b=0.75,k1=1.2)", {"k1": 1.2, "b": 0.75}),
        ("bm25(k1=0.9)", "bm25", {}),
        ("bm25(k1=1)", "bm25(k1=1.0)", {"k1": 1.0}),
        (
            "fusion(methods=bm25(k1=1.2,b=1.0)+bm25,mode=minmax)",
            None,
            {"methods": ["bm25(k1=1.2,b=1.0)", "bm25"], "mode": "minmax"},
        ),
        ('dense(query_prompt="query: ")', 'dense(query_prompt="query: ")', {"query_prompt": "query: "}),
        ('dense(query_prompt="a, b + (c")', None, {"query_prompt": "a, b + (c"}),
        ("tests.toys:Slow(seconds=0.5)", "tests.toys:Slow(seconds=0.5)", {"seconds": 0.5}),
    ],
)
def test_expressions(text: str, name: str | None, settings: dict[str, object]) -> None:
    spec = parse_method(text)
    assert dict(spec.settings) == settings
    assert name is None or spec.name == name
    assert parse_method(spec.expression) == spec


@given(st.floats(0, 10, allow_nan=False), st.floats(0, 1, allow_nan=False))
def test_expressions_come_back(k1: float, b: float) -> None:
    spec = parse_method(f"bm25(k1={k1!r},b={b!r})")
    made = make_adapter(spec).settings
    assert (made.k1, made.b) == (k1, b)
    assert parse_method(spec.expression) == spec


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("bm52", "unknown method 'bm52'; did you mean 'bm25'?"),
        ("bm25(k=1)", "unknown key 'k'; did you mean 'k1'?"),
        ("bm25(k1=high)", "expected a number, got 'high'"),
        ("bm25(k1=1,k1=2)", "the setting 'k1' is given twice"),
        ("bm25(k1)", "'k1' is not key=value"),
        ("bm25(k1=1", "the closing bracket is missing"),
        ("bm25(variant=bm26)", "did you mean 'bm25l'?"),
        ("no.such.module:Thing", "cannot import the method"),
        ("tests.toys:TOPICS", "is not an Adapter"),
    ],
)
def test_mistakes(text: str, says: str) -> None:
    with pytest.raises(TouchstoneError) as caught:
        parse_method(text)
    assert says in caught.value.line


def test_a_users_own_module_beside_the_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Path(__file__).with_name("toys.py").read_text()
    (tmp_path / "my_own_retriever.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert adapter_named("my_own_retriever:Slow").name == "slow"


def test_a_broken_file_stops_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import adapters

    (tmp_path / "broken_one.py").write_text("import no_such_package\n")
    monkeypatch.setattr(adapters, "__path__", [*adapters.__path__, str(tmp_path)])
    find_adapters.cache_clear()
    try:
        found = find_adapters()
        assert "bm25" in found.adapters
        assert "no_such_package" in found.broken["adapters.broken_one"]
        with pytest.raises(TouchstoneError, match=r"adapters\.broken_one does not import"):
            adapter_named("broken-one")
    finally:
        find_adapters.cache_clear()


def test_entry_points_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "other_bench-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-bench\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[touchstone.adapters]\nslow = tests.toys:Slow\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    find_adapters.cache_clear()
    try:
        assert find_adapters().adapters["slow"].__name__ == "Slow"
    finally:
        find_adapters.cache_clear()


def test_settings_of_a_stored_spec_are_checked() -> None:
    with pytest.raises(TouchstoneError, match="unknown key"):
        make_adapter(MethodSpec("x", "bm25", {"kk": 1}))
