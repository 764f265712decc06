"""The site's pictures as SVG, drawn by matplotlib: text stays text, colours are the page's, light or dark.

Each function gives a whole ``<svg>`` element with a title and a description for those who do not see it.
"""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from markupsafe import Markup

from harness.plots import (
    BOTTOM,
    CROWD,
    HEIGHT,
    LEFT,
    NAMED,
    RIGHT,
    TOP,
    WIDTH,
    Frame,
    Scale,
    Spot,
    frame,
    points_of,
    score_levels,
)
from harness.scores import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SVG = "http://www.w3.org/2000/svg"
HREF = "{http://www.w3.org/1999/xlink}href"
# Colours while drawing, and the classes of the style sheet that they become.
INK, QUIET, LINE, ACCENT = "#010101", "#020202", "#030303", "#040404"
SHADES = ("#050501", "#050502", "#050503", "#050504", "#050505")
CLASSES = {INK: "ink", QUIET: "quiet", LINE: "line", ACCENT: "accent"} | {
    colour: f"shade-{number}" for number, colour in enumerate(SHADES)
}
DROPPED = {f"{{{SVG}}}{tag}" for tag in ("style", "metadata", "clipPath")}  # nothing is drawn outside
TEXTS = {f"{{{SVG}}}{tag}" for tag in ("text", "tspan")}
KEPT = ("fill", "stroke", "stroke-width", "opacity", "text-anchor", "font-size", "stroke-dasharray")


@dataclass(frozen=True)
class Words:
    """What a picture is called and says. name: unique on its page, used in ids."""

    name: str
    title: str
    description: str


def scatter(spots: Sequence[Spot], scale: Scale, name: str) -> Markup:
    """Quality against a cost, one or more *spots*; up is better, left is cheaper."""
    axes = frame((spot.summary for spot in spots), [spot.cost for spot in spots], scale.marks)
    points = points_of(spots, axes)
    front = sorted((p for p in points if p.front), key=lambda p: p.x)
    few = front if len(points) > NAMED else sorted(points, key=lambda p: p.y)
    told = "; ".join(
        f"{p.spot.name}: {p.spot.summary.value:.3f}, {scale.text(p.spot.cost)}" for p in few[:40]
    )
    figure, ax = _canvas(axes)
    for chosen, colour in ((False, QUIET), (True, ACCENT)):
        some = [p for p in points if p.front == chosen]
        if len(points) <= CROWD or chosen:
            ax.vlines(
                [p.x for p in some],
                [p.y_low for p in some],
                [p.y_high for p in some],
                colour,
                lw=1.5,
                alpha=0.7,
            )
        ax.plot(
            [p.x for p in some],
            [p.y for p in some],
            "o",
            ms=9 if len(points) <= CROWD else 5,
            mec="none",
            c=colour,
        )
    ax.step([p.x for p in front], [p.y for p in front], where="post", color=ACCENT, lw=1, ls=(0, (3, 3)))
    for point in points:
        if point.label:
            ax.text(
                point.label_x,
                point.label_y,
                point.label,
                color=INK,
                fontsize=13,
                ha="right" if point.leftward else "left",
                parse_math=False,
            )
    ax.text(WIDTH - RIGHT, HEIGHT - 6, scale.label, color=QUIET, fontsize=12, ha="right")
    return _svg(figure, Words(name, scale.title, told + "."))


