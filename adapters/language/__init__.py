"""Answering questions with language models and text vectors."""
