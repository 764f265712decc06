"""Intervals and pairwise tests beside scipy's: ``python -m benchmarks.stats``.

Touchstone computes the bootstrap distribution of the mean itself, what resampling tends to; scipy draws
10,000 resamples. All pairs of 50 methods are tested by randomisation with Holm's correction, as the
leaderboard does; beside it scipy's own permutation test of one pair with as many resamples.
"""

from __future__ import annotations

import click
import numpy as np
from scipy import stats

from benchmarks.timing import alternated, heading, report
from harness.ranking import Pool, corrected_p_values
from harness.stats import bootstrap_interval


@click.command()
@click.option("--rounds", default=3, show_default=True)
def main(rounds: int) -> None:
    """One task of 6,980 queries, then 50 methods on 1,000 queries."""
    heading("numpy", "scipy")
    random = np.random.default_rng(0)
    values = np.clip(random.normal(0.4, 0.35, 6980), 0.0, 1.0)
    sides = {
        "Touchstone, exact": lambda: bootstrap_interval(values),
        "scipy, 10,000 percentile resamples": lambda: stats.bootstrap(
            (values,), np.mean, n_resamples=10_000, method="percentile", batch=500, rng=1
        ),
    }
    report("Interval of a mean of 6,980", alternated(sides, rounds), "Touchstone, exact")
    scores = np.clip(random.normal(0.4, 0.35, (1000, 50)) + np.linspace(0, 0.05, 50), 0.0, 1.0)
    pool = Pool(scores, np.zeros(1000, np.int32))
    pair = (scores[:, 0], scores[:, 1])
    sides = {
        "Touchstone, 1,225 pairs": lambda: corrected_p_values(pool),
        "scipy, one pair": lambda: stats.permutation_test(
            pair,
            lambda a, b, axis: (a - b).mean(axis=axis),
            permutation_type="samples",
            vectorized=True,
            n_resamples=10_000,
            batch=500,
            rng=1,
        ),
    }
    report("All pairs of 50 methods, Holm", alternated(sides, rounds), "Touchstone, 1,225 pairs")


if __name__ == "__main__":
    main()
