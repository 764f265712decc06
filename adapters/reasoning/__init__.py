"""Retrieval by reasoning: a language model decides where to look."""
