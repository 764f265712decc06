"""The site at the size of a large public board: generated records of many methods on many tasks.

python -m benchmarks.site_scale [--methods 1000] [--tasks 100] [--items 50] [--folder build/site_scale]

Prints how long the build takes, from nothing and after one new result, its memory, and in Chromium how long
the board takes to show and to sort, and its weight compressed.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness.parallel import each
from harness.record import RECORD_FILE, Cost, Latency, Record, to_text
from harness.scores import Summary
from harness.spec import Json, Kind, MethodSpec, RunSpec, TaskSpec
from harness.store import ITEMS_FILE, Store

MEASURES = ("nDCG@10", "R@100")
DATASETS = (
    "- {{name: scale-{0}, title: Generated {0}, about: Generated scores., licence: none, "
    "url: 'https://example.org', sources: [{{format: pydoc}}]}}\n"
)
TASKS = "- {{name: scale/{0}, title: Task {0}, kind: rank, dataset: scale-{0}, measures: [nDCG@10, R@100]}}\n"
SUITE = "name: scale\ntitle: Scale\nabout: Generated scores of many methods.\ntasks: [{}]\nmethods: []\n"
ADAPTERS = {
    "bm25": "",
    "dense": "all-MiniLM-L6-v2",
    "fusion": "all-MiniLM-L6-v2",
    "cross-encoder": "ms-marco-MiniLM-L6-v2",
}


@dataclass(frozen=True)
class Size:
    """How much is generated, and where."""

    methods: int
    tasks: int
    items: int
    folder: Path


def method_spec(number: int) -> MethodSpec:
    """One of many settings of a few adapters."""
    adapter = list(ADAPTERS)[number % len(ADAPTERS)]
    settings: dict[str, Json] = {"depth": 10 + number}
    return MethodSpec(f"{adapter}(depth={10 + number})", adapter, settings)


def generate_task(size: Size, number: int) -> None:
    """The records of every method on one task."""
    generator = np.random.default_rng(number)
    store, task = (
        Store(size.folder / "results"),
        TaskSpec(f"scale/{number}", Kind.RANK, f"scale-{number}", MEASURES, f"Task {number}"),
    )
    skills = np.random.default_rng(0).normal(0.5, 0.12, size.methods)
    hardness = generator.normal(0.0, 0.25, size.items)
    names = [f"query-{item}" for item in range(size.items)]
    for method in range(size.methods):
        noise = generator.normal(0.0, 0.12, (2, size.items))
        scores = np.clip(skills[method] + hardness + noise, 0.0, 1.0).round(6)
        store_one(store, record_of(method_spec(method), task, scores), names, scores)


def record_of(
    method: MethodSpec, task: TaskSpec, scores: np.ndarray, finished: str = "2026-06-01T12:00:00+00:00"
) -> Record:
    """A record as a run leaves it; its intervals are normal ones, which is quick."""
    run = RunSpec(method, task)
    means, errors = scores.mean(axis=1), 1.96 * scores.std(axis=1) / scores.shape[1] ** 0.5
    summaries = {
        name: Summary(float(mean), float(mean - error), float(mean + error), scores.shape[1])
        for name, mean, error in zip(MEASURES, means, errors, strict=True)
    }
    model = ADAPTERS[method.adapter]
    seconds = 2.0 + 60.0 * bool(model) + float(means[0])
    machine: dict[str, Json] = {
        "cpu": "Example CPU",
        "cores": 2,
        "memory_bytes": 25_000_000_000,
        "system": "Linux",
    }
    provenance: dict[str, Json] = {
        "command": run.command,
        "started": "2026-06-01T11:59:00+00:00",
        "finished": finished,
        "touchstone": "0.1.0",
        "made_with": {"code": "0123456789abcdef", **({"encoder": {"model": model}} if model else {})},
        "data": "d1",
        "device": "cpu",
        "machine": machine,
        "versions": dict.fromkeys(("python", "numpy", "scipy", "pyarrow", "torch", "transformers"), "1.0.0"),
    }
    cost = Cost(
        seconds, 0.0, {"index": seconds / 2, "search": seconds / 2}, 50.0, 10**8 + 10**9 * bool(model), 10**7
    )
    latency = Latency(0.004, 0.007, 0.009, 50, 10, machine)
    return Record(
        run.run_id({"at": finished}, "d1"),
        "done",
        run,
        summaries,
        {"missing": 0},
        cost,
        provenance,
        latency=latency,
    )


def store_one(store: Store, record: Record, names: list[str], scores: np.ndarray) -> None:
    """Write a run where the store looks for it, with the digest of its items; without the syncs of a real
    run, which would take hours.
    """
    folder = store.folder(record)
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.table({"item": names, **dict(zip(MEASURES, scores, strict=True))})
    pq.write_table(table, folder / ITEMS_FILE, compression="zstd")
    sha256 = hashlib.sha256((folder / ITEMS_FILE).read_bytes()).hexdigest()
    record = replace(record, provenance={**record.provenance, "files": {ITEMS_FILE: sha256}})
    (folder / RECORD_FILE).write_text(to_text(record), encoding="utf-8")


def generate(size: Size) -> None:
    """All records, and the definitions of their tasks and suite."""
    suites = size.folder / "suites"
    for name in ("datasets", "tasks"):
        (suites / name).mkdir(parents=True)
    numbers = range(size.tasks)
    (suites / "datasets" / "scale.yaml").write_text("".join(map(DATASETS.format, numbers)))
    (suites / "tasks" / "scale.yaml").write_text("".join(map(TASKS.format, numbers)))
    (suites / "scale.yaml").write_text(SUITE.format(", ".join(f"scale/{number}" for number in numbers)))
    each(generate_task, size, list(numbers))


def build(folder: Path) -> tuple[float, float]:
    """Wall seconds of ``touchstone site build`` in a process of its own, and CPU seconds of them all."""
    command = [sys.executable, "-m", "harness.cli", "site", "build"]
    command += ["--results", str(folder / "results"), "--out", str(folder / "site")]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        command,
        check=True,
        env={**os.environ, "TOUCHSTONE_SUITES": str(folder / "suites")},
        stdout=subprocess.DEVNULL,
    )
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


SORT = """() => new Promise(done => {
  const button = document.querySelectorAll('table.board thead button')[4], start = performance.now();
  button.click(); document.body.offsetHeight;
  done(performance.now() - start);
})"""
SHOWN = "() => performance.getEntriesByName('first-contentful-paint')[0].startTime"


def look(page_file: Path) -> dict[str, float]:
    """Milliseconds until the board is painted, is ready, and to sort it, in Chromium; medians of five."""
    from playwright.sync_api import sync_playwright

    found: dict[str, list[float]] = {"painted": [], "ready": [], "sorted": []}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        for _ in range(5):
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(page_file.as_uri())
            page.wait_for_timeout(300)
            found["painted"].append(page.evaluate(SHOWN))
            found["ready"].append(
                page.evaluate("performance.timing.loadEventEnd - performance.timing.navigationStart")
            )
            found["sorted"].append(page.evaluate(SORT))
            page.close()
        browser.close()
    return {name: float(np.median(values)) for name, values in found.items()}


def weight(page_file: Path) -> int:
    """Bytes of a page with its style and script, each compressed as a web server would."""
    static = page_file.parents[1] / "static"
    return sum(len(gzip.compress(path.read_bytes(), 6)) for path in (page_file, *sorted(static.iterdir())))


def one_more(size: Size) -> None:
    """A newer run of one method on one task."""
    scores = np.random.default_rng(99).random((2, size.items))
    task = TaskSpec("scale/0", Kind.RANK, "scale-0", MEASURES, "Task 0")
    record = record_of(method_spec(0), task, scores, "2026-07-01T12:00:00+00:00")
    store_one(Store(size.folder / "results"), record, [f"query-{item}" for item in range(size.items)], scores)


@click.command()
@click.option("--methods", default=1000)
@click.option("--tasks", default=100)
@click.option("--items", default=50)
@click.option("--folder", type=click.Path(path_type=Path), default=Path("build/site_scale"))
@click.option("--keep", is_flag=True, help="Use the records that are there, and leave everything.")
def main(methods: int, tasks: int, items: int, folder: Path, keep: bool) -> None:
    """Generate, build, look."""
    size = Size(methods, tasks, items, folder)
    if not (keep and folder.exists()):
        shutil.rmtree(folder, ignore_errors=True)
        generate(size)
    if (folder / "site").exists():  # not deleted: ext4 makes files slowly for minutes after many were
        (folder / "site").rename(folder / f"site-{time.time_ns()}")
    whole, whole_cpu = build(folder)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    board = folder / "site" / "suites" / "scale.html"
    found = {"build_s": whole, "build_cpu_s": whole_cpu, "largest_process_GB": peak}
    found |= {f"{name}_ms": value for name, value in look(board).items()} | {"board_kB": weight(board) / 1000}
    one_more(size)
    found["one_more_s"], found["one_more_cpu_s"] = build(folder)
    print(json.dumps({name: round(value, 2) for name, value in found.items()}, indent=1))
    if not keep:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
