"""The pages: what they say, that they link to what is there, and that text stays text."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.assets import Assets
from harness.catalog import Catalog
from harness.execute import Session
from harness.pages.links import file_names
from harness.pages.methods import settings_of
from harness.pages.render import soft
from harness.pages.suites import cost_spots, pictures
from harness.publish import build_site
from harness.record import Failure
from harness.registry import adapter_named
from harness.spec import MethodSpec, Published
from harness.store import Store
from tests.boards import TOY, column, methods, record, store_record
from tests.site_pages import Page, pages_of
from tests.test_execute import run
from tests.test_leaderboard import HIGH, LOW
from tests.toys import write_definitions, write_mirror

SUITE = "name: {name}\ntitle: {title}\nabout: All toys.\ntasks: [{tasks}]\nmethods: [bm25, dense, random]\n"
HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


@dataclass(frozen=True)
class Made:
    """A built site with the session that its results come from."""

    out: Path
    session: Session


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """A site of the toy tasks: two methods, bounds, a failure, a limited run, two measures and two suites."""
    root = tmp_path_factory.mktemp("pages")
    write_mirror(root / "mirror")
    write_definitions(root / "suites")
    (root / "suites" / "ranked.yaml").write_text(SUITE.format(name="ranked", title="Ranked", tasks="toy"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOUCHSTONE_DATA", str(root / "mirror"))
        patch.setenv("TOUCHSTONE_SUITES", str(root / "suites"))
        session = Session(Catalog(), Store(root / "results"), Assets(root / "cache"))
        for method in ("bm25", "bm25(k1=2.5)", "random", "oracle"):
            run(session, method)
        run(session, "bm25", limit=3)
        for method in ("random", "majority", "oracle"):
            run(session, method, "quiz")
        store_record(session.store, record("dense", None, session.catalog.task("toy")), None)
        yield Made(build_site(session.store, Catalog(), root / "site").out, session)


@pytest.fixture
def site(made: Made) -> Path:
    """Its folder."""
    return made.out


def links(page: Page) -> Iterator[tuple[str, str]]:
    """(tag, address) of everything a page points at."""
    for tag, attributes in page.tags:
        for name in ("href", "src", "srcset", "action", "data", "poster", "xlink:href"):
            if name in attributes:
                yield tag, attributes[name]


def test_every_link_leads_to_a_file_of_the_site_or_is_a_source(site: Path) -> None:
    pages = {page.path: page for page in pages_of(site)}
    inner = 0
    for path, page in pages.items():
        for tag, address in links(page):
            if address.startswith("https://"):
                assert tag == "a", f"{path} loads {address}"
                continue
            name, _, fragment = address.partition("#")
            target = (path.parent / name).resolve() if name else path
            assert target.is_file() and target.is_relative_to(site), f"{path}: {address}"
            if "=" in fragment:  # a state that the page's script reads
                assert target.name == "compare.html", f"{path}: {address}"
            else:
                assert not fragment or fragment in pages[target].ids, f"{path}: {address}"
            inner += 1
    assert inner > 200


def test_nothing_is_loaded_from_elsewhere_and_nothing_runs_inline(site: Path) -> None:
    for page in pages_of(site):
        scripts = ["touchstone.js", *(["compare.js"] if page.path.name == "compare.html" else [])]
        assert [tag["src"].rpartition("static/")[2] for tag in page.all("script")] == scripts
        assert not [
            name
            for _, attributes in page.tags
            for name in attributes
            if name.startswith("on") or name == "style"
        ]
        assert len(page.ids) == len(set(page.ids))
    style = (site / "static" / "touchstone.css").read_text()
    assert "url(" not in style and "@import" not in style
    scripts = [path.read_text() for path in (site / "static").glob("*.js")]
    for script in scripts:
        script = script.replace("http://www.w3.org/2000/svg", "")
        words = ("fetch(", "http", "XMLHttp", "import(", "innerHTML", "eval(")
        assert not [word for word in words if word in script]
    for script in scripts:  # one for tables, one for comparing
        lines = [line.strip() for line in script.splitlines()]
        assert len([line for line in lines if line and not line.startswith("//")]) < 120


def test_tables_can_be_read_aloud(site: Path) -> None:
    for page in pages_of(site):
        heads = page.all("th")
        assert all(head.get("scope") in ("col", "row") for head in heads)
        assert len(page.all("caption")) == len(page.all("table"))
        assert all("alt" in image for image in page.all("img"))
        assert len(page.all("h1")) == 1


def test_a_suite_page_says_who_leads_and_what_is_missing(site: Path) -> None:
    words = Page(site / "suites" / "ranked.html").words
    assert "bm25 has the highest nDCG@10" in words and "Not separated from it: bm25(k1=2.5)" in words
    assert "bound oracle 1.000" in words
    assert "dense: FAILED" in words
    whole = Page(site / "suites" / "toys.html").words
    assert "bm25 does not choose" not in whole and "does not choose" in whole
    assert "they have no mean and no rank" in whole


def test_every_number_carries_its_command(site: Path) -> None:
    for name in ("suites/ranked.html", "tasks/toy.html", "methods/bm25.html"):
        page = Page(site / name)
        runs = [link for link in page.all("a") if "runs/" in link["href"]]
        assert runs and all(link["title"].startswith("touchstone run --task ") for link in runs)
        assert "touchstone run --task toy --method bm25" in page.words
    page = Page(site / "methods" / "bm25-k1-2.5.html")
    assert "--method 'bm25(k1=2.5)'" in page.words


def test_a_run_page_offers_the_stored_files(site: Path, made: Made) -> None:
    session = made.session
    stored = next(one for one in session.store.find("toy", "bm25") if not one.run.limit)
    page = Page(site / "runs" / f"{stored.id}.html")
    for name in ("run.trec.zst", "items.parquet", "record.json"):
        copied, held = site / "runs" / "toy" / f"{stored.id}.{name}", session.store.folder(stored) / name
        assert copied.read_bytes() == held.read_bytes()
        assert hashlib.sha256(copied.read_bytes()).hexdigest() in page.words
    assert "differs from the record" not in page.words
    assert f"{stored.scores['AP'].value:.4f}" in page.words
    assert "The 6 lowest of 6 items" in page.words


def test_limited_runs_are_shown_apart(site: Path, made: Made) -> None:
    limited = next(one for one in made.session.store.find("toy", "bm25") if one.run.limit)
    words = Page(site / "runs" / f"{limited.id}.html").words
    assert "first 3 items" in words and "The current result of this method on this task is" in words
    assert limited.id not in (site / "suites" / "ranked.html").read_text()
    assert "first 3 items" in Page(site / "tasks" / "toy.html").words


def test_a_failed_run_shows_its_failure(site: Path, made: Made) -> None:
    failed = made.session.store.find("toy", "dense")[0]
    words = Page(site / "runs" / f"{failed.id}.html").words
    assert f"FAILED it fell over The traceback is in the record: touchstone show {failed.id}" in words
    assert "line 1" not in words  # it may hold paths of the machine


def test_hostile_names_are_text(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    task = replace(TOY, name=f"toy{HOSTILE}", title=HOSTILE, measures=(f"AP{HOSTILE}",), published=())
    made = record(MethodSpec(HOSTILE, "bm25", {}), LOW, task)
    made = replace(
        made,
        notes=(HOSTILE,),
        counts={HOSTILE: 1},
        provenance={**made.provenance, HOSTILE: {HOSTILE: HOSTILE}},
    )
    store_record(store, made, LOW)
    broken = replace(
        record(MethodSpec("x", f"m:{HOSTILE}", {HOSTILE: HOSTILE}), None, task),
        failure=Failure(HOSTILE, HOSTILE),
    )
    store_record(store, broken, None)
    out = build_site(store, Catalog([]), tmp_path / "site").out
    for page in pages_of(out):
        assert len(page.all("script")) == 1 + (page.path.name == "compare.html") and all(
            image["src"].endswith("touchstone.svg") for image in page.all("img")
        )
    run_page = Page(out / "runs" / f"{made.id}.html")
    assert run_page.text.count(HOSTILE) >= 5
    assert HOSTILE in Page(out / "runs" / f"{broken.id}.html").text


def test_addresses_that_are_not_web_addresses_are_no_links(session: Session, toy_places: Path) -> None:
    data = toy_places / "suites" / "datasets" / "toy.yaml"
    data.write_text(data.read_text().replace("https://example.org/toy", "javascript:alert(1)"))
    run(session, "random")
    page = Page(build_site(session.store, Catalog(), toy_places / "site").out / "tasks" / "toy.html")
    assert "javascript:alert(1)" in page.words
    assert not [link for link in page.all("a") if "javascript" in link["href"]]


def test_published_numbers_stand_beside_ours(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    published = (Published("bm25", "nDCG@10", 0.3, "A paper"), Published("splade", "AP", 0.7, "Another"))
    task = replace(TOY, published=published)
    made = store_record(store, record("bm25", LOW, task), LOW)
    out = build_site(store, Catalog([]), tmp_path / "site").out
    task_words = Page(out / "tasks" / "toy.html").words
    assert "bm25 nDCG@10 0.3000 0.2500 [0.197, 0.303] −0.050 no model A paper" in task_words
    assert "splade AP 0.7000 not run – – Another" in task_words
    assert "0.3000 0.2500" in Page(out / "methods" / "bm25.html").words
    assert "0.3000 A paper" in Page(out / "runs" / f"{made.id}.html").words


def test_a_changed_and_a_missing_file_are_told(session: Session, toy_places: Path) -> None:
    made = run(session, "bm25")
    folder = session.store.folder(made)
    (folder / "run.trec.zst").unlink()
    items = folder / "items.parquet"
    pd.read_parquet(items).to_parquet(items, compression="gzip")
    record_file = folder / "record.json"
    record_file.write_text(record_file.read_text().replace('"files": {', '"files": {"../../x": "0", '))
    words = Page(
        build_site(session.store, session.catalog, toy_places / "site").out / "runs" / f"{made.id}.html"
    ).words
    assert "items.parquet" in words and "differs from the record" in words
    assert "run.trec.zst –" in words and words.count("missing from the store") == 2


def test_pages_of_tasks_and_methods_that_are_not_defined_here(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    store_record(store, record(MethodSpec("mine", "my.module:Mine", {"x": 1}), LOW), LOW)
    out = build_site(store, Catalog([]), tmp_path / "site").out
    assert "not among the definitions" in Page(out / "tasks" / "toy.html").words
    words = Page(out / "methods" / "mine.html").words
    assert "not installed" in words and "x 1 unknown" in words
    assert "None of the stored results belongs to a suite." in Page(out / "index.html").words


def test_file_names_are_different_also_where_case_does_not_count() -> None:
    names = file_names({"a": "bm25(k1=1)", "b": "bm25[k1=1]", "c": "BM25(k1=1)", "d": "dense", "e": ".."})
    assert names["d"] == "dense" and names["e"] == "unnamed"
    assert len({name.casefold() for name in names.values()}) == 5
    assert all(name.startswith("bm25-k1-1-") for name in (names["a"], names["b"]))


def test_settings_are_shown_beside_their_defaults() -> None:
    toy = column({"bm25": HIGH})
    made = replace(next(iter(methods(toy).values())), spec=MethodSpec("x", "bm25", {"k1": 1.2}))
    first = settings_of(made, adapter_named("bm25"))[0]
    assert (first.name, first.value, first.default) == ("k1", "1.2", "0.9")
    assert first.meaning
    fused = replace(made, spec=MethodSpec("x", "fusion", {"methods": ["bm25", "dense"]}))
    assert settings_of(fused, adapter_named("fusion"))[0].value == "bm25+dense"


def test_long_names_may_break_and_stay_escaped() -> None:
    assert soft("bm25(k1=1,b=<i>)") == "bm25(<wbr>k1=<wbr>1,<wbr>b=<wbr>&lt;i&gt;)"


def test_there_is_no_picture_without_ranked_methods(site: Path) -> None:
    assert not Page(site / "suites" / "toys.html").all("figure")
    assert len(Page(site / "suites" / "ranked.html").all("figure")) == 2  # against time and memory


def test_many_methods_are_drawn() -> None:
    from harness.leaderboard import board
    from tests.test_leaderboard import suite

    generator = np.random.default_rng(0)
    toy = column({f"m{number}": generator.random(20) for number in range(20)})
    ranked = board(suite("toy"), {"toy": toy}, methods(toy)).ranked
    assert {name: len(spots) for name, spots in cost_spots(ranked).items()} == {"time": 20, "memory": 20}
    assert all("<svg" in picture for picture in pictures(ranked).values())


def test_tasks_that_share_run_ids_have_run_pages_of_their_own(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    for name in ("one", "two"):
        store_record(store, record("bm25", LOW, replace(TOY, name=name, title=name)), LOW)
    out = build_site(store, Catalog([]), tmp_path / "site").out
    pages = [Page(path) for path in sorted((out / "runs").glob("*.html"))]
    assert sorted(page.words.partition(" · ")[0] for page in pages) == ["bm25 on one", "bm25 on two"]
    for page in pages:
        files = [link["href"] for link in page.all("a") if "download" in link]
        assert files and all((page.path.parent / name).is_file() for name in files)
