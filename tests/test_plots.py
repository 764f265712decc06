"""Places of marks: within the picture, in order, readable."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.plots import (
    BOTTOM,
    HEIGHT,
    LEFT,
    LETTER,
    LINE,
    NAMED,
    SECONDS,
    TOP,
    WIDTH,
    Axis,
    Frame,
    Point,
    Spot,
    frame,
    nice_step,
    points_of,
    score_axis,
)
from harness.scores import Summary

unit = st.floats(0, 1)
spots = st.lists(
    st.builds(
        lambda name, seconds, three: Spot(name, name, seconds, Summary(three[1], three[0], three[2], 10)),
        st.text(min_size=1, max_size=40),
        st.floats(0, 1e6),
        st.tuples(unit, unit, unit).map(sorted),
    ),
    min_size=1,
    max_size=20,
)


def drawn(spots: list[Spot]) -> tuple[Frame, tuple[Point, ...]]:
    """The axes and points of a picture against time."""
    axes = frame([spot.summary for spot in spots], [spot.cost for spot in spots], SECONDS)
    return axes, points_of(spots, axes)


@pytest.mark.parametrize(("span", "step"), [(1.0, 0.2), (0.25, 0.05), (0.06, 0.01), (0.0, 2e-7), (7.0, 2.0)])
def test_steps_are_round(span: float, step: float) -> None:
    assert nice_step(span) == pytest.approx(step)


def test_an_axis_places_its_ends_and_keeps_what_is_beyond_inside() -> None:
    axis = Axis(0.4, 0.8, 10, 110)
    assert [axis.at(value) for value in (0.4, 0.6, 0.8, 0.0, 2.0)] == [10, 60, 110, 10, 110]
    assert Axis(1, 100, 0, 100, log=True).at(10) == 50
    assert Axis(0.5, 0.5, 0, 10).at(0.5) == 5


def test_a_score_axis_holds_all_intervals_between_round_numbers() -> None:
    axis = score_axis([Summary(0.5, 0.46, 0.53, 9), Summary(0.6, 0.59, 0.66, 9)], 0, 100)
    assert (axis.low, axis.high) == (0.45, 0.7)
    flat = score_axis([Summary(1.0, 1.0, 1.0, 9)], 0, 100)
    assert flat.low <= 1.0 < flat.high


@given(spots)
def test_everything_is_inside_the_picture(given_spots: list[Spot]) -> None:
    axes, points = drawn(given_spots)
    assert len(points) == len(given_spots)
    for point in points:
        assert LEFT <= point.x <= WIDTH and TOP <= point.y_high <= point.y <= point.y_low <= HEIGHT - BOTTOM
    places = [tick.place for tick in axes.x_ticks]
    assert len(places) >= 2 and places == sorted(places)
    assert len({tick.label for tick in axes.y_ticks}) == len(axes.y_ticks) >= 2
    assert all(point.label for point in points) or len(given_spots) > NAMED
    assert any(point.front and point.label for point in points)


def test_the_front_holds_what_nothing_beats() -> None:
    made = [("slow", 100.0, 0.9), ("fast", 1.0, 0.5), ("beaten", 50.0, 0.4), ("equal", 1.0, 0.5)]
    points = drawn([Spot(n, n, s, Summary(v, v - 0.01, v + 0.01, 9)) for n, s, v in made])[1]
    assert {point.spot.key for point in points if point.front} == {"slow", "fast", "equal"}


def test_names_do_not_cover_each_other() -> None:
    made = [Spot(f"method-{n}", f"method-{n}", 10.0, Summary(0.5 + n / 1000, 0.4, 0.6, 9)) for n in range(6)]
    boxes = [
        (p.label_x - (LETTER * len(p.label) if p.leftward else 0), p.label_y, LETTER * len(p.label))
        for p in drawn(made)[1]
    ]
    for one, other in itertools.combinations(boxes, 2):
        apart = one[0] + one[2] <= other[0] or other[0] + other[2] <= one[0]
        assert apart or abs(one[1] - other[1]) >= LINE - 0.1


def test_long_names_are_cut() -> None:
    point = drawn([Spot("k", "x" * 60, 1.0, Summary(0.5, 0.4, 0.6, 9))])[1][0]
    assert len(point.label) == 32 and point.label.endswith("…")
