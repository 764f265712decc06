"""5-shot MMLU by Touchstone and by lm-evaluation-harness: the same model, prompts and machine.

``python -m benchmarks.mmlu_lm_eval --shape 100m --subjects anatomy astronomy --limit 40 --batch-sizes 1 8``
needs $TOUCHSTONE_DATA with MMLU and the package lm-eval. Each side runs in processes of its own, in turns.
Both are timed from a loaded model to scored answers; CPU seconds and peak memory are of the whole process.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.random_llama import mmlu_texts, write_llama

PROMPT = "{{question}}\nA. {{A}}\nB. {{B}}\nC. {{C}}\nD. {{D}}\nAnswer:"
COLUMNS = ["question", "A", "B", "C", "D", "answer"]


def main() -> None:
    """Run both sides in turns and print a table's numbers as JSON."""
    options = _options()
    if options.side:
        found = (_ours if options.side == "touchstone" else _theirs)(options)
        found["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        Path(options.out).write_text(json.dumps(found))
        return
    mirror = Path(os.environ["TOUCHSTONE_DATA"])
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        parameters = write_llama(folder, options.shape, mmlu_texts(mirror))
        turns: list[tuple[str, int]] = [("lm-eval", size) for size in options.batch_sizes]
        best: dict[str, Any] = {}
        runs: dict[str, list[dict[str, Any]]] = {"lm-eval": [], "touchstone": []}
        for side, size in turns:  # their best batch size first
            runs[side].append(_process(options, folder, side, size, scratch))
        best = min(runs["lm-eval"], key=lambda run: run["seconds"])
        for _ in range(options.repeats):
            runs["touchstone"].append(_process(options, folder, "touchstone", 0, scratch))
            if len(runs["touchstone"]) < options.repeats:
                runs["lm-eval"].append(_process(options, folder, "lm-eval", best["batch"], scratch))
    print(json.dumps(_summary(options, parameters, runs), indent=1))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", default="100m", choices=["tiny", "100m", "1b"])
    parser.add_argument("--subjects", nargs="+", default=["anatomy", "astronomy"])
    parser.add_argument("--limit", type=int, default=0, help="questions of each subject, 0 for all")
    parser.add_argument(
        "--batch-sizes", nargs="+", type=int, default=[1, 8], help="that lm-eval is tried with"
    )
    parser.add_argument("--repeats", type=int, default=2)
    for hidden in ("--side", "--folder", "--batch", "--out"):
        parser.add_argument(hidden, default="", help=argparse.SUPPRESS)
    return parser.parse_args()


def _process(
    options: argparse.Namespace, folder: Path, side: str, batch: int, scratch: str
) -> dict[str, Any]:
    """One side in a process of its own."""
    out = Path(scratch) / "out.json"
    command = [sys.executable, "-m", "benchmarks.mmlu_lm_eval", "--side", side, "--folder", str(folder)]
    command += ["--batch", str(batch), "--out", str(out), "--limit", str(options.limit)]
    command += ["--subjects", *options.subjects]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found: dict[str, Any] = json.loads(out.read_text())
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {**found, "side": side, "batch": batch, "cpu_seconds": cpu}


def _ours(options: argparse.Namespace) -> dict[str, Any]:
    from harness.assets import Assets
    from harness.catalog import Catalog
    from harness.execute import Session
    from harness.models.language import LanguageModelSpec, load_language_model
    from harness.registry import parse_method
    from harness.spec import RunSpec
    from harness.store import Store, limited
    from harness.tasks.choose import ChooseTask

    with tempfile.TemporaryDirectory() as scratch:
        session = Session(Catalog(), Store(Path(scratch) / "results"), Assets(Path(scratch) / "cache"))
        model = load_language_model(LanguageModelSpec(options.folder))
        session.kept[LanguageModelSpec(options.folder)] = model
        method = parse_method(f"hf-lm(model={options.folder})")
        rows: dict[str, Any] = {}
        prompts: dict[str, str] = {}
        start = time.perf_counter()
        for subject in options.subjects:
            run = RunSpec(method, session.catalog.task(f"mmlu/{subject}"), limit=options.limit)
            planned = session.plan(run)
            record = session.execute(planned, lambda *_: None)
            task = limited(planned.task, options.limit)
            assert isinstance(task, ChooseTask)
            stored = session.store.answers(record, task)
            for item, values in zip(task.items.tolist(), stored.logprobs.tolist(), strict=True):  # type: ignore[union-attr]
                rows[task.item_ids[item]] = values
                prompts[task.item_ids[item]] = task.prompt(item)
        seconds = time.perf_counter() - start
        tokens = model.work.computed
    return {"seconds": seconds, "tokens": tokens, "rows": rows, "prompts": prompts}


def _theirs(options: argparse.Namespace) -> dict[str, Any]:
    import csv

    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    mirror, tasks = Path(os.environ["TOUCHSTONE_DATA"]) / "mmlu", []
    scratch = Path(tempfile.mkdtemp())
    for subject in options.subjects:
        files = {}
        for split in ("dev", "test"):
            with (mirror / split / f"{subject}_{split}.csv").open(encoding="utf-8", newline="") as handle:
                rows = [dict(zip(COLUMNS, row, strict=True)) for row in csv.reader(handle)]
            files[split] = str(scratch / f"{subject}_{split}.json")
            Path(files[split]).write_text(json.dumps(rows))
        tasks.append(_their_task(subject, files))
    model = HFLM(pretrained=options.folder, dtype="float32", device="cpu", batch_size=int(options.batch))
    tokens = 0
    forward = model.model.forward

    def counted(*args: Any, **named: Any) -> Any:
        nonlocal tokens
        ids = args[0] if args else named["input_ids"]
        tokens += ids.numel()
        return forward(*args, **named)

    model.model.forward = counted
    start = time.perf_counter()
    found = simple_evaluate(
        model, tasks=tasks, limit=options.limit or None, bootstrap_iters=0, log_samples=True, num_fewshot=5
    )
    seconds = time.perf_counter() - start
    rows, prompts = {}, {}
    for subject in options.subjects:
        for sample in found["samples"][f"touchstone_{subject}"]:
            name = f"{subject}/{sample['doc_id']}"
            rows[name] = [float(answer[0]) for answer in sample["filtered_resps"]]
            prompts[name] = sample["arguments"][0][0]
    return {"seconds": seconds, "tokens": tokens, "rows": rows, "prompts": prompts}


def _their_task(subject: str, files: dict[str, str]) -> dict[str, Any]:
    return {
        "task": f"touchstone_{subject}",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": files},
        "test_split": "test",
        "fewshot_split": "dev",
        "fewshot_config": {"sampler": "first_n"},
        "num_fewshot": 5,
        "output_type": "multiple_choice",
        "description": "The following are multiple choice questions (with answers) about "
        f"{subject.replace('_', ' ')}.\n\n",
        "doc_to_text": PROMPT,
        "doc_to_choice": ["A", "B", "C", "D"],
        "doc_to_target": "answer",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }


def _summary(
    options: argparse.Namespace, parameters: int, runs: dict[str, list[dict[str, Any]]]
) -> dict[str, Any]:
    ours = min(runs["touchstone"], key=lambda run: run["seconds"])
    theirs = min(runs["lm-eval"], key=lambda run: run["seconds"])
    assert ours["rows"].keys() == theirs["rows"].keys()
    a = np.array([ours["rows"][name] for name in ours["rows"]])
    b = np.array([theirs["rows"][name] for name in ours["rows"]])
    names = ("seconds", "cpu_seconds", "tokens", "peak_mb", "batch")
    return {
        "model": {"shape": options.shape, "parameters": parameters},
        "questions": len(a),
        "subjects": options.subjects,
        "prompts_that_differ": sum(ours["prompts"][n] != theirs["prompts"][n] for n in ours["prompts"]),
        "largest_difference": float(np.abs(a - b).max()),
        "answers_that_differ": int((a.argmax(axis=1) != b.argmax(axis=1)).sum()),
        "best": {
            side: {name: run[name] for name in names}
            for side, run in (("touchstone", ours), ("lm-eval", theirs))
        },
        "times_faster": theirs["seconds"] / ours["seconds"],
        "all": [{"side": r["side"], **{n: r[n] for n in names}} for side in runs.values() for r in side],
        "versions": {name: metadata.version(name) for name in ("lm-eval", "torch", "transformers", "numpy")},
    }


if __name__ == "__main__":
    main()
