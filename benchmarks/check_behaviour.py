"""How often ``touchstone check`` is wrong: false alarms, power, and methods that were made worse on purpose.

    python -m benchmarks.check_behaviour --results results [--degraded]

False alarms: 1,000 comparisons of a method with itself. The two sides take, item by item, the scores that two
real methods have on it, in random order: each side is as good as the other, and their differences are real.
Power: the same, less a stated drop of every item of the candidate. --degraded runs BM25 with a broken k1 and
all-MiniLM-L6-v2 in int8 on SciFact and checks them against the stored runs (a few minutes).
"""

from __future__ import annotations

import argparse
import platform
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import scipy

from harness.assets import Assets, cache_root
from harness.catalog import Catalog
from harness.execute import Session
from harness.registry import parse_method
from harness.regression.check import Stored, judge, run_candidates
from harness.regression.judge import Verdict, decide, weigh
from harness.regression.policy import Policy, Quality
from harness.stats import power_of
from harness.stats.intervals import Doubles
from harness.store import Store

ROUNDS = 1_000
POWER_ROUNDS = 300
PAIRS = (
    ("beir/scifact", "bm25", "dense", "nDCG@10", "randomisation"),
    ("beir/scifact", "bm25", "bm25-lucene", "nDCG@10", "randomisation"),
    ("beir/scifact", "bm25", "dense", "RR@10", "t"),
    ("mmlu-0shot", "embedding-choice", "random", "Acc", "mcnemar"),
)
DEGRADED = (("bm25", "bm25(k1=100)"), ("bm25", "bm25(k1=1.5)"), ("dense", "benchmarks.degraded:Int8Dense"))


@dataclass(frozen=True, eq=False)
class Pair:
    """The scores of two methods on the same items, and the test to use."""

    name: str
    left: Doubles
    right: Doubles
    rule: Quality


def read_pairs(store: Store) -> list[Pair]:
    """The pairs whose runs are stored."""
    found = []
    for task, *methods, measure, test in PAIRS:
        runs = [store.find(task, method)[-1:] for method in methods]
        if all(runs):
            frames = [store.items(run[0]).set_index("item")[measure] for run in runs]
            left, right = (frame.loc[frames[0].index].to_numpy(np.float64) for frame in frames)
            name = f"{task}, {measure}, {' / '.join(methods)}, {test}"
            found.append(Pair(name, left, right, Quality(test=test)))  # type: ignore[arg-type]
    return found


def verdicts(pair: Pair, rule: Quality, drop: float, rounds: int) -> Counter[Verdict]:
    """What *rounds* checks say of a candidate that is as good as its baseline, less *drop* on every item."""
    generator, found = np.random.default_rng(0), Counter[Verdict]()
    for _ in range(rounds):
        swap = generator.random(len(pair.left)) < 0.5
        before = np.where(swap, pair.left, pair.right)
        after = np.where(swap, pair.right, pair.left) - drop
        ((verdict, _why),) = decide([weigh(before, after, rule)], [rule])
        found[verdict] += 1
    return found


def false_alarms(pairs: list[Pair], rounds: int) -> None:
    """Print the share of "worse" among comparisons of equals."""
    print("| scores | n | least effect | worse | fine | cannot tell |\n|---|--:|--:|--:|--:|--:|")
    for pair in pairs:
        for effect in (1e-9, 0.01):
            rule = replace(pair.rule, effect=effect)
            found = verdicts(pair, rule, 0.0, rounds)
            shares = [
                f"{found[kind] / rounds:.1%}" for kind in (Verdict.WORSE, Verdict.FINE, Verdict.CANNOT_TELL)
            ]
            print(f"| {pair.name} | {len(pair.left):,} | {effect:g} | {' | '.join(shares)} |", flush=True)


def power(pairs: list[Pair], rounds: int) -> None:
    """Print how often a stated drop is found, beside what the noncentral t says of the test alone."""
    print("| scores | n | drop | worse | by theory | cannot tell |\n|---|--:|--:|--:|--:|--:|")
    for pair in pairs:
        if pair.rule.test == "mcnemar":
            continue  # a drop of every item makes no right and wrong answers
        spread = float(np.sqrt(np.mean((pair.left - pair.right) ** 2)))
        for drop in (0.01, 0.02, 0.03, 0.05, 0.08):
            rule = replace(pair.rule, effect=drop / 4)
            found = verdicts(pair, rule, drop, rounds)
            theory = power_of(drop / spread, len(pair.left), 2 * rule.alpha)
            worse, doubt = (f"{found[kind] / rounds:.1%}" for kind in (Verdict.WORSE, Verdict.CANNOT_TELL))
            print(
                f"| {pair.name} | {len(pair.left):,} | {drop} | {worse} | {theory:.1%} | {doubt} |",
                flush=True,
            )


def degraded(results: Path, folder: Path) -> None:
    """Run the degraded methods on SciFact and print what the check says of each."""
    session = Session(Catalog(), Store(folder), Assets(cache_root()))
    store = Store(results)
    print("| baseline | candidate | before | after | verdict | why |\n|---|---|--:|--:|---|---|")
    for old, new in DEGRADED:
        baseline = Stored(store, store.find("beir/scifact", old)[-1])
        cells = run_candidates([baseline], session, lambda *_a: None, parse_method(new))
        (finding,) = judge(cells, Policy(), {})
        before, after = (
            f"{value:.4f}" if value is not None else "" for value in (finding.before, finding.after)
        )
        print(f"| {old} | {new} | {before} | {after} | {finding.verdict} | {finding.why} |", flush=True)


def main() -> None:
    """Print the tables of benchmarks/README.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--degraded", action="store_true", help="only the degraded methods")
    options = parser.parse_args()
    print(f"Python {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}")
    if options.degraded:
        with tempfile.TemporaryDirectory() as folder:
            degraded(options.results, Path(folder))
        return
    pairs = read_pairs(Store(options.results))
    false_alarms(pairs, options.rounds)
    power(pairs, min(options.rounds, POWER_ROUNDS))


if __name__ == "__main__":
    main()
