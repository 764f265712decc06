"""A toy mirror with toy definitions, and adapters that misbehave, for tests of the engine."""

from __future__ import annotations

import csv
import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

from harness.adapter import Adapter, Context
from harness.answers import Answers, Choices, Rankings
from harness.spec import Kind
from harness.tasks.base import Task, blocks

TOPICS = (
    "river bank water",
    "stock market bank",
    "python snake jungle",
    "python code function",
    "solar panel energy",
    "lunar phase moon",
)
DEFINITIONS = {
    "datasets/toy.yaml": """\
- name: toy
  title: Toy
  about: Six topics, five documents each.
  licence: none
  url: https://example.org/toy
  sources: [{format: beir, path: toy}]
- name: quiz
  title: Quiz
  about: Two subjects.
  licence: none
  url: https://example.org/quiz
  sources: [{format: mmlu, path: quiz}]
  groups: {sums: numbers, words: letters}
- name: prose
  title: Prose
  about: Six texts.
  licence: none
  url: https://example.org/prose
  sources: [{format: text, path: prose}]
  counts: {texts: 6}
- name: quest
  title: Quest
  about: Questions over the six topics' pages, in KILT's form.
  licence: none
  url: https://example.org/quest
  sources: [{format: kilt, path: quest/quest.jsonl, corpus: quest/pages.json}]
  counts: {documents: 6, queries: 6}
""",
    "tasks/toy.yaml": """\
- name: toy
  kind: rank
  dataset: toy
  measures: [nDCG@10, R@5, AP]
  depth: 10
- name: quiz
  kind: choose
  dataset: quiz
  measures: [Acc, MacroAcc]
  shots: 2
  by_group: true
- name: prose
  kind: perplexity
  dataset: prose
  measures: [-BPB, BytePPL, WordPPL, TokenPPL]
- name: quest
  kind: generate
  dataset: quest
  measures: [KILT-EM, EM, F1, ROUGE-L, KILT-Rprec]
  depth: 5
- name: quest-retrieval
  kind: rank
  dataset: quest
  measures: [KILT-Rprec, KILT-R@5, R@5]
  depth: 5
""",
    "toys.yaml": """\
name: toys
title: Toys
about: For tests.
tasks: [toy, quiz]
methods: [random, bm25, majority, oracle]
""",
}


def write_mirror(root: Path) -> None:
    """A BEIR folder ``toy`` (30 documents, 6 queries, 30 judgements), an MMLU folder ``quiz`` (9 questions)
    a KILT folder ``quest`` (6 questions, 6 pages) and a folder ``prose`` (6 texts).
    """
    write_quest(root / "quest")
    (root / "prose" / "more").mkdir(parents=True)
    for number, words in enumerate(TOPICS):
        path = root / "prose" / ("more" if number % 2 else ".") / f"{number}.txt"
        path.write_text(f"{words} é. " * (number + 1))
    folder = root / "toy"
    (folder / "qrels").mkdir(parents=True)
    with (folder / "corpus.jsonl").open("w") as corpus, (folder / "qrels" / "test.tsv").open("w") as qrels:
        qrels.write("query-id\tcorpus-id\tscore\n")
        for topic, words in enumerate(TOPICS):
            for number in range(5):
                text = f"{words} note {number} " + " ".join(words.split()[: 1 + number % 3])
                corpus.write(
                    json.dumps({"_id": f"d{topic}-{number}", "title": words.title(), "text": text}) + "\n"
                )
                qrels.write(f"q{topic}\td{topic}-{number}\t{1 + number % 2}\n")
    queries = [{"_id": f"q{topic}", "text": words} for topic, words in enumerate(TOPICS)]
    (folder / "queries.jsonl").write_text("".join(json.dumps(query) + "\n" for query in queries))
    for split, count in (("dev", 2), ("test", 5)):
        for subject in ("sums", "words"):
            path = root / "quiz" / split / f"{subject}_{split}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", newline="") as handle:
                rows = [
                    [f"{subject}, question {i}", "one", "two", "three", "four", "ABCD"[i % 4]]
                    for i in range(count)
                ]
                csv.writer(handle).writerows(rows[: count - (subject == "words" and split == "test")])


def write_quest(folder: Path) -> None:
    """A KILT task of 6 questions over a knowledge source of 6 pages; page i answers question i, and the last
    question rests on two pages.
    """
    folder.mkdir(parents=True)
    with (folder / "pages.json").open("w") as pages, (folder / "quest.jsonl").open("w") as items:
        for topic, words in enumerate(TOPICS):
            first = words.split()[0]
            text = [
                f"{words.title()}\n",
                f"{words.capitalize()} is a topic. It is about {first}.\n",
                "Section::::History.\n",
                f"BULLET::::- {first.capitalize()} came first.\n",
            ]
            title = words.title()
            pages.write(
                json.dumps({"wikipedia_id": str(topic), "wikipedia_title": title, "text": text}) + "\n"
            )
            support = [{"wikipedia_id": str(topic), "title": title}]
            support += [{"wikipedia_id": "4", "title": "Solar Panel Energy"}] if topic == 5 else []
            output = [{"answer": first, "provenance": support}, {"answer": f"the {first}"}]
            question = f"What is {words} about?"
            items.write(json.dumps({"id": f"k{topic}", "input": question, "output": output}) + "\n")


