"""What pages tell of methods over time, of departures from papers, and of numbers of others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.catalog import Catalog, shipped
from harness.exchange.reported import Reported, add_reported
from harness.pages import suites
from harness.publish import build_site
from harness.spec import Json, Published
from harness.store import Store
from tests.boards import TOY, record, store_record
from tests.site_pages import Page
from tests.test_leaderboard import HIGH, LOW
from tests.test_pages import HOSTILE, SUITE, links


def test_a_method_shows_how_its_number_moved(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    old = store_record(store, record("bm25", LOW, finished="2025-01-01T00:00:00+00:00", data="d0"), LOW)
    new = store_record(store, record("bm25", HIGH, finished="2026-02-01T00:00:00+00:00"), HIGH)
    store_record(store, record("dense", HIGH), HIGH)
    out = build_site(store, Catalog([]), tmp_path / "site").out
    page = Page(out / "methods" / "bm25.html")
    assert "History Toy" in page.words
    assert "2025-01-01 0.2500 (other data), 2026-02-01 0.6500" in page.words
    assert "2025-01-01: 0.2500; 2026-02-01: 0.6500." in page.text
    assert "superseded" not in page.words and "other data" in Page(out / "runs" / f"{old.id}.html").words
    assert "History" not in Page(out / "methods" / "dense.html").words
    assert f"compare.html#task=toy&amp;a={new.id}" in (out / "runs" / f"{new.id}.html").read_text()


def test_what_departs_from_its_paper_and_what_it_ran_with_are_told(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    task = replace(TOY, published=(Published("dense", "nDCG@10", 0.6, "A paper"),))
    made = record("dense", HIGH, task)
    made_with: Json = {"encoder": {"model": "all-MiniLM-L6-v2"}}
    made = replace(
        made, provenance={**made.provenance, "made_with": made_with}, notes=("adapted: half the layers",)
    )
    store_record(store, made, HIGH)
    store_record(store, record("bm25", LOW, task), LOW)
    page = Page(
        build_site(store, Catalog([shipped("suites")]), tmp_path / "site").out / "methods" / "dense.html"
    )
    assert "dense adapted" in page.words and "adapted: half" in page.words
    assert "all-MiniLM-L6-v2 (22.7 M parameters, Apache-2.0)" in page.words
    assert "Published numbers (adapted here)" in page.words
    assert "nDCG@10 0.6000 0.6500 [0.597, 0.703] +0.050 all-MiniLM-L6-v2 A paper" in page.words
    assert "adapted" not in Page(page.path.with_name("bm25.html")).words


def test_reported_numbers_stand_apart_and_verified_ones_are_marked(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "own.yaml").write_text(SUITE.format(name="own", title="Own", tasks="toy"))
    define = "define:\n- {name: toy, kind: rank, dataset: toy, measures: [nDCG@10, AP], title: Toy}\n"
    with (tmp_path / "suites" / "own.yaml").open("a") as file:
        file.write("datasets:\n- {name: toy, sources: [{format: pydoc}]}\n" + define)
    store_record(store, record("bm25", LOW), LOW)
    store_record(store, replace(record("dense", HIGH), origin="verified"), HIGH)
    add_reported(store, [Reported("toy", HOSTILE, "nDCG@10", 0.99, "mteb", "x.json", "0" * 64)])
    out = build_site(store, Catalog([tmp_path / "suites"]), tmp_path / "site").out
    page = Page(out / "suites" / "own.html")
    assert "dense verified" in page.words and "bm25 verified" not in page.words
    assert "dense leads with 0.650" in page.words
    apart = page.text.index("Reported by others")
    assert HOSTILE in page.text[apart:] and HOSTILE not in page.text[:apart]
    assert HOSTILE in Page(out / "tasks" / "toy.html").text
    assert json.loads((out / "data" / "reported.json").read_text())[0]["method"] == HOSTILE


def test_many_cells_go_on_pages_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suites, "CELLS", 3)
    monkeypatch.setattr(suites, "HEAT_ROWS", 2)
    monkeypatch.setattr(suites, "PART", 2)
    store = Store(tmp_path / "results")
    (tmp_path / "suites").mkdir()
    text = SUITE.format(name="own", title="Own", tasks="one, two") + "datasets:\n"
    text += "- {name: toy, sources: [{format: pydoc}]}\ndefine:\n"
    for name in ("one", "two"):
        text += f"- {{name: {name}, kind: rank, dataset: toy, measures: [nDCG@10, AP], title: {name}}}\n"
        for number, method in enumerate(("bm25", "dense", "fusion")):
            values = HIGH - number / 10
            store_record(store, record(method, values, replace(TOY, name=name, title=name)), values)
    (tmp_path / "suites" / "own.yaml").write_text(text)
    out = build_site(store, Catalog([tmp_path / "suites"]), tmp_path / "site").out
    page = Page(out / "suites" / "own.html")
    assert "The best 2 methods are shown; all 6 cells: part 1, part 2." in page.words
    parts = [Page(out / "suites" / "own" / f"tasks-{number}.html") for number in (1, 2)]
    assert "Methods 1 to 2 of 3" in parts[0].words and "fusion 0.450 0.450" in parts[1].words
    for part in parts:
        for _, address in links(part):
            target = part.path.parent / (address.partition("#")[0] or part.path.name)
            assert address.startswith("https") or target.is_file()
    built = build_site(store, Catalog([tmp_path / "suites"]), out)
    assert built.kept and (out / "suites" / "own" / "tasks-2.html").is_file()
