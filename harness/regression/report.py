"""A check's findings as JSON, Markdown, JUnit XML and GitHub annotations."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from xml.etree import ElementTree

from harness.regression.check import Finding, Report
from harness.regression.judge import Verdict

SCHEMA = 1
MARKS = {
    Verdict.FINE: "✅",
    Verdict.WORSE: "❌",
    Verdict.CANNOT_TELL: "❓",
    Verdict.NOT_MEASURED: "⚠️",
    Verdict.FAILED: "💥",
}
LEVELS = {
    Verdict.WORSE: "error",
    Verdict.FAILED: "error",
    Verdict.CANNOT_TELL: "warning",
    Verdict.NOT_MEASURED: "warning",
}
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, production 2


def to_json(report: Report) -> str:
    """All there is to know, for programs."""
    body = {
        "schema": SCHEMA,
        "baseline": report.baseline,
        "verdict": report.verdict,
        "exit_code": int(report.exit_code),
        "findings": [asdict(one) for one in report.findings],
    }
    return json.dumps(body, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def number(value: float | None, finding: Finding) -> str:
    """A mean or a cost as shown; '' where nothing was measured."""
    if value is None:
        return ""
    return f"{value:.4f}" if finding.aspect == "quality" else f"{value:.4g}"


def to_markdown(report: Report) -> str:
    """For a pull request or a step summary: the verdict, then a table, what is not fine first."""
    lines = [f"### {MARKS[report.verdict]} touchstone check: {report.verdict}", ""]
    lines += ["| | task | method | what | before | after | why |", "|---|---|---|---|--:|--:|---|"]
    for one in sorted(report.findings, key=lambda f: f.verdict is Verdict.FINE):
        what = one.measure if one.aspect == "quality" else f"{one.aspect} ({one.measure})"
        cells = [one.task, one.method, what, number(one.before, one), number(one.after, one)]
        why = one.why if one.verdict is Verdict.FINE else f"**{one.verdict}**: {one.why}"
        lines.append(f"| {MARKS[one.verdict]} | {' | '.join(_cell(cell) for cell in cells)} | {_cell(why)} |")
    return "\n".join([*lines, "", f"Baseline: {_cell(report.baseline)}", ""])


def _cell(text: str) -> str:
    """Text that cannot leave its table cell or become HTML."""
    plain = " ".join(text.replace("&", "&amp;").replace("<", "&lt;").split())
    return plain.replace("|", "\\|").replace("`", "\\`").replace("[", "\\[")


def to_junit(report: Report) -> str:
    """JUnit XML as Jenkins, GitLab and GitHub's reporters read it: a suite a task, a case a number.

    worse is a failure; a failed run and doubt are errors; what was not measured is skipped.
    """
    root = ElementTree.Element("testsuites", _counts(report.findings, name="touchstone check"))
    for task in dict.fromkeys(one.task for one in report.findings):
        mine = tuple(one for one in report.findings if one.task == task)
        suite = ElementTree.SubElement(root, "testsuite", _counts(mine, name=_xml(task)))
        for one in mine:
            name = f"{one.aspect}: {one.measure}"
            case = {"classname": _xml(f"{one.task}.{one.method}"), "name": _xml(name), "time": "0"}
            element = ElementTree.SubElement(suite, "testcase", case)
            kind = _outcome(one.verdict)
            if kind == "skipped":
                ElementTree.SubElement(element, kind, {"message": _xml(one.why)})
            elif kind:
                said = {"message": _xml(one.why), "type": one.verdict.value}
                ElementTree.SubElement(element, kind, said).text = _xml(one.why)
            else:
                ElementTree.SubElement(element, "system-out").text = _xml(one.why)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _outcome(verdict: Verdict) -> str:
    return {
        Verdict.WORSE: "failure",
        Verdict.FAILED: "error",
        Verdict.CANNOT_TELL: "error",
        Verdict.NOT_MEASURED: "skipped",
    }.get(verdict, "")


def _counts(findings: tuple[Finding, ...], name: str) -> dict[str, str]:
    outcomes = [_outcome(one.verdict) for one in findings]
    counted = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    counts = {key: str(outcomes.count(kind)) for key, kind in counted.items()}
    return {"name": name, "tests": str(len(findings)), **counts, "time": "0"}


def _xml(text: str) -> str:
    return NOT_XML.sub("\ufffd", text)


def to_annotations(report: Report) -> Iterator[str]:
    """GitHub workflow commands, a line for each finding that is not fine."""
    for one in report.findings:
        level = LEVELS.get(one.verdict)
        if level:
            title = _property(f"{one.verdict}: {one.method} on {one.task}, {one.measure}")
            yield f"::{level} title={title}::{_message(one.why)}"


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")


def to_outputs(report: Report) -> str:
    """Lines for $GITHUB_OUTPUT."""
    counts = [one.verdict for one in report.findings]
    return (
        f"verdict={report.verdict}\nexit-code={int(report.exit_code)}\nworse={counts.count(Verdict.WORSE)}\n"
    )
