"""``touchstone check BASELINE [CANDIDATE]``."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import device_option, results_option, session_for
from harness.errors import ExitCode, TouchstoneError

if TYPE_CHECKING:
    from harness.regression.check import Cell, Report

FORMATS = ("json", "junit", "markdown")


def report_options(function: Callable[..., int]) -> Callable[..., int]:
    """``--json``, ``--junit``, ``--markdown``: files to write."""
    for name in reversed(FORMATS):
        kind = click.Path(path_type=Path, dir_okay=False)
        function = click.option(f"--{name}", type=kind, help=f"Also write the findings here, as {name}.")(
            function
        )
    return function


@click.command("check")
@click.argument("baseline")
@click.argument("candidate", required=False)
@click.option("--policy", type=click.Path(path_type=Path), help="What counts as worse: a YAML file.")
@click.option("--suite", help="Only the tasks of this suite.")
@click.option(
    "--baseline-code",
    type=click.Path(path_type=Path, exists=True, file_okay=False, resolve_path=True),
    help="A checkout of the older code, for cost budgets.",
)
@click.option("--update", is_flag=True, help="Accept the candidate: it becomes the baseline.")
@report_options
@device_option
@results_option
def command(baseline: str, candidate: str | None, update: bool, **options: Path) -> int:
    """Check whether CANDIDATE is worse than BASELINE, item by item.

    BASELINE: a results folder, or a run of --results by the first digits of its id. CANDIDATE: the same, or a
    method such as 'bm25(k1=1.2)'; without it the baseline's own methods are run again with the code of today.

    Exit codes: 0 fine, 1 worse, 2 usage, 3 something was not measured, 4 a run failed, 5 cannot tell.
    """
    with tempfile.TemporaryDirectory(prefix="touchstone-check-") as scratch:
        report, cells = _check(baseline, candidate, Path(scratch), **options)
        _show(report)
        _write(report, {name: options[name] for name in FORMATS})
        _tell_github(report)
        return _accept(cells, baseline) if update else int(report.exit_code)


def _check(baseline: str, candidate: str | None, scratch: Path, **options: Path) -> tuple[Report, list[Cell]]:
    from harness.regression.check import Report, judge
    from harness.regression.costs import cost_findings
    from harness.regression.policy import read_policy
    from harness.regression.sides import baseline_of, cells_of
    from harness.store import Store

    policy, session = read_policy(options["policy"]), session_for(scratch, str(options["device"]))
    suites = {name: session.catalog.suite(name) for name in policy.suites}
    only = session.catalog.suite(str(options["suite"])) if options["suite"] else None
    for name in policy.tasks:
        session.catalog.task(name)  # a typo is an error, not a rule that never applies
    results = Store(options["results"])
    runs = baseline_of(baseline, results, only)
    cells = cells_of(runs, candidate, results, session, _progress)
    findings = judge(cells, policy, suites) + cost_findings(cells, policy, options["baseline_code"])
    return Report(baseline, tuple(findings)), cells


def _progress(what: str, done: int, total: int) -> None:
    if done == total:
        click.echo(f"ran {what}: {total:,} items", err=True)


def _show(report: Report) -> None:
    from harness.cli.tables import console, table
    from harness.regression.report import number

    columns = ["verdict", "task", "method", "what", ">before", ">after", "why"]
    rows = [
        [
            *(one.verdict, one.task, one.method),
            one.measure if one.aspect == "quality" else one.aspect,
            *(number(one.before, one), number(one.after, one), one.why),
        ]
        for one in report.findings
    ]
    console().print(table(f"Against {report.baseline}: {report.verdict}", columns, rows), markup=False)


def _write(report: Report, files: dict[str, Path]) -> None:
    from harness.regression.report import to_json, to_junit, to_markdown

    makers = {"json": to_json, "junit": to_junit, "markdown": to_markdown}
    for name, path in files.items():
        if path is not None:
            _save(path, makers[name](report), "w")


def _tell_github(report: Report) -> None:
    """Annotations, the step's summary and its outputs, inside a GitHub workflow."""
    from harness.regression.report import to_annotations, to_markdown, to_outputs

    if os.environ.get("GITHUB_ACTIONS") == "true":
        _echo(to_annotations(report))
    for variable, make in (("GITHUB_STEP_SUMMARY", to_markdown), ("GITHUB_OUTPUT", to_outputs)):
        if os.environ.get(variable):
            _save(Path(os.environ[variable]), make(report), "a")


def _echo(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)


def _save(path: Path, text: str, mode: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open(mode, encoding="utf-8") as handle:
            handle.write(text)
    except OSError as error:
        raise TouchstoneError("cannot write the report", where=str(path), why=str(error)) from error


def _accept(cells: Sequence[Cell], baseline: str) -> int:
    from harness.regression.check import accept

    if not Path(baseline).is_dir():
        raise TouchstoneError("--update needs a results folder as its baseline", where=baseline)
    accepted = accept(cells)
    click.echo(f"accepted {accepted} of {len(cells)} runs in {baseline}", err=True)
    failed = any(cell.candidate is None for cell in cells)
    return int(ExitCode.RUN_FAILED if failed else ExitCode.FINE)