def shares(rows: Mapping[str, Sequence[float]], steps: Sequence[str], words: Words) -> Markup:
    """Stacked bars: for each name how its items spread over the *steps* of the score, together 1."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle
    from matplotlib.transforms import Affine2D

    height = 26.0 * len(rows) + 46.0
    figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=72)
    # Straight on the figure, across as a share and down in pixels: axes take half of the time of a picture.
    across = 0.7 * WIDTH / 1.025
    place = Affine2D().scale(across, -1.0).translate(0.3 * WIDTH + 0.005 * across, height)

    def bar(x: float, y: float, wide: float, high: float, shade: str) -> None:
        box = Rectangle((x, y - high / 2), wide, high, color=shade, ec="none", transform=place)
        figure.add_artist(box)

    for row, (name, parts) in enumerate(rows.items()):
        y, x = 26.0 * row + 16.0, 0.0
        for shade, part in zip(SHADES, parts, strict=True):
            bar(x, y, part, 18.0, shade)
            x += part
        text = name if len(name) <= 24 else name[:23] + "…"
        figure.text(
            -0.012, y + 4, text, color=INK, fontsize=13, ha="right", parse_math=False, transform=place
        )
    for number, (shade, step) in enumerate(zip(SHADES, steps, strict=True)):
        x = number / len(steps)
        bar(x, height - 20, 0.022, 12.0, shade)
        figure.text(x + 0.03, height - 16, step, color=QUIET, fontsize=12, transform=place)
    return _svg(figure, words)


def history(points: Sequence[tuple[str, Summary]], words: Words) -> Markup:
    """A number over runs: (day as YYYY-MM-DD, score) oldest first, two or more; bars are its intervals."""
    days = [date.fromisoformat(day[:10]).toordinal() for day, _ in points]
    if len(set(days)) < len(days):  # runs of one day stand one after the other
        days = list(range(len(points)))
    levels = score_levels(summary for _, summary in points)
    axes = frame((summary for _, summary in points), [1.0], ((1.0, ""), (10.0, "")))
    span = max(1, days[-1] - days[0])
    xs = [LEFT + 40 + (day - days[0]) / span * (WIDTH - LEFT - RIGHT - 80) for day in days]
    figure, ax = _canvas(Frame(axes.across, axes.up, (), axes.y_ticks))
    assert len(levels) == len(axes.y_ticks)
    for x, (_, summary) in zip(xs, points, strict=True):
        ax.vlines(x, axes.up.at(summary.low), axes.up.at(summary.high), QUIET, lw=1.5, alpha=0.7)
    ax.plot(
        xs, [axes.up.at(summary.value) for _, summary in points], "-o", color=ACCENT, ms=8, mec="none", lw=1.5
    )
    last = -1e9
    for x, (day, _) in zip(xs, points, strict=True):
        if x - last > 90:
            ax.text(x, HEIGHT - BOTTOM + 18, day[:10], color=QUIET, fontsize=12, ha="center")
            last = x
    return _svg(figure, words)


def _canvas(axes: Frame) -> tuple[Figure, Axes]:
    """A figure whose coordinates are pixels from the top left, with the lines and labels of *axes*."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH / 72, HEIGHT / 72), dpi=72)
    ax = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    ax.set(xlim=(0, WIDTH), ylim=(HEIGHT, 0))
    ax.axis("off")
    for tick in axes.y_ticks:
        ax.hlines(tick.place, LEFT, WIDTH - RIGHT, LINE, lw=1)
        ax.text(LEFT - 8, tick.place + 4, tick.label, color=QUIET, fontsize=12, ha="right")
    for tick in axes.x_ticks:
        ax.vlines(tick.place, TOP, HEIGHT - BOTTOM, LINE, lw=1)
        ax.text(tick.place, HEIGHT - BOTTOM + 18, tick.label, color=QUIET, fontsize=12, ha="center")
    return figure, ax


def _svg(figure: Figure, words: Words) -> Markup:
    """The figure as one element: ids of its own, classes for colours, nothing that a page has already."""
    import matplotlib

    buffer = io.BytesIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with matplotlib.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": words.name, "text.parse_math": False}
    ):
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    root = ET.fromstring(buffer.getvalue())
    used = {element.get(HREF, "")[1:] for element in root.iter()}
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in DROPPED:
                parent.remove(child)
    for element in root.iter():
        _plain(element, used, words.name)
    width, height = (float(number) for number in root.get("viewBox", "").split()[2:])
    root.attrib.clear()
    root.attrib |= {
        "class": "plot",
        "viewBox": f"0 0 {width:g} {height:g}",
        "role": "img",
        "aria-labelledby": f"{words.name}-title {words.name}-words",
    }
    for place, (tag, end, text) in enumerate(
        (("title", "title", words.title), ("desc", "words", words.description))
    ):
        told = ET.Element(f"{{{SVG}}}{tag}", {"id": f"{words.name}-{end}"})
        told.text = text
        root.insert(place, told)
    ET.register_namespace("", SVG)
    return Markup(ET.tostring(root, encoding="unicode"))


def _plain(element: ET.Element, used: set[str], name: str) -> None:
    """Style as attributes and classes, ids only where they are referred to, no space between elements."""
    if element.tag not in TEXTS:
        element.text = None
    element.tail = None
    style = dict(part.split(": ", 1) for part in element.attrib.pop("style", "").split("; ") if ": " in part)
    colours = [f"{what}-{CLASSES[style[what]]}" for what in ("fill", "stroke") if style.get(what) in CLASSES]
    held = {key: value for key, value in style.items() if key in KEPT and not value.startswith("#")}
    element.attrib |= held | ({"class": " ".join(colours)} if colours else {})
    element.attrib.pop("clip-path", None)
    if element.get("transform", "").startswith("rotate(-0"):
        del element.attrib["transform"]
    if "d" in element.attrib:
        element.set("d", " ".join(element.get("d", "").split()))
    if (own := element.attrib.pop("id", "")) and own in used:
        element.set("id", f"{name}-{own}")
    if HREF in element.attrib:
        element.set("href", f"#{name}-{element.attrib.pop(HREF)[1:]}")
