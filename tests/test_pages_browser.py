"""The site in a real browser, opened from disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from harness.catalog import Catalog
from harness.compare import compare_runs
from harness.exchange.reported import Reported, add_reported
from harness.publish import build_site
from harness.spec import Json, Kind, MethodSpec
from harness.store import Store
from tests.boards import TOY, record, store_record
from tests.needs import CHROMIUM, needs
from tests.test_leaderboard import HIGH, LOW

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = needs("browser")
QUIET = ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
TWO = replace(TOY, name="two", kind=Kind.CHOOSE, measures=("Acc",), title="Two")
RIGHT_A = np.tile([1.0, 0.0, 0.0], 10)
RIGHT_B = np.tile([1.0, 1.0, 0.0], 10)
LONG = "fusion(methods=bm25(k1=1.2,b=0.75)+dense+a-method-with-a-very-long-name-indeed)"
TEXT = "name: text\ntitle: Text\nabout: Toys.\ntasks: [toy]\nmethods: [bm25]\n"
BOTH = "name: both\ntitle: Both\nabout: Toys.\ntasks: [toy, two]\nmethods: [bm25]\n"
TASK = (
    "- {name: toy, kind: rank, dataset: toy, measures: [nDCG@10, AP], title: Toy}\n"
    "- {name: two, kind: choose, dataset: toy, measures: [Acc], title: Two}\n"
)
DATA = (
    "- {name: toy, title: T, about: a, licence: l, url: 'https://example.org', sources: [{format: pydoc}]}\n"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four methods and a failure in one suite, two of them in another, one run before; a verified one
    and a reported number.
    """
    root = tmp_path_factory.mktemp("site")
    definitions = {"text.yaml": TEXT, "both.yaml": BOTH, "tasks/t.yaml": TASK, "datasets/t.yaml": DATA}
    for name, text in definitions.items():
        (root / "suites" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "suites" / name).write_text(text)
    store = Store(root / "results")
    scores = {"bm25": LOW, "dense": HIGH, "oracle": np.ones(30), LONG: (LOW + HIGH) / 2, "broken": None}
    for name, values in scores.items():
        spec = MethodSpec(name, name.partition("(")[0], {"depth": 5} if name == LONG else {})
        made = record(spec, values)
        machine: Json = {"cpu": f"CPU of {name}", "cores": 2}
        made = replace(made, provenance={**made.provenance, "machine": machine})
        store_record(store, replace(made, origin="verified") if name == LONG else made, values)
    store_record(store, record("bm25", LOW / 2, finished="2025-06-01T00:00:00+00:00"), LOW / 2)
    for name, values in {"bm25": RIGHT_A, "dense": RIGHT_B}.items():
        store_record(store, record(name, values, TWO), values)
    add_reported(store, [Reported("toy", "splade", "nDCG@10", 0.7, "mteb", "results.json", "0" * 64)])
    return build_site(store, Catalog([root / "suites"]), root / "site").out


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, without a network to speak of."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", *QUIET]
        )
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that remembers its complaints and requests."""
    context = browser.new_context(viewport={"width": 1200, "height": 800})
    opened = context.new_page()
    yield opened
    context.close()


def test_all_pages_open_from_disk_without_complaint_or_request(site: Path, page: Page) -> None:
    complaints, requests = [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(f"{request.failure} {request.url}"))
    page.on("request", lambda request: requests.append(request.url))
    for path in sorted(site.glob("**/*.html")):
        page.goto(path.as_uri())
        assert page.locator("h1").count() == 1
    # An icon that is still being read when the page is left is no complaint.
    assert [line for line in complaints if not line.startswith("net::ERR_ABORTED")] == []
    assert requests and all(url.startswith("file://") for url in requests)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_is_wider_than_a_phone(site: Path, browser: Browser, scheme: str) -> None:
    assert scheme in ("light", "dark")
    context = browser.new_context(
        viewport={"width": 390, "height": 800}, color_scheme="dark" if scheme == "dark" else "light"
    )
    page = context.new_page()
    for path in sorted(site.glob("**/*.html")):
        page.goto(path.as_uri())
        page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
    context.close()


def test_the_page_follows_the_colour_scheme(site: Path, page: Page) -> None:
    page.goto((site / "index.html").as_uri())
    colours = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        colours.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert colours[0] != colours[1]


def names(page: Page) -> list[str]:
    """Methods of the leaderboard from top to bottom, as far as they are shown."""
    rows = page.locator("table.board tbody tr:visible th")
    return [text.removesuffix(" verified") for text in rows.all_inner_texts()]


def test_tables_sort_and_bounds_stay_below(site: Path, page: Page) -> None:
    page.goto((site / "suites" / "text.html").as_uri())
    assert names(page) == ["dense", LONG, "bm25", "oracle"]
    score = page.locator("table.board thead button", has_text="nDCG@10")
    score.click()
    assert names(page) == ["dense", LONG, "bm25", "oracle"]
    score.click()
    assert names(page) == ["bm25", LONG, "dense", "oracle"]
    assert page.locator("table.board th[aria-sort=ascending]").inner_text().startswith("nDCG@10")
    page.locator("table.board thead button", has_text="Method").focus()
    page.keyboard.press("Enter")
    assert names(page) == ["bm25", "dense", LONG, "oracle"]
    assert page.locator("table.board th[aria-sort]").count() == 1


@pytest.mark.parametrize(
    ("facet", "value", "left"),
    [
        ("family", "dense", ["dense"]),
        ("size", "no model", ["dense", LONG, "bm25", "oracle"]),
        ("hardware", "CPU of bm25, 2 cores", ["bm25"]),
        ("source", "submitted, verified here", [LONG]),
        ("kind", "choose", ["oracle"]),
    ],
)
def test_filters_show_what_fits(site: Path, page: Page, facet: str, value: str, left: list[str]) -> None:
    page.goto((site / "suites" / "text.html").as_uri())
    choice = page.locator(f"form.filters select[name={facet}]")
    if facet == "size":  # all alike: there is nothing to choose
        assert choice.count() == 0 and names(page) == left
        return
    choice.select_option(value)
    assert names(page) == left
    assert page.locator("form.filters output").inner_text() == f"{len(left)} of 4 shown"
    page.locator("form.filters button").click()
    page.wait_for_function("document.querySelector('form.filters output').textContent === ''")
    assert len(names(page)) == 4


def test_names_are_found_by_keyboard(site: Path, page: Page) -> None:
    page.goto((site / "suites" / "text.html").as_uri())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.name") == "q":
            break
    page.keyboard.type("DEN")
    assert names(page) == ["dense", LONG]
    page.keyboard.press("Enter")  # sends nothing anywhere
    assert names(page) == ["dense", LONG] and page.url.endswith("#q=DEN")


def test_a_link_shows_what_was_shown(site: Path, page: Page) -> None:
    page.goto((site / "suites" / "text.html").as_uri())
    page.locator("form.filters input").fill("e")
    score = page.locator("table.board thead button", has_text="nDCG@10")
    score.click()
    score.click()
    shown, address = names(page), page.url
    page.goto("about:blank")
    page.goto(address)
    assert names(page) == shown == [LONG, "dense", "oracle"]
    assert page.locator("form.filters input").input_value() == "e"
    page.goto(address.partition("#")[0] + "#family=%3Cscript%3E&sort=99.99.up")
    page.reload()
    assert len(names(page)) == 4


def test_a_long_table_shows_its_first_rows_until_all_are_asked_for(site: Path, page: Page) -> None:
    page.goto((site / "tasks.html").as_uri())
    page.evaluate(
        """() => { const body = document.querySelector("table.filtered tbody"), row = body.rows[0];
        for (let n = 0; n < 400; n++) {
          const more = row.cloneNode(true);
          more.cells[0].textContent = `Task ${n}`;
          body.append(more);
        }
        makeLong(document.querySelector("table.filtered")); }"""
    )
    rows = page.locator("table.filtered tbody tr:visible th")
    assert rows.count() == 50
    page.locator("table.filtered thead button", has_text="Task").click()
    page.locator("table.filtered thead button", has_text="Task").click()
    assert rows.count() == 50 and rows.nth(2).inner_text() == "Task 399"
    page.get_by_role("button", name="Show all 402 rows").click()
    assert rows.count() == 402


def test_cells_are_filtered_with_the_board(site: Path, page: Page) -> None:
    page.goto((site / "suites" / "both.html").as_uri())
    page.locator("form.filters select[name=family]").select_option("dense")
    rows = page.locator("table.heat tbody tr:visible th").all_inner_texts()
    assert rows == ["dense"] == names(page)


def test_comparing_says_what_the_harness_says(site: Path, page: Page) -> None:
    store = Store(site.parent / "results")
    for task, measure in (("toy", "nDCG@10"), ("two", "Acc")):
        current = {r.run.method.name: r for r in store.find(task) if r.status == "done"}
        a, b = current["bm25"], current["dense"]
        page.goto("about:blank")
        page.goto((site / "compare.html").as_uri() + f"#task={task}&a={a.id}&b={b.id}")
        said = page.locator("#result .verdict").inner_text()
        found = compare_runs(store, a.id, b.id).comparison
        assert said.startswith(f"B − A in {measure}: +{found.difference:.3f} [")
        low, high = (float(part) for part in said.split("[")[1].split("]")[0].split(", "))
        assert (low, high) == pytest.approx((found.low, found.high), abs=0.034)  # one item
        p = said.split(" p ")[1].split(" by")[0]
        assert float(p.removeprefix("< ")) == pytest.approx(found.p_value, abs=0.01)
        assert f"better on {found.wins} items, worse on {found.losses}, equal on {found.ties}" in said
        assert ("McNemar's exact test p 0.002" in said) == (task == "two")
        assert page.locator("#result circle").count() > 1
    page.locator("button[name=swap]").click()
    page.wait_for_function("document.querySelector('#result').textContent.includes(': −')")
    page.locator("select[name=task]").select_option("toy")
    page.wait_for_function("document.querySelector('#result').textContent.includes('nDCG@10')")


def test_an_address_cannot_make_the_comparing_page_load_something(site: Path, page: Page) -> None:
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto((site / "compare.html").as_uri() + "#task=https://example.org/x&a=1&b=2")
    page.wait_for_timeout(100)
    assert not [url for url in requests if "example.org" in url or "runs.js" in url]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(site: Path, browser: Browser, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    context = browser.new_context(color_scheme="dark" if scheme == "dark" else "light")
    page, axe = context.new_page(), Axe()
    pages = [
        "index.html",
        "tasks.html",
        "methods.html",
        "statistics.html",
        "data.html",
        "compare.html#task=toy",
    ]
    pages += ["suites/text.html", "suites/both.html", "tasks/toy.html", "methods/bm25.html"]
    pages += [f"runs/{path.name}" for path in sorted((site / "runs").glob("*.html"))[:2]]
    for name in pages:
        path, _, fragment = name.partition("#")
        page.goto((site / path).as_uri() + (f"#{fragment}" if fragment else ""))
        page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
        found = axe.run(page).response["violations"]
        assert [(one["id"], one["nodes"][0]["html"]) for one in found] == [], name
    context.close()


def test_pages_are_complete_without_script(site: Path, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((site / "suites" / "text.html").as_uri())
    assert names(page) == ["dense", LONG, "bm25", "oracle"]
    page.get_by_role("link", name="dense", exact=True).last.click()
    assert page.url.endswith("/methods/dense.html")
    page.locator("header nav a", has_text="Suites").click()
    assert page.url.endswith("/index.html#suites")
    context.close()


def test_the_command_can_be_copied(site: Path, browser: Browser) -> None:
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto((site / "suites" / "text.html").as_uri())
    page.locator("pre.command button").first.click()
    page.locator("pre.command button", has_text="copied").first.wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == "touchstone run --suite text"
    context.close()
