"""Results in the formats of others: read as reported, written for them to read."""
