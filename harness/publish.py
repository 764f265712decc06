"""Building the site as a whole: the old one stays until the new one is there."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from harness.catalog import Catalog
from harness.errors import ExitCode, TouchstoneError
from harness.exchange.reported import Reported, read_reported
from harness.leaderboard import read_results
from harness.pages import Site
from harness.parallel import uncollected
from harness.store import Store

MARK = Path("static") / "touchstone.css"  # tells a site of ours from a folder that must not be replaced
MANIFEST = "manifest.json"  # of what each page was made from, by its path


@dataclass(frozen=True)
class Built:
    """What a build made. kept: pages taken over from the site before; left_out: a line for each suite that
    could not be read.
    """

    pages: int
    kept: int
    out: Path
    left_out: tuple[str, ...]


@uncollected()
def build_site(store: Store, catalog: Catalog, out: Path, url: str = "") -> Built:
    """Render the results of *store* into *out*, which is replaced when the whole site is there.

    Pages of the site before whose inputs did not change are taken over. url: where the site will be; the feed
    then has whole addresses, and there is a site map.
    """
    out = out.resolve()
    if out.exists() and not (out / MARK).exists() and (not out.is_dir() or any(out.iterdir())):
        raise TouchstoneError(
            "not a site: it is left alone", where=str(out), fix="choose an empty or new folder for --out"
        )
    if url and not url.startswith(("https://", "http://")):
        raise TouchstoneError(
            "not a web address", where=f"--url {url}", fix="give one such as https://example.org/board/"
        )
    manifest = _manifest(out)
    results = read_results(store, catalog, out / "tasks" if manifest else None)
    if not results.records:
        raise TouchstoneError(
            "no results to show",
            where=str(store.root),
            fix="touchstone run --suite quickstart, or name their folder with --results",
            exit_code=ExitCode.NOTHING_MEASURED,
        )
    fresh = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        reported: dict[str, list[Reported]] = {}
        for row in read_reported(store):
            reported.setdefault(row.task, []).append(row)
        address = url.rstrip("/") + "/" if url else ""
        site = Site(results, store, catalog, fresh, out if manifest else None, manifest, reported, address)
        made = site.write()
        (fresh / MANIFEST).write_text(json.dumps(made, indent=0) + "\n", encoding="utf-8")
        pages = _count_pages(fresh)
        _swap_in(fresh, out)
    except OSError as error:
        raise TouchstoneError("cannot build the site", where=str(out), why=str(error)) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    kept = sum(manifest.get(path) == text for path, text in made.items())
    return Built(pages, kept, out, results.left_out)


def _manifest(out: Path) -> dict[str, str]:
    """What the pages of the site before were made from; empty when there is none, or it cannot be read."""
    try:
        held = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return held if isinstance(held, dict) else {}


def _count_pages(site: Path) -> int:
    count = 0
    for folder, inner, files in os.walk(site):
        count += sum(name.endswith(".html") for name in files)
        if folder == str(site / "runs"):
            inner.clear()  # what is below are files of runs
    return count


def _swap_in(fresh: Path, out: Path) -> None:
    """Put the finished site in place of the old one, which comes back when that fails."""
    old = out.with_name(f"{fresh.name}.old")
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.exists():
        out.rename(old)
    try:
        fresh.rename(out)
    except OSError:
        if old.exists():
            old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def server(out: Path, port: int) -> ThreadingHTTPServer:
    """A server of a built site on 127.0.0.1; port 0 takes any that is free."""
    if not (out / MARK).exists():
        raise TouchstoneError("no site is here", where=str(out), fix=f"touchstone site build --out {out}")
    handler = partial(SimpleHTTPRequestHandler, directory=str(out.resolve()))
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError as error:
        raise TouchstoneError(
            f"cannot listen on port {port}", why=error.strerror or str(error), fix="choose another --port"
        ) from error
