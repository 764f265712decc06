"""The pages that show everything: home, lists, statistics, comparing, downloads; the feed and the map."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape, quoteattr

from harness.columns import competitors
from harness.pages import exports
from harness.pages.suites import whisker_axis
from harness.standings import FEW

if TYPE_CHECKING:
    from harness.pages.site import Site

NEWEST, FED, LEADING = 12, 50, 5


def write(site: Site, _: None) -> dict[str, str]:
    """Write them; they are made anew each time, being few."""
    counts = Counter(
        record.run.method.key for column in site.results.tasks.values() for record in column.current.values()
    )
    methods = site.results.methods
    files = exports.write(site)
    pages: dict[str, dict[str, Any]] = {
        "index.html": {
            "boards": sorted(
                site.results.boards, key=lambda board: -sum(row.tier > 0 for row in board.ranked)
            ),
            "axes": {board.suite.name: whisker_axis(board.ranked) for board in site.results.boards},
            "newest": site.results.records[:NEWEST],
            "leading": LEADING,
        },
        "tasks.html": {
            "columns": [(column, competitors(column, methods)) for column in site.results.tasks.values()]
        },
        "methods.html": {"counts": counts},
        "statistics.html": {"few": FEW},
        "compare.html": {
            "columns": [column for column in site.results.tasks.values() if len(column.current) > 1]
        },
        "data.html": {"files": files, "columns": [c for c in site.results.tasks.values() if c.current]},
    }
    for path, context in pages.items():
        (site.folder / path).write_bytes(site.renderer.page(path, path, context))
    (site.folder / "feed.xml").write_text(feed(site), encoding="utf-8", newline="\n")
    if site.url:
        (site.folder / "sitemap.xml").write_text(sitemap(site, list(pages)), encoding="utf-8", newline="\n")
    return {}


def feed(site: Site) -> str:
    """The newest results as an Atom feed (RFC 4287); addresses are relative when the site's is not known."""
    newest = site.results.records[0].finished if site.results.records else ""
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        '<feed xmlns="http://www.w3.org/2005/Atom">',
        "<title>Touchstone: newest results</title>",
        "<id>urn:touchstone:results</id>",
        f"<updated>{escape(newest)}</updated>",
        "<author><name>Touchstone</name></author>",
        f'<link rel="self" href={quoteattr(site.url + "feed.xml")}/>',
    ]
    for record in site.results.records[:FED]:
        method, task = site.results.methods[record.run.method.key].name, record.run.task
        score = f"{task.main_measure} {record.main.value:.4f}" if record.main else "FAILED"
        lines += [
            "<entry>",
            f"<title>{escape(f'{method} on {task.title or task.name}: {score}')}</title>",
            f"<id>urn:touchstone:run:{escape(record.id)}</id>",
            f"<updated>{escape(record.finished)}</updated>",
            f"<link href={quoteattr(site.url + site.links.run(record))}/>",
            f"<summary>{escape(record.run.command)}</summary>",
            "</entry>",
        ]
    return "\n".join([*lines, "</feed>"]) + "\n"


def sitemap(site: Site, pages: list[str]) -> str:
    """The addresses of all pages but runs' (sitemaps.org, at most 50,000)."""
    links = site.links
    pages = [*pages, *(links.suite(board.suite.name) for board in site.results.boards)]
    pages += [*map(links.task, links.tasks), *map(links.method, links.methods)]
    lines = [f"<url><loc>{escape(site.url + page)}</loc></url>" for page in pages[:50_000]]
    head = [
        '<?xml version="1.0" encoding="utf-8"?>',
        '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">',
    ]
    return "\n".join([*head, *lines, "</urlset>"]) + "\n"
