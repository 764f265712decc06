"""Regression checks: is a candidate worse than its baseline, in quality or in cost, and since when."""
