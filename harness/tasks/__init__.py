"""Tasks: data, a kind and measures."""
