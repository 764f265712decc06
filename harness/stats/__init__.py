"""The statistics of a leaderboard: intervals, paired tests, corrections, power and aggregates."""

from harness.stats.aggregate import borda, mean_score
from harness.stats.corrections import benjamini_hochberg, holm
from harness.stats.intervals import Bootstrap, bootstrap_interval
from harness.stats.paired import Comparison, Test, compare_paired, mcnemar, paired_randomisation, paired_t
from harness.stats.power import items_needed, power_of, smallest_difference, standard_error

__all__ = [
    "Bootstrap",
    "Comparison",
    "Test",
    "benjamini_hochberg",
    "bootstrap_interval",
    "borda",
    "compare_paired",
    "holm",
    "items_needed",
    "mcnemar",
    "mean_score",
    "paired_randomisation",
    "paired_t",
    "power_of",
    "smallest_difference",
    "standard_error",
]
