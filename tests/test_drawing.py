"""Pictures: text alternatives, the page's colours, no id twice, the same bytes."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from harness import format
from harness.drawing import Words, history, scatter, shares
from harness.plots import SECONDS, Scale, Spot
from harness.scores import Summary

SCALE = Scale("Quality against time", "time, log scale", SECONDS, format.duration)
HOSTILE = "<script>&$x^2$"


def spots(count: int) -> list[Spot]:
    return [
        Spot(str(n), f"{HOSTILE} {n}", 1.0 + n, Summary(0.5 + n / 1000, 0.4, 0.7, 9)) for n in range(count)
    ]


PICTURES = {
    "scatter": lambda: scatter(spots(4), SCALE, "time"),
    "crowd": lambda: scatter(spots(300), SCALE, "time"),
    "shares": lambda: shares(
        {HOSTILE: [0.2] * 5}, ["0", "1", "2", "3", "4"], Words("spread", HOSTILE, HOSTILE)
    ),
    "history": lambda: history(
        [("2026-01-01", Summary(0.5, 0.4, 0.6, 9)), ("2026-03-01", Summary(0.6, 0.5, 0.7, 9))],
        Words("history-0", HOSTILE, HOSTILE),
    ),
    "one day": lambda: history([("2026-01-01", Summary(0.5, 0.4, 0.6, 9))] * 2, Words("h", "t", "w")),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_stands_in_a_page(name: str) -> None:
    text = str(PICTURES[name]())
    root = ET.fromstring(text)
    tags = {element.tag.partition("}")[2] for element in root.iter()}
    assert tags <= {"svg", "title", "desc", "g", "path", "defs", "use", "text", "tspan"}
    told = {element.get("id"): element.text for element in root.iter() if element.get("id")}
    title, words = root.get("aria-labelledby", "").split()
    assert root.get("role") == "img" and told[title] and told[words]
    ids = re.findall(r'\bid="([^"]*)"', text)
    assert len(ids) == len(set(ids)) and all(one.startswith(title.rpartition("-")[0]) for one in ids)
    assert all(reference[1:] in ids for reference in re.findall(r'href="([^"]*)"', text))
    assert not re.search(r"#[0-9a-f]{6}|style=|font-family|clip-path|url\(", text)
    assert str(PICTURES[name]()) == text


def test_names_stay_names() -> None:
    root = ET.fromstring(str(scatter(spots(2), SCALE, "time")))
    labels = [element.text for element in root.iter() if element.tag.endswith("}text")]
    assert f"{HOSTILE} 0" in labels and f"{HOSTILE} 1" in labels


def test_two_pictures_of_a_page_share_no_id() -> None:
    ids = [re.findall(r'\bid="([^"]*)"', str(scatter(spots(3), SCALE, name))) for name in ("time", "memory")]
    assert not set(ids[0]) & set(ids[1])


def test_a_crowd_names_its_front_only() -> None:
    worse = [Spot(str(n), f"m{n}", 1.0 + n, Summary(0.5 - n / 1000, 0.1, 0.7, 9)) for n in range(1000)]
    text = str(scatter(worse, SCALE, "time"))
    assert "m0" in re.findall("<text[^>]*>([^<]*)", text) and "m1<" not in text
    assert len(text) < 120_000
