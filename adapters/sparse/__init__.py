"""Learned weights of terms, searched in an inverted index."""
