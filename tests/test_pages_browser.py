"""The site in a real browser, opened from disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from harness.catalog import Catalog
from harness.publish import build_site
from harness.spec import MethodSpec
from harness.store import Store
from tests.boards import record, store_record
from tests.needs import CHROMIUM, needs
from tests.test_leaderboard import HIGH, LOW

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = needs("browser")
QUIET = ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
LONG = "fusion(methods=bm25(k1=1.2,b=0.75)+dense+a-method-with-a-very-long-name-indeed)"
TEXT = "name: text\ntitle: Text\nabout: Toys.\ntasks: [toy]\nmethods: [bm25]\n"
TASK = "- {name: toy, kind: rank, dataset: toy, measures: [nDCG@10, AP], title: Toy}\n"
DATA = (
    "- {name: toy, title: T, about: a, licence: l, url: 'https://example.org', sources: [{format: pydoc}]}\n"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four methods and a failure in one suite."""
    root = tmp_path_factory.mktemp("site")
    for name, text in {"text.yaml": TEXT, "tasks/t.yaml": TASK, "datasets/t.yaml": DATA}.items():
        (root / "suites" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "suites" / name).write_text(text)
    store = Store(root / "results")
    for name, values in {
        "bm25": LOW,
        "dense": HIGH,
        "oracle": np.ones(30),
        LONG: (LOW + HIGH) / 2,
        "broken": None,
    }.items():
        spec = MethodSpec(name, name.partition("(")[0], {"depth": 5} if name == LONG else {})
        store_record(store, record(spec, values), values)
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
    """Methods of the leaderboard from top to bottom."""
    return page.locator("table.board tbody th").all_inner_texts()


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


def test_pages_are_complete_without_script(site: Path, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((site / "suites" / "text.html").as_uri())
    assert names(page) == ["dense", LONG, "bm25", "oracle"]
    page.get_by_role("link", name="dense", exact=True).last.click()
    assert page.url.endswith("/methods/dense.html")
    page.locator("nav a", has_text="Suites").click()
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
