"""Combinations of rankings."""
