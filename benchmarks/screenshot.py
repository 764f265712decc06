"""Pictures of built pages, as in the README.

python -m benchmarks.screenshot build/site suites/quickstart.html docs/leaderboard.png [--dark] [--width 1200]
"""

from __future__ import annotations

import shutil
from pathlib import Path

import click


@click.command()
@click.argument("site", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("page")
@click.argument("picture", type=click.Path(path_type=Path))
@click.option("--width", default=1200, show_default=True)
@click.option("--height", default=0, help="Pixels from the top; the whole page for 0.")
@click.option("--dark", is_flag=True, help="In the dark colours.")
def main(site: Path, page: str, picture: Path, width: int, height: int, dark: bool) -> None:
    """Take a picture of PAGE (with its fragment, if any) of a built SITE."""
    from playwright.sync_api import sync_playwright

    path, _, fragment = page.partition("#")
    address = (site / path).resolve().as_uri() + (f"#{fragment}" if fragment else "")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        shown = browser.new_page(
            viewport={"width": width, "height": height or 900}, color_scheme="dark" if dark else "light"
        )
        shown.goto(address)
        shown.screenshot(path=picture, full_page=not height)
        browser.close()


if __name__ == "__main__":
    main()
