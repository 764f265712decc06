"""Retrieval by vectors of whole texts."""
