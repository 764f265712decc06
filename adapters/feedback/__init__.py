"""Queries improved by what a first search finds."""
