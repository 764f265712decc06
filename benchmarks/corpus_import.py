"""Import a synthetic corpus in MS MARCO's form, iterate it, and print speed, memory and size.

    python -m benchmarks.corpus_import --documents 8841823 --folder /tmp/corpus

The passages are made while they are read, about 55 words each with a Zipf-like choice from 100,000 words, so
that nothing but the import itself takes memory. The folder is removed afterwards.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from harness.data.corpus import Document, read_corpus, refuse_repeated, write_corpus

WORDS, BATCH, MEAN_WORDS = 100_000, 4096, 55
READ = 8192  # documents of one read while iterating


def passages(count: int, seed: int = 0) -> Iterator[Document]:
    """*count* documents with running ids and no titles, as in MS MARCO; the same for the same seed."""
    rng = np.random.default_rng(seed)
    words = np.array([_word(number) for number in range(WORDS)], dtype=object)
    for start in range(0, count, BATCH):
        size = min(BATCH, count - start)
        lengths = rng.integers(MEAN_WORDS - 25, MEAN_WORDS + 26, size)
        ranks = (WORDS ** rng.random(int(lengths.sum()))).astype(
            np.int64
        )  # word r comes about 1/r of the time
        chosen, ends = words[ranks - 1].tolist(), np.cumsum(lengths).tolist()
        for row, end in enumerate(ends):
            text = " ".join(chosen[end - int(lengths[row]) : end])
            yield Document(str(start + row), "", text, "synthetic")


def _word(number: int) -> str:
    letters = ""
    while True:
        number, digit = divmod(number, 20)
        letters += "bcdfghjklmnpqrstvwxz"[digit] + "aeiou"[digit % 5]
        if not number:
            return letters


def resident(field: str) -> float:
    """MB that the process holds now (``VmRSS``) or held at most (``VmHWM``), from /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no {field} in /proc/self/status")


def drain(documents: Iterator[Document]) -> int:
    """Make the passages and drop them: what the source alone takes."""
    return sum(1 for _ in documents)


def main() -> None:
    """Make, import, open and iterate; print one line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--documents", type=int, default=8_841_823)
    parser.add_argument("--folder", type=Path, default=Path("build/corpus-import"))
    options = parser.parse_args()
    count = options.documents
    print(f"Python {platform.python_version()}, pyarrow {pa.__version__}, {platform.machine()}")
    sample = min(count, 200_000)
    start = time.perf_counter()
    drain(passages(sample))
    making = (time.perf_counter() - start) / sample
    shutil.rmtree(options.folder, ignore_errors=True)
    options.folder.mkdir(parents=True)
    try:
        measure(count, options.folder, making)
    finally:
        shutil.rmtree(options.folder, ignore_errors=True)


def measure(count: int, folder: Path, making: float) -> None:
    """Import *count* passages into *folder* and read them; making: seconds to make one."""
    start = time.perf_counter()
    write_corpus(passages(count), folder)
    refuse_repeated(lambda: passages(count), folder)
    seconds = time.perf_counter() - start
    net = seconds - making * count
    print(f"import: {seconds:.1f} s with making the passages, {net:.1f} s without")
    print(f"import: {net / count * 1e6:.1f} s a million without, {seconds / count * 1e6:.1f} s with")
    print(f"import: {count / net:,.0f} documents/s, peak {resident('VmHWM'):,.0f} MB")
    start = time.perf_counter()
    corpus = read_corpus(folder)
    print(f"open: {(time.perf_counter() - start) * 1000:.0f} ms")
    start = time.perf_counter()
    characters = 0
    for first in range(0, len(corpus), READ):
        characters += sum(map(len, corpus.texts(first, min(first + READ, len(corpus)))))
    seconds = time.perf_counter() - start
    print(f"iterate: {seconds:.1f} s, {len(corpus) / seconds:,.0f} documents/s, {characters:,} characters")
    print(f"peak {resident('VmHWM'):,.0f} MB (mapped file pages included), now {resident('VmRSS'):,.0f} MB")
    print(f"Arrow file: {(folder / 'corpus.arrow').stat().st_size:,} bytes, {len(corpus):,} documents")


if __name__ == "__main__":
    main()
