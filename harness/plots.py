"""Where the marks of the site's pictures go: numbers only, drawn as SVG by the templates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from harness.scores import Summary

WIDTH, HEIGHT = 720.0, 380.0
LEFT, RIGHT, TOP, BOTTOM = 56.0, 24.0, 16.0, 44.0
LETTER, LINE = 7.0, 15.0  # a label's width a letter, and its height
LONGEST, GAP = 32, 11.0  # letters of a label, and its distance from the point
NAMED = 12  # up to so many points all are named; beyond, only those on the front
Box = tuple[float, float, float, float]  # left, top, right, bottom
SECONDS = (
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
    """A method as a point. key says which; summary its score with interval; seconds its cold time."""

    key: str
    name: str
    seconds: float
    summary: Summary


@dataclass(frozen=True)
class Point:
    """A drawn spot. front: no other method is both faster and better. label is '' when it is not named."""

    spot: Spot
    x: float
    y: float
    y_low: float
    y_high: float
    front: bool
    label: str = ""
    label_x: float = 0.0
    label_y: float = 0.0
    leftward: bool = False


@dataclass(frozen=True)
class Scatter:
    """Quality against cost: points by seconds (log) and score."""

    points: tuple[Point, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    width: float = WIDTH
    height: float = HEIGHT
    left: float = LEFT
    right: float = WIDTH - RIGHT
    top: float = TOP
    bottom: float = HEIGHT - BOTTOM


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


def scatter(spots: Sequence[Spot]) -> Scatter:
    """The picture of *spots* (one or more)."""
    times = [max(spot.seconds, SECONDS[0][0]) for spot in spots]
    first = max((value for value, _ in SECONDS if value <= min(times)), default=SECONDS[0][0])
    last = min((value for value, _ in SECONDS if value >= max(times) and value > first), default=max(times))
    across = Axis(first, last, LEFT + 12, WIDTH - RIGHT - 12, log=True)
    levels = score_levels(spot.summary for spot in spots)
    up = Axis(levels[0], levels[-1], HEIGHT - BOTTOM - 8, TOP + 8)
    digits = max(1, -math.floor(math.log10(levels[1] - levels[0]) + 1e-9))
    points = [_point(spot, spots, across, up) for spot in spots]
    return Scatter(
        _labelled(points),
        tuple(Tick(across.at(value), text) for value, text in SECONDS if first <= value <= last),
        tuple(Tick(up.at(level), f"{level:.{digits}f}") for level in levels),
    )


def _point(spot: Spot, spots: Sequence[Spot], across: Axis, up: Axis) -> Point:
    mine = (spot.summary.value, -spot.seconds)
    others = [(other.summary.value, -other.seconds) for other in spots]
    front = not any(other != mine and other[0] >= mine[0] and other[1] >= mine[1] for other in others)
    s = spot.summary
    return Point(spot, across.at(spot.seconds), up.at(s.value), up.at(s.low), up.at(s.high), front)


def _labelled(points: Sequence[Point]) -> tuple[Point, ...]:
    """Names beside the points, where they cover no other name, point or interval."""
    taken = [(p.x - 7, p.y - 7, p.x + 7, p.y + 7) for p in points]
    taken += [(p.x - 3, p.y_high, p.x + 3, p.y_low) for p in points]
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

    def clear(left: float, y: float) -> bool:
        right, top, bottom = left + wide, y - LINE / 2, y + LINE / 2
        inside = left >= LEFT and right <= WIDTH and top >= TOP and bottom <= HEIGHT - BOTTOM
        return inside and not any(a < right and c > left and b < bottom and d > top for a, b, c, d in taken)

    moves = (sign * step * 3.0 for step in range(40) for sign in (1, -1))
    places = ((left, point.y + move) for move in moves for left in sides)
    fallback = (sides[1] if sides[0] + wide > WIDTH else sides[0], point.y)
    return next((place for place in places if clear(*place)), fallback)
