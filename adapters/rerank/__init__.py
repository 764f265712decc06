"""Reordering another method's best documents."""
