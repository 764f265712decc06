"""The trie path beside the plain path on one device: equal answers, and how much faster.

``python -m benchmarks.gpu_language [--shape 1b] [--questions 400]`` prints one line of JSON. A randomly
initialised Llama answers 5-shot MMLU prompts (those of $TOUCHSTONE_DATA when it holds MMLU, else made-up ones
of like length) in fp32 and bf16 on CUDA where there is a card, else on the CPU with the tiny shape. The plain
path recomputes every prompt whole and alone; batched, it shares no prefixes and makes batches by length.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.random_llama import mmlu_texts, write_llama

LETTERS = (" A", " B", " C", " D")


def main() -> None:
    """Both precisions, both paths."""
    import torch

    from harness.models.language import Request

    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", default="1b" if cuda else "tiny", choices=["tiny", "100m", "1b"])
    parser.add_argument("--questions", type=int, default=400 if cuda else 24, help="of two subjects together")
    options = parser.parse_args()
    prompts, texts, source = _prompts(options.questions)
    requests = [Request(prompt, LETTERS) for prompt in prompts]
    device = "cuda" if cuda else "cpu"
    result: dict[str, Any] = {"device": torch.cuda.get_device_name() if cuda else "cpu", "prompts": source}
    result |= {"shape": options.shape, "questions": len(requests)}
    with tempfile.TemporaryDirectory() as folder:
        result["parameters"] = write_llama(Path(folder), options.shape, texts)
        for precision in ("fp32", "bf16"):
            result[precision] = _compared(folder, precision, device, requests)
    result["versions"] = {name: metadata.version(name) for name in ("torch", "transformers", "numpy")}
    print(json.dumps(result))


def _compared(folder: str, precision: Any, device: str, requests: list[Any]) -> dict[str, Any]:
    import torch

    from harness.models.language import LanguageModelSpec, load_language_model

    # TF32 would make fp32 products of 10 bits: the gate is about true fp32.
    torch.backends.cuda.matmul.allow_tf32 = False
    model: Any = load_language_model(LanguageModelSpec(folder, precision=precision, device=device))
    model.continuation_logprobs(requests[:2])  # kernels are chosen and memory is reserved at first use
    model.plain_logprobs(requests[:1])
    before = model.work.computed
    fast, fast_seconds, fast_memory = _timed(lambda: model.continuation_logprobs(requests), device)
    computed = model.work.computed - before
    model._network.reuses_keys = False
    batched, batched_seconds, _ = _timed(lambda: model.continuation_logprobs(requests), device)
    plain, plain_seconds, plain_memory = _timed(lambda: model.plain_logprobs(requests), device)
    a, b, c = np.stack(fast), np.stack(batched), np.stack(plain)
    top = np.sort(c, axis=1)
    return {
        "largest_difference": float(np.abs(a - c).max()),
        "mean_difference": float(np.abs(a - c).mean()),
        "answers_that_differ": int((a.argmax(1) != c.argmax(1)).sum()),
        "largest_lead_of_a_changed_answer": float(
            (top[:, -1] - top[:, -2])[a.argmax(1) != c.argmax(1)].max(initial=0.0)
        ),
        "batched_largest_difference": float(np.abs(b - c).max()),
        "batched_answers_that_differ": int((b.argmax(1) != c.argmax(1)).sum()),
        "seconds": {"trie": fast_seconds, "batched": batched_seconds, "plain": plain_seconds},
        "peak_memory_bytes": {"trie": fast_memory, "plain": plain_memory},
        "tokens_computed": computed,
        "tokens_of_all_prompts": sum(len(model.encode(request.prompt)) for request in requests),
        "batches_halved": model.work.halved,
    }


def _timed(work: Any, device: str) -> tuple[Any, float, int]:
    """The result, seconds, and the most bytes that were held on a card."""
    import torch

    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    found = work()
    if device == "cuda":
        torch.cuda.synchronize()
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else 0
    return found, round(time.perf_counter() - start, 3), peak


def _prompts(questions: int) -> tuple[list[str], list[str], str]:
    """(prompts, texts for the tokenizer, where they are from)."""
    mirror = Path(os.environ.get("TOUCHSTONE_DATA", "../shared/data"))
    if not (mirror / "mmlu").is_dir():
        words = [
            f"{a}{b}" for a in ("sol", "ter", "mag", "qui", "ban") for b in ("ar", "ine", "et", "o", "um")
        ]
        draw = random.Random(0)
        shots = " ".join(draw.choices(words, k=450))
        made = [f"{shots}\n\n{' '.join(draw.choices(words, k=60))}\nAnswer:" for _ in range(questions)]
        return made, [" ".join(words)] * 50, "made up"
    os.environ["TOUCHSTONE_DATA"] = str(mirror)
    from harness.assets import Assets
    from harness.catalog import Catalog
    from harness.tasks.choose import ChooseTask
    from harness.tasks.load import load_task

    catalog, found = Catalog(), []
    for subject in ("professional_psychology", "high_school_macroeconomics"):
        spec = catalog.task(f"mmlu/{subject}")
        task = load_task(spec, catalog.dataset(spec.dataset), Assets(Path(tempfile.gettempdir())))
        assert isinstance(task, ChooseTask)
        found += [task.prompt(int(item)) for item in task.items[: questions // 2]]
    return found, mmlu_texts(mirror), "MMLU, 5 shots, two subjects"


if __name__ == "__main__":
    main()
