"""Touchstone: a benchmark and leaderboard harness for retrieval and language-model methods."""

__version__ = "0.1.0"
