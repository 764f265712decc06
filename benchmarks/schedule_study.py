"""Simulated makespans: the scheduler, one run a card in the order given, and a shell loop for each card.

    python -m benchmarks.schedule_study

Three workloads on 1,000 cards of 80 GiB, 8 a node, 100,000 runs: 40 models on 50 corpora. The seconds of a
run are log-normal; loading a model takes 3 s and 1 s for every 2 GiB. "small": models of up to 4 GiB, so that
memory does not bind; "mixed": 1 to 60 GiB, 1 % of the runs take 2, 4 or 8 cards of a node; "large": 16 to 75
GiB.
"""

from __future__ import annotations

import heapq
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import click

from harness.schedule.jobs import Device, Job
from harness.schedule.simulate import lower_bound, makespan, simulate
from harness.schedule.state import Placement

GIB = 2**30
COLUMNS = (
    "workload",
    "lower bound",
    "Touchstone",
    "FIFO",
    "shell loops",
    "over the bound",
    "FIFO / Touchstone",
    "loops / Touchstone",
    "model loads",
    "planned in",
)


@dataclass(frozen=True)
class Workload:
    """sizes: GiB of the models and the share of a card's compute that a run with one takes."""

    name: str
    sizes: tuple[tuple[int, float], ...]
    wide: float = 0.0

    def jobs(self, count: int, seed: int) -> list[Job]:
        """*count* runs."""
        draw = random.Random(seed)
        models = [(f"model {n}", *self.sizes[n % len(self.sizes)]) for n in range(40)]
        jobs = []
        for number in range(count):
            model, gib, busy = draw.choice(models)
            wide = draw.random() < self.wide
            jobs.append(
                Job(
                    f"run {number}",
                    "gpu",
                    gib * GIB,
                    seconds=draw.lognormvariate(4.5, 0.8),
                    busy=1.0 if wide else busy,
                    devices=draw.choice((2, 4, 8)) if wide else 1,
                    model=model,
                    corpus=f"corpus {draw.randrange(50)}",
                )
            )
        return jobs


WORKLOADS = (
    Workload("small", ((1, 0.15), (1, 0.2), (2, 0.3), (4, 0.5))),
    Workload("mixed", ((1, 0.15), (2, 0.25), (4, 0.4), (16, 0.7), (30, 1.0), (60, 1.0)), wide=0.01),
    Workload("large", ((16, 0.6), (30, 0.9), (75, 1.0))),
)


def load_seconds(job: Job) -> float:
    """Of a run's model."""
    return 3.0 + job.bytes / GIB / 2


def setup(placement: Placement) -> float:
    """Nothing when the worker has the model."""
    return 0.0 if placement.warm >= 2 else load_seconds(placement.job)


def fifo(devices: Sequence[Device], jobs: Sequence[Job], loops: bool) -> float:
    """One run a card, every run a process of its own that loads its model, in the order given.

    loops: a shell loop for each card over an equal share of the list, instead of one queue; runs that take
    several cards go first, on the nodes in turn.
    """
    nodes: dict[str, list[int]] = {}
    for number, device in enumerate(devices):
        nodes.setdefault(device.node, []).append(number)
    names, free = list(nodes), [0.0] * len(devices)
    ordered = sorted(jobs, key=lambda job: -(job.devices > 1)) if loops else list(jobs)
    waiting = [(0.0, number) for number in range(len(devices))]
    turn = now = 0.0
    for job in ordered:
        seconds = job.seconds + load_seconds(job)
        if job.devices > 1:
            if loops:
                cards = nodes[names[int(turn) % len(names)]]
            else:
                cards = min(nodes.values(), key=lambda c: sorted(free[n] for n in c)[job.devices - 1])
            cards = sorted(cards, key=lambda n: free[n])[: job.devices]
        elif loops:
            cards = [int(turn) % len(devices)]
        else:
            while free[waiting[0][1]] > waiting[0][0]:
                heapq.heapreplace(waiting, (free[waiting[0][1]], waiting[0][1]))
            cards = [waiting[0][1]]
        turn += 1
        start = max(free[n] for n in cards)
        now = start if loops else max(now, start)  # a queue: nobody starts before those in front
        for n in cards:
            free[n] = now + seconds
    return max(free)


@click.command()
@click.option("--cards", default=1000, show_default=True)
@click.option("--runs", default=100_000, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(cards: int, runs: int, seed: int) -> None:
    """Print the table of benchmarks/README.md."""
    devices = [Device(f"card {n}", "gpu", 80 * GIB, f"node {n // 8}") for n in range(cards)]
    click.echo(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
    for workload in WORKLOADS:
        jobs = workload.jobs(runs, seed)
        start = time.process_time()
        spans = simulate(devices, jobs, setup)
        planned = time.process_time() - start
        assert len(spans) == len(jobs)
        ours, bound = makespan(spans), lower_bound(devices, jobs)
        queue, loops = fifo(devices, jobs, False), fifo(devices, jobs, True)
        loads = sum(span.setup > 0 for span in spans)
        times = " | ".join(f"{seconds:,.0f} s" for seconds in (bound, ours, queue, loops))
        ratios = f"{queue / ours:.2f} | {loops / ours:.2f}"
        over = f"{ours / bound - 1:.1%}"
        click.echo(f"| {workload.name} | {times} | {over} | {ratios} | {loads:,} | {planned:.1f} s |")


if __name__ == "__main__":
    main()
