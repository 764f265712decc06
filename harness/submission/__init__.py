"""Results that others submit: packed, refused when hostile, verified from their answers and by running."""
