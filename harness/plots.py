"""Where the marks of the site's pictures go: numbers only; ``drawing`` makes SVG of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.scores import Summary

WIDTH, HEIGHT = 600.0, 360.0
LEFT, RIGHT, TOP, BOTTOM = 56.0, 24.0, 16.0, 44.0
LETTER, LINE = 7.0, 15.0  # a label's width a letter, and its height
LONGEST, GAP = 32, 11.0  # letters of a label, and its distance from the point
CROWD = 60  # points beyond which intervals are drawn for the front only
NAMED = 12  # up to so many points all are named; beyond, only those on the front
Box = tuple[float, float, float, float]  # left, top, right, bottom
SECONDS = (
    (0.00001, "10 µs"),
    (0.0001, "0.1 ms"),
    (0.001, "1 ms"),
    (0.01, "10 ms"),
    (0.1, "0.1 s"),
    (1.0, "1 s"),
    (10.0, "10 s"),
    (60.0, "1 min"),
    (600.0, "10 min"),
    (3600.0, "1 h"),
    (36000.0, "10 h"),
    (360000.0, "100 h"),
    (3600000.0, "1000 h"),
)
BYTES = (
    (1e6, "1 MB"),
    (1e7, "10 MB"),
    (1e8, "100 MB"),
    (1e9, "1 GB"),
    (1e10, "10 GB"),
    (1e11, "100 GB"),
    (1e12, "1 TB"),
)
JOULES = (
    (0.1, "0.1 J"),
    (1.0, "1 J"),
    (10.0, "10 J"),
    (100.0, "100 J"),
    (1e3, "1 kJ"),
    (1e4, "10 kJ"),
    (1e5, "100 kJ"),
    (1e6, "1 MJ"),
    (1e7, "10 MJ"),
)


@dataclass(frozen=True)
class Axis:
    """A stretch of values, drawn from *start* to *end*; log: by the logarithm of the value."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """Where *value* is drawn; values beyond the axis are drawn at its ends."""
        low, high, value = (self._scaled(number) for number in (self.low, self.high, value))
        share = (value - low) / (high - low) if high > low else 0.5
        return round(self.start + min(1.0, max(0.0, share)) * (self.end - self.start), 1)

    def _scaled(self, value: float) -> float:
        return math.log10(max(value, 1e-9)) if self.log else value


@dataclass(frozen=True)
class Tick:
    """A marked place on an axis."""

    place: float
    label: str


@dataclass(frozen=True)
class Spot:
    """A method as a point. key says which; summary: its score; cost: in the unit of the picture."""

    key: str
    name: str
    cost: float
    summary: Summary


@dataclass(frozen=True)
class Scale:
    """What a picture has across: its words, and the marks of its logarithmic axis."""

    title: str
    label: str
    marks: tuple[tuple[float, str], ...]
    text: Callable[[float], str]


@dataclass(frozen=True)
class Point:
    """A drawn spot, its name beside it; label is '' when it is not named."""

    spot: Spot
    x: float
    y: float
    y_low: float
    y_high: float
    front: bool  # no other is both cheaper and better
    label: str = ""
    label_x: float = 0.0
    label_y: float = 0.0
    leftward: bool = False


def nice_step(span: float, most: int = 6) -> float:
    """The smallest of 1, 2, 5 times a power of ten that cuts *span* into at most *most* parts."""
    raw = max(span, 1e-6) / most
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= raw * (1 - 1e-9))


def score_levels(summaries: Iterable[Summary]) -> list[float]:
    """Round numbers at equal steps, from one below all intervals to one above; two or more."""
    held = list(summaries)
    low, high = min(s.low for s in held), max(s.high for s in held)
    step = nice_step(high - low)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 9) for number in range(first, max(last, first + 1) + 1)]


def score_axis(summaries: Iterable[Summary], start: float, end: float) -> Axis:
    """An axis from a round number below all intervals to one above."""
    levels = score_levels(summaries)
    return Axis(levels[0], levels[-1], start, end)


@dataclass(frozen=True)
class Frame:
    """The axes of a picture, and their marks."""

    across: Axis
    up: Axis
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


def frame(summaries: Iterable[Summary], costs: Sequence[float], marks: Sequence[tuple[float, str]]) -> Frame:
    """Axes that hold some scores and, by their logarithm, some costs; one or more of each."""
    smallest = marks[0][0]
    low, high = max(min(costs), smallest), max(max(costs), smallest)
    first = max((value for value, _ in marks if value <= low), default=smallest)
    last = min((value for value, _ in marks if value >= high and value > first), default=high)
    levels = score_levels(summaries)
    digits = max(1, -math.floor(math.log10(levels[1] - levels[0]) + 1e-9))
    across = Axis(first, last, LEFT + 12, WIDTH - RIGHT - 12, log=True)
    up = Axis(levels[0], levels[-1], HEIGHT - BOTTOM - 8, TOP + 8)
    return Frame(
        across,
        up,
        tuple(Tick(across.at(value), text) for value, text in marks if first <= value <= last),
        tuple(Tick(up.at(level), f"{level:.{digits}f}") for level in levels),
    )


def points_of(spots: Sequence[Spot], axes: Frame) -> tuple[Point, ...]:
    """The places of *spots* and of their names."""
    best, front = -math.inf, set()
    for spot in sorted(spots, key=lambda spot: (spot.cost, -spot.summary.value)):
        if spot.summary.value > best or (spot.cost, spot.summary.value) in front:
            best = spot.summary.value
            front.add((spot.cost, spot.summary.value))
    points = []
    for spot in spots:
        x, s = axes.across.at(spot.cost), spot.summary
        middle, low, high = (axes.up.at(value) for value in (s.value, s.low, s.high))
        points.append(Point(spot, x, middle, low, high, (spot.cost, s.value) in front))
    return _labelled(points)


def _labelled(points: Sequence[Point]) -> tuple[Point, ...]:
    """Names beside the points, where they cover no other name, point or interval."""
    front = sorted((p for p in points if p.front), key=lambda p: p.x)
    kept = points if len(points) <= CROWD else front  # a crowd leaves no room beside its points
    taken = [(p.x - 7, p.y - 7, p.x + 7, p.y + 7) for p in kept]
    taken += [(p.x - 3, p.y_high, p.x + 3, p.y_low) for p in kept]
    taken += [(a.x, a.y - 2, b.x, a.y + 2) for a, b in itertools.pairwise(front)]  # the line of the front
    done = []
    for point in sorted(points, key=lambda p: (p.y, p.x, p.spot.name)):
        if len(points) > NAMED and not point.front:
            done.append(point)
            continue
        text = point.spot.name if len(point.spot.name) <= LONGEST else point.spot.name[: LONGEST - 1] + "…"
        left, y = _place(taken, point, LETTER * len(text))
        taken.append((left, y - LINE / 2, left + LETTER * len(text), y + LINE / 2))
        leftward = left < point.x
        label_x = point.x - GAP if leftward else point.x + GAP
        done.append(replace(point, label=text, label_x=label_x, label_y=round(y + 4, 1), leftward=leftward))
    return tuple(done)


def _place(taken: Sequence[Box], point: Point, wide: float) -> tuple[float, float]:
    """Left edge and middle of a free line of text near *point*: beside it, else higher or lower."""
    sides = (point.x + GAP, point.x - GAP - wide)
    lefts, tops, rights, bottoms = np.array(taken).T  # hundreds of boxes, asked up to 160 times

    def clear(left: float, y: float) -> bool:
        right, top, bottom = left + wide, y - LINE / 2, y + LINE / 2
        inside = left >= LEFT and right <= WIDTH and top >= TOP and bottom <= HEIGHT - BOTTOM
        covered = (lefts < right) & (rights > left) & (tops < bottom) & (bottoms > top)
        return inside and not covered.any()

    moves = (sign * step * 3.0 for step in range(40) for sign in (1, -1))
    places = ((left, point.y + move) for move in moves for left in sides)
    fallback = (sides[1] if sides[0] + wide > WIDTH else sides[0], point.y)
    return next((place for place in places if clear(*place)), fallback)
