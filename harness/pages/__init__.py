"""The leaderboard site: static pages rendered from stored results. The same results give the same bytes."""

from harness.pages.site import Site

__all__ = ["Site"]
