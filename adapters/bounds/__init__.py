"""Floors and ceilings: what any method must beat, and what none can."""
