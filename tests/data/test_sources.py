"""Datasets from the hub, ir_datasets and plain addresses: a part that fails gives the next source."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.assets import Assets
from harness.data.beir import BeirReader
from harness.data.dataset import DatasetSpec, Source
from harness.data.hub import HubQuestions, HubReader
from harness.data.sources import fetch_dataset, is_whole, open_dataset
from harness.errors import TouchstoneError
from harness.spec import Kind, TaskSpec
from harness.tasks.load import load_task
from harness.tasks.rank import RankTask
from tests.data.server import REVISION, Fault, Served
from tests.data.test_download import quiet

DOCUMENTS = [{"_id": f"d{number}", "title": f"T{number}", "text": f"text {number}"} for number in range(40)]
QUERIES = [{"_id": f"q{number}", "text": f"what is {number}"} for number in range(3)]
JUDGED = [("q0", "d0", 1), ("q0", "d1", 2), ("q1", "d7", 1)]
HUB = Source("hub", repo="someone/things", revision=REVISION)
TASK = TaskSpec("things", Kind.RANK, "things", ("nDCG@10",))


def lines(entries: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(entry) + "\n" for entry in entries).encode()


def parquet(entries: list[dict[str, Any]]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(entries), out, row_group_size=16)
    return out.getvalue()


def qrels() -> bytes:
    rows = "".join(f"{query}\t{name}\t{grade}\n" for query, name, grade in JUDGED)
    return f"query-id\tcorpus-id\tscore\n{rows}".encode()


def things(*sources: Source) -> DatasetSpec:
    counts = {"documents": 40, "queries": 2, "judgements": 3}
    return DatasetSpec("things", sources or (HUB,), licence="none", counts=counts)


JSONL = {"corpus.jsonl": lines(DOCUMENTS), "queries.jsonl": lines(QUERIES), "qrels/test.tsv": qrels()}
PARQUET = {
    "corpus/part-0.parquet": parquet(DOCUMENTS[:25]),
    "corpus/part-1.parquet": parquet(DOCUMENTS[25:]),
    "queries/all.parquet": parquet(QUERIES),
    "data/test-00000.parquet": parquet([{"query-id": q, "corpus-id": d, "score": g} for q, d, g in JUDGED]),
    "data/train-00000.parquet": b"not wanted",
}


@pytest.mark.parametrize("files", [JSONL, PARQUET], ids=["jsonl", "parquet"])
def test_a_hub_dataset_is_the_same_task_in_either_form(
    server: Served, tmp_path: Path, files: dict[str, bytes]
) -> None:
    server.repository("someone/things", {"README.md": b"#", **files})
    with pytest.raises(TouchstoneError, match="touchstone data fetch things"):
        open_dataset(things())
    assert fetch_dataset(things(), quiet) is HUB
    assert not server.requests_of("train-00000.parquet")
    asked = len(server.seen)
    task = load_task(TASK, things(), Assets(tmp_path / "assets"))
    assert isinstance(task, RankTask)
    assert task.corpus.texts(26, 27) == ["T26 text 26"]
    assert task.queries() == ["what is 0", "what is 1"]
    docs, grades = task.relevant(0)
    assert (task.corpus.ids(docs), grades.tolist()) == (["d0", "d1"], [1, 2])
    assert len(server.seen) == asked  # reading opens no connection
    assert fetch_dataset(things(), quiet) is HUB
    assert len(server.seen) == asked  # nor does fetching what is here


def test_trouble_on_the_way_is_got_over(server: Served, waits: list[float]) -> None:
    server.repository("someone/things", PARQUET)
    base = f"/datasets/someone/things/resolve/{REVISION}"
    server.faults[f"{base}/corpus/part-0.parquet"] = [Fault(keep=100), Fault(429, {"Retry-After": "2"})]
    server.faults[f"{base}/queries/all.parquet"] = [Fault(503)]
    fetch_dataset(things(), quiet)
    assert server.requests_of("part-0.parquet") == ["", "bytes=100-", "bytes=100-"]
    assert 2 in waits


@pytest.mark.parametrize("fault", [Fault(content=b"x" * 999), Fault(404)], ids=["another file", "no file"])
@pytest.mark.parametrize("part", ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"])
def test_a_part_that_fails_gives_the_next_source(
    server: Served, tmp_path: Path, fault: Fault, part: str
) -> None:
    """The corpus comes last: queries and judgements of the first source are here by then, and not used."""
    other = Source("hub", repo="other/things", revision=REVISION)
    server.repository("someone/things", JSONL)
    server.repository("other/things", PARQUET)
    path = f"/datasets/someone/things/resolve/{REVISION}/{part}"
    server.faults[path] = [fault] * 9
    dataset = things(HUB, other)
    assert fetch_dataset(dataset, quiet) is other
    found = open_dataset(dataset)
    assert isinstance(found, HubReader)
    assert found.source is other
    assert is_whole(found)
    load_task(TASK, dataset, Assets(tmp_path / "assets"))


def test_local_queries_without_documents_give_way_to_a_whole_source(server: Served, tmp_path: Path) -> None:
    folder = tmp_path / "mirror" / "things"
    (folder / "qrels").mkdir(parents=True)
    (folder / "queries.jsonl").write_bytes(JSONL["queries.jsonl"])
    (folder / "qrels" / "test.tsv").write_bytes(qrels())
    server.repository("someone/things", JSONL)
    dataset = things(Source("beir", path="things"), HUB)
    assert isinstance(open_dataset(dataset), BeirReader)
    fetch_dataset(dataset, quiet)
    assert isinstance(open_dataset(dataset), HubReader)


def test_when_all_sources_fail_each_says_why(server: Served) -> None:
    server.repository("someone/things", {name: JSONL[name] for name in ("corpus.jsonl", "queries.jsonl")})
    absent = Source("hub", repo="nobody/nothing", revision=REVISION)
    unpinned = Source("hub", repo="someone/things", revision="main")
    with pytest.raises(TouchstoneError) as caught:
        fetch_dataset(things(HUB, absent, unpinned), quiet)
    for words in ("no file fits qrels/test.tsv", "did not list the files", "is not a commit"):
        assert words in caught.value.why


def test_judgements_that_cannot_be_read_give_the_next_source(server: Served) -> None:
    server.repository("someone/things", {**JSONL, "qrels/test.tsv": b"query-id\tcorpus-id\tscore\nq0\td0\n"})
    server.repository("other/things", JSONL)
    other = Source("hub", repo="other/things", revision=REVISION)
    assert fetch_dataset(things(HUB, other), quiet) is other


def test_a_hub_that_is_not_there_is_tried_once(
    server: Served, monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(TouchstoneError, match="did not list the files"):
        fetch_dataset(things(), quiet)
    before = len(waits)
    with pytest.raises(TouchstoneError, match="cannot be reached"):
        fetch_dataset(things(), quiet)
    assert len(waits) == before


def test_a_pinned_digest_is_stronger_than_what_the_hub_lists(server: Served) -> None:
    server.repository("someone/things", JSONL)
    pinned = Source(
        "hub", repo="someone/things", revision=REVISION, hashes={"queries.jsonl": f"sha256:{'0' * 64}"}
    )
    with pytest.raises(TouchstoneError, match="instead of sha256:000"):
        fetch_dataset(things(pinned), quiet)


def test_bright_lists_gold_and_excluded_documents_with_its_queries(server: Served) -> None:
    queries = [
        {"id": "0", "query": "why", "gold_ids": ["a", "b", "a"], "excluded_ids": ["N/A"]},
        {"id": "1", "query": "how", "gold_ids": ["c"], "excluded_ids": ["a", "d"]},
    ]
    files = {
        "documents/some_set-0.parquet": parquet([{"id": name, "content": f"on {name}"} for name in "abcd"]),
        "examples/some_set-0.parquet": parquet(queries),
    }
    server.repository("x/BRIGHT", files)
    source = Source(
        "hub",
        repo="x/BRIGHT",
        revision=REVISION,
        corpus="documents/some_set-*.parquet",
        queries="examples/some_set-*.parquet",
        gold="gold_ids",
    )
    fetch_dataset(things(source), quiet)
    reader = open_dataset(things(source))
    assert isinstance(reader, HubReader)
    assert [document.text for document in reader.documents()] == ["on a", "on b", "on c", "on d"]
    assert reader.excluded() == {"0": (), "1": ("a", "d")}
    assert len(reader.judgements().qrels.docs) == 3


def test_mmlu_from_the_hub_equals_mmlu_from_its_csv_files(server: Served, tmp_path: Path) -> None:
    rows = [
        {"question": f"{subject} {i}?", "subject": subject, "choices": list("wxyz"), "answer": i % 4}
        for subject in ("sums", "art")
        for i in range(5)
    ]
    files = {f"all/{split}-00000-of-00001.parquet": parquet(rows) for split in ("dev", "test", "validation")}
    server.repository("cais/mmlu", files)
    source = Source("hub", repo="cais/mmlu", revision=REVISION, questions="all/{split}-*.parquet")
    dataset = DatasetSpec("mmlu", (source,))
    fetch_dataset(dataset, quiet)
    for split in ("dev", "test"):
        for subject in ("art", "sums"):
            path = tmp_path / "mirror" / "mmlu" / split / f"{subject}_{split}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", newline="") as out:
                mine = [row for row in rows if row["subject"] == subject]
                csv.writer(out).writerows([r["question"], *"wxyz", "ABCD"[int(r["answer"])]] for r in mine)
    reader, other = open_dataset(dataset), open_dataset(DatasetSpec("m", (Source("mmlu", path="mmlu"),)))
    assert isinstance(reader, HubQuestions)
    assert reader.questions("test") == other.questions("test")  # type: ignore[union-attr]


def test_kilt_from_plain_addresses(server: Served, tmp_path: Path) -> None:
    pages = lines([{"wikipedia_id": "1", "wikipedia_title": "A", "text": ["A\n", "On A.\n"]}])
    output = [{"answer": "a", "provenance": [{"wikipedia_id": "1"}]}]
    server.files |= {
        "/pages.json": pages,
        "/dev.jsonl": lines([{"id": "k", "input": "q?", "output": output}]),
    }
    urls = {"path": f"{server.url}/dev.jsonl", "corpus": f"{server.url}/pages.json"}
    right = f"md5:{hashlib.md5(pages).hexdigest()}"
    for digest in (f"md5:{'0' * 32}", right):
        source = Source(
            "kilt", path="kilt/dev.jsonl", corpus="kilt/pages.json", urls=urls, hashes={"corpus": digest}
        )
        if digest != right:
            with pytest.raises(TouchstoneError, match="not the expected file"):
                fetch_dataset(things(source), quiet)
            assert not is_whole(open_dataset(things(source)))
    fetch_dataset(things(source), quiet)
    assert is_whole(open_dataset(things(source)))


CATALOGUE = """
import json, pkgutil, sys
real = pkgutil.get_data
def get_data(package, name):
    data = real(package, name)
    if not name.endswith("downloads.json"):
        return data
    entries = json.loads(data)
    entries["beir"]["scifact"].update(url=sys.argv[1], expected_md5=sys.argv[2])
    return json.dumps(entries).encode()
