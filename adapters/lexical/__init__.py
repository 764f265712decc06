"""Exact-term retrieval."""
