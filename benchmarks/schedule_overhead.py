"""What scheduling costs a run: 1,000 tiny runs through a worker process, and the same in a plain loop.

python -m benchmarks.schedule_overhead
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

import click

from harness.assets import Assets
from harness.catalog import Catalog
from harness.execute import Session
from harness.registry import parse_method
from harness.schedule.forecast import name_jobs
from harness.schedule.start import ScheduleOptions, run_schedule
from harness.spec import RunSpec
from harness.store import Store
from tests.toys import write_definitions, write_mirror


@click.command()
@click.option("--runs", default=1000, show_default=True)
@click.option("--rounds", default=2, show_default=True)
def main(runs: int, rounds: int) -> None:
    """Print the table of benchmarks/README.md."""
    root = Path(tempfile.mkdtemp())
    write_mirror(root / "mirror")
    write_definitions(root / "suites")
    os.environ |= {"TOUCHSTONE_DATA": str(root / "mirror"), "TOUCHSTONE_SUITES": str(root / "suites")}
    loop: list[tuple[float, float]] = []
    process: list[tuple[float, float]] = []
    for number in range(rounds):
        loop.append(_loop(root / f"loop{number}", runs))
        process.append(_process(root / f"process{number}", runs))
    shutil.rmtree(root)
    click.echo("| what | plain loop | one worker process | scheduling costs a run |\n|---|---|---|---|")
    for column, what in enumerate(("wall seconds", "processor seconds, all processes")):
        one, other = (min(found[column] for found in times) for times in (loop, process))
        cost = (other - one) / runs * 1000
        click.echo(f"| {what}, {runs:,} runs | {one:.1f} | {other:.1f} | {cost:.1f} ms |")


def _session(place: Path) -> Session:
    return Session(Catalog(), Store(place / "results"), Assets(place / "cache"))


def _specs(session: Session, runs: int) -> list[RunSpec]:
    task = session.catalog.task("toy")
    return [RunSpec(parse_method("random"), task, seed) for seed in range(runs)]


def _clock() -> tuple[float, float]:
    """Wall seconds, and processor seconds of this process and of its children that have ended."""
    return time.perf_counter(), sum(os.times()[:4])


def _since(start: tuple[float, float]) -> tuple[float, float]:
    wall, cpu = _clock()
    return wall - start[0], cpu - start[1]


def _loop(place: Path, runs: int) -> tuple[float, float]:
    session = _session(place)
    specs = _specs(session, runs)
    start = _clock()
    for spec in specs:
        session.execute(session.plan(spec), lambda *_a: None)
    return _since(start)


def _process(place: Path, runs: int) -> tuple[float, float]:
    """The whole of a schedule: planning, forecasts, the worker's start, its end."""
    session = _session(place)
    specs = _specs(session, runs)
    start = _clock()
    jobs = name_jobs(session.plan(spec) for spec in specs)
    ended = run_schedule(session, jobs, ScheduleOptions(devices="cpu"), lambda _e: None)
    assert not ended.failed
    return _since(start)


if __name__ == "__main__":
    main()
