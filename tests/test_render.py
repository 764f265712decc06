"""Pages filled from a skeleton equal those that the template renders whole."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from markupsafe import Markup

from harness.catalog import Catalog
from harness.leaderboard import read_results
from harness.pages.render import Renderer
from harness.pages.site import Site
from harness.store import Store
from tests.boards import record, store_record

FLAGS = ("failed", "measured", "superseded", "traced", "scored", "beside", "noted", "comparable", "itemised")
SLOTS = [
    "id",
    "name",
    "soft_name",
    "task",
    "task_link",
    "method_link",
    "finished",
    "standing",
    "origin",
    "newer",
    "command",
    "failure",
    "scores",
    "notes",
    "compared",
    "cost",
    "ran",
    "files",
    "lowest",
    "lowest_count",
    "measure",
    "items",
]
HOSTILE = '<script>alert("\x02name\x03 {{ id }}")</script> & \x02id\x03'
PATH = "runs/one.html"


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    folder, values = tmp_path_factory.mktemp("render"), np.array([0.2, 0.4])
    store, catalog = Store(folder / "results"), Catalog([])
    store_record(store, record("bm25", values), values)
    return Site(read_results(store, catalog), store, catalog, folder / "site").renderer


def told(number: int) -> dict[str, str]:
    """A value for every slot; each second one is HTML."""
    texts = {name: f"{HOSTILE} {name} {number}" for name in SLOTS}
    return {
        name: Markup(f"<b>{name}</b>") if place % 2 else text
        for place, (name, text) in enumerate(texts.items())
    }


@pytest.mark.parametrize("number", range(16))
def test_a_filled_skeleton_is_the_page_that_the_template_renders(renderer: Renderer, number: int) -> None:
    bits = list(product([False, True], repeat=len(FLAGS)))[number * 33 % 512]
    flags = dict(zip(FLAGS, bits, strict=True))
    for again in range(2):  # the second from the kept skeleton
        values = told(again)
        whole = renderer.page("run.html", PATH, {**flags, **values})
        assert renderer.skeleton("run.html", PATH, flags, SLOTS).filled(values) == whole
        assert b"<script>alert" not in whole


def test_a_slot_without_a_value_is_an_error(renderer: Renderer) -> None:
    page = renderer.skeleton("run.html", PATH, dict.fromkeys(FLAGS, True), SLOTS)
    with pytest.raises(KeyError):
        page.filled({})
