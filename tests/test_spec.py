"""Specs: canonical text, digests, and what may and may not change a run's id."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.spec import Json, Kind, MethodSpec, RunSpec, TaskSpec, canonical, digest

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
TASK = TaskSpec("toy", Kind.RANK, "toy", ("nDCG@10",), depth=10)
RUN = RunSpec(MethodSpec("bm25", "bm25", {"k1": 1.2}), TASK)
MADE: dict[str, Json] = {"code": "c", "bm25s": "1"}


@given(st.dictionaries(st.text(), JSON))
def test_key_order_never_matters(value: dict[str, Json]) -> None:
    backwards = dict(reversed(value.items()))
    assert canonical(value) == canonical(backwards)
    assert digest(value) == digest(backwards)


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        canonical({"x": float("nan")})


@pytest.mark.parametrize(
    "other",
    [
        replace(RUN, seed=1),
        replace(RUN, limit=5),
        replace(RUN, method=MethodSpec("bm25", "bm25", {"k1": 1.3})),
        replace(RUN, method=MethodSpec("bm25", "bm25x", {"k1": 1.2})),
        replace(RUN, task=replace(TASK, depth=20)),
        replace(RUN, task=replace(TASK, dataset="other")),
        replace(RUN, task=replace(TASK, group="part")),
    ],
)
def test_what_changes_answers_changes_the_id(other: RunSpec) -> None:
    assert other.run_id(MADE, "data") != RUN.run_id(MADE, "data")


def test_code_libraries_and_data_change_the_id() -> None:
    ids = {
        RUN.run_id(MADE, "data"),
        RUN.run_id(MADE, "other"),
        RUN.run_id({**MADE, "code": "d"}, "data"),
        RUN.run_id({}, "data"),
    }
    assert len(ids) == 4


def test_labels_and_measures_do_not() -> None:
    renamed = replace(
        RUN, method=replace(RUN.method, name="mine"), task=replace(TASK, title="T", measures=("AP",))
    )
    assert renamed.run_id(MADE, "data") == RUN.run_id(MADE, "data")


def test_shots_count_for_choices_only() -> None:
    choose = TaskSpec("quiz", Kind.CHOOSE, "quiz", ("Acc",))
    assert choose.identity != replace(choose, shots=5).identity
    assert choose.identity == replace(choose, depth=7).identity


def test_the_command_can_be_typed() -> None:
    assert (
        replace(RUN, seed=3, limit=7).command
        == "touchstone run --task toy --method 'bm25(k1=1.2)' --seed 3 --limit 7"
    )
    fused = MethodSpec("f", "fusion", {"methods": ["bm25(k1=1.2)", "dense"], "mode": "minmax"})
    assert fused.expression == "fusion(methods=bm25(k1=1.2)+dense,mode=minmax)"
