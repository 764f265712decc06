"""Reports in every form, with names that try to break out of it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from harness.regression.check import Finding, Report
from harness.regression.judge import Verdict
from harness.regression.report import to_annotations, to_json, to_junit, to_markdown, to_outputs
from tests.needs import needs

HOSTILE = 'a|b <script>alert("1")</script>\n::error::x % , : `[l](u)\x00'
REPORT = Report(
    "baseline",
    (
        Finding("toy", "bm25", "quality", "nDCG@10", Verdict.FINE, "+0.0", 0.5, 0.5, 1.0, 6),
        Finding("toy", HOSTILE, "quality", "nDCG@10", Verdict.WORSE, HOSTILE, 0.5, 0.1, 0.01, 6),
        Finding("toy", "bm25", "memory", "bytes", Verdict.CANNOT_TELL, "more rounds", 1e8, 2e8),
        Finding("quiz", "gone", "quality", "Acc", Verdict.NOT_MEASURED, "no such run"),
        Finding("quiz", "broken", "quality", "Acc", Verdict.FAILED, "it fell over"),
    ),
)


@needs("xmllint")
@pytest.mark.parametrize("report", [REPORT, Report("nothing", ())])
def test_junit_is_valid(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    path.write_text(to_junit(report), encoding="utf-8")
    schema = Path(__file__).with_name("junit.xsd")
    done = subprocess.run(
        ["xmllint", "--noout", "--nonet", "--schema", str(schema), str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_junit_counts_outcomes() -> None:
    from xml.etree import ElementTree

    root = ElementTree.fromstring(to_junit(REPORT))
    assert {key: root.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "5",
        "failures": "1",
        "errors": "2",
        "skipped": "1",
    }
    assert [suite.get("name") for suite in root] == ["toy", "quiz"]
    failure = root.find(".//failure")
    assert failure is not None and "<script>" in (failure.text or "") and "\x00" not in (failure.text or "")


def test_markdown_keeps_text_in_its_cells() -> None:
    text = to_markdown(REPORT)
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 6  # the head and five findings
    assert "<script>" not in text and "a\\|b" in text and "\\[l]" in text
    assert text.startswith("### ❌ touchstone check: worse\n")
    assert rows[-1].startswith("| ✅")


def test_annotations_are_one_line_each_and_cannot_be_forged() -> None:
    lines = list(to_annotations(REPORT))
    assert [line.split(" ")[0] for line in lines] == ["::error", "::warning", "::warning", "::error"]
    assert all("\n" not in line for line in lines)
    assert "%0A::error::x %25 , :" in lines[0]
    title = lines[0].split("::")[1]
    assert "%0A%3A%3Aerror%3A%3Ax %25 %2C %3A" in title


def test_outputs_and_json() -> None:
    assert to_outputs(REPORT) == "verdict=worse\nexit-code=1\nworse=1\n"
    body = json.loads(to_json(REPORT))
    assert body["exit_code"] == 1 and body["findings"][1]["method"] == HOSTILE
    assert body["findings"][0]["verdict"] == "fine"