def write_definitions(root: Path) -> None:
    """The definitions of the toy tasks."""
    for name, text in DEFINITIONS.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@dataclass(frozen=True)
class SlowSettings:
    """How slow."""

    seconds: Annotated[float, "seconds an item"] = 0.0
    log: Annotated[str, "a file that gets a line for each answered item"] = ""


class Slow(Adapter):
    """Answers one item a block, and says so in a log file."""

    name = "slow"
    family = "toys"
    kinds = frozenset({Kind.RANK, Kind.CHOOSE})
    about = "One item a block."
    Settings = SlowSettings

    def run(self, task: Task, context: Context) -> Iterator[Answers]:
        if self.settings.log:
            Path(self.settings.log).with_suffix(".pid").write_text(str(os.getpid()))
        for items in blocks(task.items, 1):
            with context.meter.phase("search"):
                time.sleep(self.settings.seconds)
            if self.settings.log:
                with Path(self.settings.log).open("a") as log:
                    log.write(f"{items[0]}\n")
            context.meter.count("answered")
            yield same_answers(task, items)


class Broken(Adapter):
    """Fails after its first block."""

    name = "broken"
    family = "toys"
    kinds = frozenset({Kind.RANK, Kind.CHOOSE})
    about = "Fails."

    def run(self, task: Task, context: Context) -> Iterator[Answers]:
        yield same_answers(task, task.items[:1])
        raise ValueError("the model fell over")


class NotANumber(Adapter):
    """Gives a NaN score for its third item."""

    name = "nan"
    family = "toys"
    kinds = frozenset({Kind.RANK, Kind.CHOOSE})
    about = "NaN."

    def run(self, task: Task, context: Context) -> Iterator[Answers]:
        yield same_answers(task, task.items[:2])
        answers = same_answers(task, task.items[2:])
        values = answers.scores if isinstance(answers, Rankings) else answers.logprobs
        values[0, 0] = np.nan
        yield answers


@dataclass(frozen=True)
class HangsSettings:
    """How it hangs."""

    stopped: Annotated[bool, "the whole process is stopped, so that it gives no sign of life"] = False
    deaf: Annotated[bool, "it ignores requests to end"] = False
    log: Annotated[str, "beside it a file gets the number of the process"] = ""


class Hangs(Adapter):
    """Never answers."""

    name = "hangs"
    family = "toys"
    kinds = frozenset({Kind.RANK})
    about = "Hangs."
    Settings = HangsSettings

    def run(self, task: Task, context: Context) -> Iterator[Answers]:
        if self.settings.deaf:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if self.settings.log:
            Path(self.settings.log).with_suffix(".pid").write_text(str(os.getpid()))
        if self.settings.stopped:
            os.kill(os.getpid(), signal.SIGSTOP)
        while True:
            time.sleep(1)
        yield same_answers(task, task.items)


class Dies(Adapter):
    """Is killed when it starts."""

    name = "dies"
    family = "toys"
    kinds = frozenset({Kind.RANK})
    about = "Dies."

    def run(self, task: Task, context: Context) -> Iterator[Answers]:
        print("about to die", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        yield same_answers(task, task.items)


@dataclass(frozen=True)
class LogSettings:
    """Where attempts are counted."""

    log: Annotated[str, "a file that gets a line for each attempt"] = ""
    times: Annotated[int, "attempts that fail"] = 0


class Leaks(Adapter):
    """Takes 50 MB more every 50 ms until it is ended."""

    name = "leaks"
    family = "toys"
    kinds = frozenset({Kind.RANK})
    about = "Leaks."
    Settings = LogSettings

    def run(self, task: Task, context: Context) -> Iterator[Answers]:
        with Path(self.settings.log).open("a") as log:
            log.write("attempt\n")
        held = []
        while len(held) < 60:  # 3 GB at most, whatever happens
            held.append(np.ones(50_000_000, np.uint8))
            time.sleep(0.05)
        yield same_answers(task, task.items)


class OutOfMemory(Adapter):
    """Runs out of memory in its first attempts."""

    name = "out-of-memory"
    family = "toys"
    kinds = frozenset({Kind.RANK})
    about = "Out of memory."
    Settings = LogSettings

    def run(self, task: Task, context: Context) -> Iterator[Answers]:
        path = Path(self.settings.log)
        before = len(path.read_text().split()) if path.exists() else 0
        with path.open("a") as log:
            log.write("attempt\n")
        if before < self.settings.times:
            raise MemoryError("no room for the batch")
        yield same_answers(task, task.items)


class Nothing(Adapter):
    """Finds no document for any query."""

    name = "nothing"
    family = "toys"
    kinds = frozenset({Kind.RANK})
    about = "Empty rankings."

    def run(self, task: Task, context: Context) -> Iterator[Answers]:
        docs = np.full((len(task.items), 3), -1, np.int32)
        yield Rankings(task.items, docs, np.full(docs.shape, -np.inf, np.float32))


def same_answers(task: Task, items: np.ndarray) -> Answers:
    """The same answer for every item."""
    if task.spec.kind is Kind.CHOOSE:
        return Choices(items, np.log(np.tile(np.array([0.4, 0.3, 0.2, 0.1], np.float32), (len(items), 1))))
    docs = np.tile(np.arange(10, dtype=np.int32), (len(items), 1))
    return Rankings(items, docs, np.tile(np.arange(10, 0, -1, dtype=np.float32), (len(items), 1)))
