"""Runs packed on one card against the same runs one at a time: makespan, busy share, memory claimed and used.

    python -m benchmarks.gpu_packing

Needs a card, torch and transformers; nothing is downloaded. The encoders have random weights and the texts
are random words: this checks the machinery and measures the card, not any method. Prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import click

GIB = 2**30
WORDS = [f"word{n}" for n in range(2000)]
SIZES = {"small": (384, 6, 12), "base": (768, 12, 12)}  # hidden size, layers, heads
DATASETS = """\
- name: {name}
  title: {name}
  about: Random words.
  licence: none
  url: https://example.org/{name}
  sources: [{{format: beir, path: {name}}}]
"""
TASKS = "- name: {name}\n  kind: rank\n  dataset: {name}\n  measures: [nDCG@10]\n  depth: 100\n"


class Busy(threading.Thread):
    """Samples NVML's utilisation of card 0 and the memory taken of it until told to end."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.shares: list[float] = []
        self.memory: list[int] = []
        self.over = threading.Event()

    def run(self) -> None:
        """Ten samples a second, from NVML or by torch's own reading."""
        while not self.over.wait(0.1):
            share, memory = sample()
            if share is not None:
                self.shares.append(share)
                self.memory.append(memory)

    def mean(self) -> float | None:
        """The mean share, None when nothing told."""
        return round(sum(self.shares) / len(self.shares), 3) if self.shares else None


def sample() -> tuple[float | None, int]:
    """(busy share, bytes taken) of the first card."""
    try:
        import pynvml

        pynvml.nvmlInit()
        card = pynvml.nvmlDeviceGetHandleByIndex(0)
        used = int(pynvml.nvmlDeviceGetMemoryInfo(card).used)
        return float(pynvml.nvmlDeviceGetUtilizationRates(card).gpu) / 100, used
    except Exception:
        return smi()


def smi() -> tuple[float | None, int]:
    """The same by nvidia-smi, which comes with the driver."""
    import subprocess

    query = [
        "nvidia-smi",
        "--query-gpu=utilization.gpu,memory.used",
        "--format=csv,noheader,nounits",
        "-i",
        "0",
    ]
    try:
        done = subprocess.run(query, capture_output=True, text=True, check=True, timeout=10)
        share, memory = done.stdout.split(",")
        return float(share) / 100, int(float(memory)) << 20
    except (OSError, ValueError, subprocess.SubprocessError):
        return None, 0


def write_texts(root: Path, name: str, documents: int, queries: int) -> None:
    """A BEIR folder of random words, one relevant document a query."""
    draw = random.Random(name)
    folder = root / "mirror" / name
    (folder / "qrels").mkdir(parents=True)

    def text() -> str:
        return " ".join(draw.choices(WORDS, k=draw.randrange(40, 160)))

    with (folder / "corpus.jsonl").open("w") as out:
        for n in range(documents):
            out.write(json.dumps({"_id": f"d{n}", "title": "", "text": text()}) + "\n")
    with (folder / "queries.jsonl").open("w") as out, (folder / "qrels" / "test.tsv").open("w") as judged:
        judged.write("query-id\tcorpus-id\tscore\n")
        for n in range(queries):
            out.write(json.dumps({"_id": f"q{n}", "text": text()}) + "\n")
            judged.write(f"q{n}\td{draw.randrange(documents)}\t1\n")
    for kind, form in (("datasets", DATASETS), ("tasks", TASKS)):
        path = root / "suites" / kind / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(form.format(name=name))


def write_model(folder: Path, size: str, seed: int) -> Path:
    """A BERT with random weights and a word tokenizer."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    hidden, layers, heads = SIZES[size]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: n for n, word in enumerate(special + WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=256, **names).save_pretrained(folder)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * hidden,
        max_position_embeddings=256,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def measure(root: Path, name: str, methods: list[str], tasks: list[str], alone: bool) -> dict[str, Any]:
    """All runs with an empty store and cache: packed, or each alone on the card."""
    import torch

    from harness.assets import Assets
    from harness.catalog import Catalog
    from harness.execute import Session
    from harness.registry import parse_method
    from harness.schedule.forecast import JobOptions, name_jobs
    from harness.schedule.start import ScheduleOptions, run_schedule
    from harness.spec import RunSpec
    from harness.store import Store

    device = "cuda" if torch.cuda.is_available() else "cpu"
    session = Session(Catalog(), Store(root / name / "results"), Assets(root / name / "cache"), device)
    specs = [RunSpec(parse_method(m), session.catalog.task(t)) for m in methods for t in tasks]
    jobs = name_jobs(session.plan(spec) for spec in specs)
    options = ScheduleOptions(devices="0" if device == "cuda" else "cpu", jobs=JobOptions(alone=alone))
    busy = Busy()
    busy.start()
    start = time.perf_counter()
    ended = run_schedule(session, jobs, options, lambda _e: None)
    seconds = time.perf_counter() - start
    busy.over.set()
    busy.join()
    done = {e["job"]: e for e in ended.desk.events() if e["what"] == "done"}
    return {
        "seconds": round(seconds, 2),
        "busy": busy.mean(),
        "peak_gib": round(max(busy.memory, default=0) / GIB, 2),
        "claimed_gib": [round(ended.forecasts[job].job.bytes / GIB, 2) for job in jobs],
        "used_gib": [round(done[job]["used"] / GIB, 2) if job in done else None for job in jobs],
        "failed": dict(ended.failed),
        "scores": {
            jobs[job].id: {k: v.value for k, v in session.store.get(jobs[job].id).scores.items()}
            for job in done
        },
    }


@click.command()
@click.option("--models", default=4, show_default=True, help="Small and base encoders in turn.")
@click.option("--documents", default=8000, show_default=True, help="Of each of the two corpora.")
@click.option("--queries", default=500, show_default=True)
def main(models: int, documents: int, queries: int) -> None:
    """Print one JSON line."""
    import torch
    import transformers

    root = Path(tempfile.mkdtemp())
    tasks = ["words-a", "words-b"]
    for task in tasks:
        write_texts(root, task, documents, queries)
    sizes = ["small", "base"]
    folders = [write_model(root / f"model{n}", sizes[n % 2], n) for n in range(models)]
    methods = [f"dense(model={folder})" for folder in folders]
    os.environ |= {"TOUCHSTONE_DATA": str(root / "mirror"), "TOUCHSTONE_SUITES": str(root / "suites")}
    found = {name: measure(root, name, methods, tasks, name == "alone") for name in ("alone", "packed")}
    same = found["alone"].pop("scores") == found["packed"].pop("scores")
    line = {
        "card": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "runs": len(methods) * len(tasks),
        **found,
        "speedup": round(found["alone"]["seconds"] / found["packed"]["seconds"], 2),
        "same_scores": same,
    }
    click.echo(json.dumps(line))
    shutil.rmtree(root)


if __name__ == "__main__":
    main()
