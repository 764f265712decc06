"""SciFact with all-MiniLM-L6-v2 from nothing, beside mteb: same weights, same precision, whole processes.

Each side runs alternately in fresh processes: start, model, encoding, search, scores. Touchstone starts with
an empty cache and empty results; then another method runs over the vectors that the first left. mteb has
batch 32 (its default) and any other size given.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.meter import machine, package_version

WARM = "prf-interpolation"  # another method over the same vectors; starts from bm25, which has run as well
DATA = Path(os.environ.get("TOUCHSTONE_DATA", "data")) / "beir" / "scifact"
DEFINITIONS = {
    "datasets/scifact.yaml": """\
- name: scifact
  title: SciFact
  about: The corpus or the first part of it.
  licence: none
  url: https://github.com/allenai/scifact
  sources: [{format: beir, path: scifact}]
""",
    "tasks/scifact.yaml": """\
- name: scifact
  kind: rank
  dataset: scifact
  measures: [nDCG@10, R@100]
""",
}


@dataclass(frozen=True)
class Times:
    """One whole process. score: nDCG@10."""

    wall: float
    cpu: float
    score: float


def write_part(folder: Path, documents: int) -> None:
    """A BEIR folder with the first *documents* documents (0: all) and the judgements of them."""
    target = folder / "data" / "scifact"
    (target / "qrels").mkdir(parents=True)
    lines = (DATA / "corpus.jsonl").read_text().splitlines()
    kept = lines[:documents] if documents else lines
    (target / "corpus.jsonl").write_text("\n".join(kept) + "\n")
    ids = {json.loads(line)["_id"] for line in kept}
    head, *rows = (DATA / "qrels" / "test.tsv").read_text().splitlines()
    judged = [row for row in rows if row.split("\t")[1] in ids]
    (target / "qrels" / "test.tsv").write_text("\n".join([head, *judged]) + "\n")
    shutil.copy(DATA / "queries.jsonl", target / "queries.jsonl")
    for name, text in DEFINITIONS.items():
        path = folder / "suites" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def process(command: Sequence[str], folder: Path) -> tuple[float, float, str]:
    """(wall seconds, processor seconds, standard output) of a process."""
    places = {"TOUCHSTONE_DATA": "data", "TOUCHSTONE_SUITES": "suites", "TOUCHSTONE_CACHE": "cache"}
    env = {**os.environ, "HF_HUB_OFFLINE": "1", **{name: str(folder / part) for name, part in places.items()}}
    before, start = os.times(), time.perf_counter()
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - start, os.times()
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, cpu, done.stdout


def touchstone(folder: Path, method: str, fresh: bool) -> Times:
    """``touchstone run`` of a method; fresh: with an empty cache and no results."""
    if fresh:
        shutil.rmtree(folder / "cache", ignore_errors=True)
        shutil.rmtree(folder / "results", ignore_errors=True)
    results = str(folder / "results")
    command = [sys.executable, "-m", "harness.cli", "run", "--task", "scifact", "--device", "cpu"]
    wall, cpu, _ = process([*command, "--results", results, "--method", method], folder)
    records = [json.loads(path.read_text()) for path in Path(results).glob("**/record.json")]
    score = next(r["scores"]["nDCG@10"]["value"] for r in records if r["run"]["method"]["name"] == method)
    return Times(wall, cpu, float(score))


PEER = """
import json, sys
from pathlib import Path
import mteb, torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer
from harness.models.source import find_model
folder, precision, batch = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
def rows(name): return [json.loads(line) for line in (folder / name).open()]
task = mteb.get_task("SciFact")
def load_data(*args, **more):
    relevant = {}
    for line in (folder / "qrels" / "test.tsv").read_text().splitlines()[1:]:
        query, document, grade = line.split("\\t")
        relevant.setdefault(query, {})[document] = int(grade)
    data = {"relevant_docs": relevant, "top_ranked": None}
    data["corpus"] = Dataset.from_list(
        [{"id": d["_id"], "title": d["title"], "text": d["text"]} for d in rows("corpus.jsonl")]
    )
    data["queries"] = Dataset.from_list(
        [{"id": q["_id"], "text": q["text"]} for q in rows("queries.jsonl") if q["_id"] in relevant]
    )
    task.dataset = {"default": {"test": data}}
    task.data_loaded = True
task.load_data = load_data
model = SentenceTransformer(str(find_model("all-MiniLM-L6-v2", "", "mteb").folder), device="cpu")
if precision == "bf16":
    model = model.to(torch.bfloat16)
found = mteb.evaluate(model, task, cache=None, encode_kwargs={"batch_size": batch}, show_progress_bar=False)
print("NDCG", found.task_results[0].scores["test"][0]["ndcg_at_10"])
"""


def peer(folder: Path, precision: str, batch: int) -> Times:
    """``mteb.evaluate`` on the same files."""
    command = [sys.executable, "-c", PEER, str(folder / "data" / "scifact"), precision, str(batch)]
    wall, cpu, printed = process(command, folder)
    return Times(wall, cpu, float(printed.split("NDCG")[1].split()[0]))


def main() -> None:
    """Print one line a run and the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=0, help="the first so many, 0 for all 5,183")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--batch", type=int, action="append", help="mteb's batch size")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path("build/scifact-cold"))
    args = parser.parse_args()
    shutil.rmtree(args.folder, ignore_errors=True)
    folder = args.folder.resolve()
    write_part(folder, args.documents)
    method = "dense" if args.precision == "fp32" else "dense(precision=bf16)"
    warm = WARM if args.precision == "fp32" else f"{WARM}(precision=bf16)"
    found: dict[str, list[Times]] = {}

    def note(name: str, times: Times) -> None:
        found.setdefault(name, []).append(times)
        print(
            f"{name:28} {times.wall:7.1f} s wall {times.cpu:7.1f} s cpu nDCG@10 {times.score:.4f}", flush=True
        )

    for _ in range(args.rounds):
        note("touchstone, cold", touchstone(folder, method, fresh=True))
        touchstone(folder, "bm25", fresh=False)
        note("touchstone, another method", touchstone(folder, warm, fresh=False))
        for batch in args.batch or [32]:
            note(f"mteb, batch {batch}", peer(folder, args.precision, batch))
    names = ("mteb", "sentence-transformers", "torch", "transformers")
    print(machine(), {name: package_version(name) for name in names}, os.environ.get("OMP_NUM_THREADS"))
    cold = found["touchstone, cold"]
    for name, times in found.items():
        wall, cpu = statistics.median(t.wall for t in times), statistics.median(t.cpu for t in times)
        ratios = (
            wall / statistics.median(t.wall for t in cold),
            cpu / statistics.median(t.cpu for t in cold),
        )
        print(
            f"{name:28} median {wall:7.1f} s wall {cpu:7.1f} s cpu; of cold: {ratios[0]:.2f} {ratios[1]:.2f}"
        )


if __name__ == "__main__":
    main()