pkgutil.get_data = get_data
from harness.data.dataset import DatasetSpec, Source
from harness.data.sources import fetch_dataset, open_dataset
hub = Source("hub", repo="someone/things", revision=sys.argv[3])
dataset = DatasetSpec("things", (Source("ir_datasets", id="beir/scifact/test"), hub))
print("FETCHED", fetch_dataset(dataset, lambda line: print(line, file=sys.stderr)).format)
reader = open_dataset(dataset)
print("READ", len(list(reader.documents())), list(reader.queries()), len(reader.judgements().qrels.docs))
"""


@pytest.mark.parametrize("right", [True, False], ids=["right digest", "wrong digest"])
def test_ir_datasets_through_a_busy_server_that_breaks_off(
    server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, right: bool
) -> None:
    """In a process of its own: the library reads its catalogue of addresses once, when it is imported."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as out:
        for name, content in {**JSONL, "qrels/train.tsv": qrels()}.items():
            out.writestr(f"scifact/{name}", content)
    server.files["/scifact.zip"] = archive.getvalue()
    server.faults["/scifact.zip"] = [
        Fault(503, {"Retry-After": "0"}),
        Fault(keep=500),
        Fault(429, {"Retry-After": "0"}),
    ]
    server.repository("someone/things", PARQUET)
    monkeypatch.setenv("IR_DATASETS_HOME", str(tmp_path / "irds"))
    digest = hashlib.md5(archive.getvalue()).hexdigest() if right else "0" * 32
    done = subprocess.run(
        [sys.executable, "-c", CATALOGUE, f"{server.url}/scifact.zip", digest, REVISION],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert f"FETCHED {'ir_datasets' if right else 'hub'}" in done.stdout
    assert "READ 40" in done.stdout
    assert server.requests_of("scifact.zip")[:4] == ["", "", "bytes=500-", "bytes=500-"]
