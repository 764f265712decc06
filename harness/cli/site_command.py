"""``touchstone site build`` and ``touchstone site serve``."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import results_option

OUT = click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("build/site"),
    show_default=True,
    help="Folder of the site.",
)


@click.group("site")
def command() -> None:
    """Build or serve the leaderboard site."""


@command.command("build")
@results_option
@OUT
@click.option(
    "--url", default="", help="Where the site will be: for whole addresses in its feed, and a site map."
)
def build(results: Path, out: Path, url: str) -> None:
    """Render the stored results into static pages that need no server; unchanged pages are kept."""
    from harness.catalog import Catalog
    from harness.publish import build_site
    from harness.store import Store

    built = build_site(Store(results), Catalog(), out, url)
    for line in built.left_out:
        click.echo(f"left out: {line}", err=True)
    click.echo(f"{built.pages} pages in {built.out}" + (f", {built.kept} kept" if built.kept else ""))
    click.echo(f"open {built.out / 'index.html'}")


@command.command("serve")
@OUT
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes any.")
def serve(out: Path, port: int) -> None:
    """Serve a built site on this machine only, until interrupted."""
    from harness.publish import server

    with server(out, port) as serving:
        click.echo(f"http://127.0.0.1:{serving.server_port}/ (Ctrl-C stops)")
        try:
            serving.serve_forever()
        except KeyboardInterrupt:
            click.echo("stopped", err=True)
