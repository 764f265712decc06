"""Strict YAML: every mistake is one line with file, line and the nearest name."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import TouchstoneError
from harness.record import Record, migrated
from harness.spec import Json, Kind, MethodSpec, RunSpec, TaskSpec
from harness.strict import _locate_plain, convert, from_plain, read_yaml, read_yaml_list

ROOT = Path(__file__).parents[1]


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


@dataclass(frozen=True)
class Inner:
    size: int
    ratio: float = 0.5


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner
    colour: Colour = Colour.RED
    mode: Literal["fast", "slow"] = "fast"
    tags: tuple[str, ...] = ()
    limit: int | None = None
    free: Mapping[str, Json] = field(default_factory=dict)
    either: str | Inner = ""
    on: bool = False


def _write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    return path


def test_every_type_is_read(tmp_path: Path) -> None:
    text = (
        "name: a\ninner: {size: 3, ratio: 2}\ncolour: green\nmode: slow\ntags: [x, y]\nlimit: 4\n"
        "free: {k: [1, {z: null}]}\neither: {size: 1}\non: true\n"
    )
    found = read_yaml(_write(tmp_path, text), Outer)
    assert found == Outer(
        "a", Inner(3, 2.0), Colour.GREEN, "slow", ("x", "y"), 4, {"k": [1, {"z": None}]}, Inner(1), True
    )


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("name: a\nname: b\ninner: {size: 1}\n", 2, "the key 'name' is given twice"),
        ("name: a\ninner:\n  size: 1\n  size: 2\n", 4, "the key 'size' is given twice"),
        ("name: a\ninner: {size: 1}\ncolor: red\n", 3, "unknown key 'color'; did you mean 'colour'?"),
        ("name: a\ninner:\n  sise: 1\n", 3, "unknown key 'sise'; did you mean 'size'?"),
        ("name: 3\ninner: {size: 1}\n", 1, "expected text, got 3"),
        ("name: a\ninner:\n  size: '3'\n", 3, "expected a whole number, got '3'"),
        ("name: a\ninner: {size: true}\n", 2, "expected a whole number, got True"),
        ("name: a\ninner: {size: 1}\non: 1\n", 3, "expected true or false, got 1"),
        ("name: a\ninner: {size: 1}\ncolour: gren\n", 3, "unknown value 'gren'; did you mean 'green'?"),
        ("name: a\ninner: {size: 1}\nmode: [fast]\n", 3, "unknown value"),
        ("name: a\ninner: {size: 1}\ntags: x\n", 3, "expected a list, got 'x'"),
        ("name: a\ninner: 3\n", 2, "expected a mapping of inner fields, got 3"),
        ("inner: {size: 1}\n", 1, "the key 'name' is missing"),
        ("name: [a\n", 2, "not valid YAML"),
    ],
)
def test_mistakes_are_located(tmp_path: Path, text: str, line: int, says: str) -> None:
    with pytest.raises(TouchstoneError) as caught:
        read_yaml(_write(tmp_path, text), Outer)
    assert f"x.yaml:{line}: " in caught.value.line
    assert says in caught.value.line
    assert "\n" not in caught.value.line


def test_empty_and_absent_files(tmp_path: Path) -> None:
    with pytest.raises(TouchstoneError, match="the file is empty"):
        read_yaml(_write(tmp_path, ""), Outer)
    with pytest.raises(TouchstoneError, match="cannot read the file"):
        read_yaml(tmp_path / "absent.yaml", Outer)
    with pytest.raises(TouchstoneError, match="expected a list of entries"):
        read_yaml_list(_write(tmp_path, "name: a\n"), Outer)


def test_plain_values_follow_the_same_rules() -> None:
    assert from_plain({"size": 2}, Inner, "here") == Inner(2)
    with pytest.raises(TouchstoneError, match="here: unknown key 'siz'"):
        from_plain({"siz": 2}, Inner, "here")


@pytest.mark.parametrize(
    "path", sorted((ROOT / "results").glob("**/record.json"))[:8], ids=lambda p: p.parent.name
)
def test_the_short_way_gives_what_the_long_way_gives(path: Path) -> None:
    body = migrated(json.loads(path.read_text()), "here")
    assert from_plain(body, Record, "here") == convert(_locate_plain(body, "here"), Record)


plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(
    st.fixed_dictionaries(
        {"seconds": st.integers() | st.floats(allow_nan=False) | st.text(max_size=2)},
        optional={
            "phases": st.dictionaries(st.text(), st.floats(0, 1)),
            "segments": plain_values,
            "x": plain_values,
        },
    ),
    plain_values,
)
def test_both_ways_take_and_refuse_the_same(cost: dict[str, object], provenance: object) -> None:
    run = RunSpec(MethodSpec("m", "m"), TaskSpec("t", Kind.RANK, "d", ("AP",))).to_json()
    body = {"id": "i", "status": "done", "run": run, "cost": cost, "provenance": {"any": provenance}}
    try:
        expected = convert(_locate_plain(body, "here"), Record)
    except TouchstoneError as error:
        with pytest.raises(TouchstoneError, match=re.escape(error.line)):
            from_plain(body, Record, "here")
        return
    assert from_plain(body, Record, "here") == expected
