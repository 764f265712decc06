"""A schedule as a picture: devices down, time across, a bar a run, a colour a model."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from html import escape

from harness.format import duration
from harness.schedule.jobs import Device
from harness.schedule.simulate import Span, makespan

WIDTH, ROW, LEFT, TOP, ROWS = 1000, 22, 150, 44, 64


def gantt_svg(devices: Sequence[Device], spans: Sequence[Span], title: str = "Schedule") -> str:
    """SVG of the first ROWS devices. Runs that share a device lie below one another; the darker start of a
    bar is loading and building.
    """
    shown = devices[:ROWS]
    whole = makespan(spans) or 1.0
    height = TOP + ROW * len(shown) + 30
    left_out = f", first {ROWS} of {len(devices)} devices" if len(devices) > ROWS else ""
    what = f"{title}: {len(spans)} runs in {duration(whole)}{left_out}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 20} {height}" role="img" '
        f'aria-label="{escape(what)}" font-family="sans-serif" font-size="11">',
        f'<text x="8" y="20" font-size="14">{escape(what)}</text>',
    ]
    for tick in range(6):
        x = LEFT + WIDTH * tick / 5
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 6}" y2="{height - 24}" stroke="#ccc"/>')
        parts.append(
            f'<text x="{x:.1f}" y="{height - 8}" text-anchor="middle">{duration(whole * tick / 5)}</text>'
        )
    for number, device in enumerate(shown):
        y = TOP + ROW * number
        parts.append(f'<text x="8" y="{y + ROW - 8}">{escape(device.node)} {escape(device.id)}</text>')
        mine = sorted((s for s in spans if number in s.devices), key=lambda s: (s.start, s.job.id))
        parts += _bars(mine, y, WIDTH / whole)
    return "\n".join([*parts, "</svg>\n"])


def _bars(spans: Sequence[Span], y: float, scale: float) -> list[str]:
    """The runs of one device, each in the first layer that is free."""
    layers: list[float] = []
    places = []
    for span in spans:
        layer = next((n for n, end in enumerate(layers) if end <= span.start + 1e-9), len(layers))
        layers[layer : layer + 1] = [span.end]
        places.append(layer)
    height = (ROW - 4) / max(1, len(layers))
    bars = []
    for span, layer in zip(spans, places, strict=True):
        hue = zlib.crc32((span.job.model or span.job.corpus).encode()) % 360
        x, top = LEFT + span.start * scale, y + layer * height
        wide, setup = max(0.5, (span.end - span.start) * scale), span.setup * scale
        size = f'y="{top:.1f}" height="{max(1.0, height - 1):.1f}"'
        bars.append(
            f'<rect x="{x:.1f}" {size} width="{wide:.1f}" fill="hsl({hue} 55% 62%)"><title>'
            f"{escape(span.job.id)}, {duration(span.end - span.start)}</title></rect>"
        )
        if setup > 0.5:
            bars.append(
                f'<rect x="{x:.1f}" {size} width="{min(wide, setup):.1f}" fill="hsl({hue} 55% 38%)"/>'
            )
    return bars
