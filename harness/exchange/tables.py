"""Results as CSV, Parquet and LaTeX tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import TouchstoneError
from harness.exchange.reported import Reported
from harness.record import Record

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "origin",
    "task",
    "method",
    "measure",
    "value",
    "low",
    "high",
    "items",
    "seed",
    "seconds",
    "source",
    "run",
)
ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
}


def measured_rows(records: Sequence[Record]) -> pd.DataFrame:
    """A row a measure of every finished whole run, columns COLUMNS."""
    import pandas as pd

    rows = [
        (
            *(one.origin, one.run.task.name, one.run.method.name, name, s.value, s.low, s.high, s.n),
            *(one.run.seed, one.cost.cold_seconds, "", one.id),
        )
        for one in records
        if one.status == "done" and not one.run.limit
        for name, s in one.scores.items()
    ]
    return pd.DataFrame(rows, columns=COLUMNS).sort_values(
        ["task", "measure", "method", "run"], ignore_index=True
    )


def reported_rows(rows: Sequence[Reported]) -> pd.DataFrame:
    """The same columns for reported numbers; what they do not say is empty."""
    import pandas as pd

    said = [
        (
            *(one.origin, one.task, one.method, one.measure, one.value, None, None, one.items or None),
            *(None, None, f"{one.source}: {one.file}", one.run),
        )
        for one in rows
    ]
    return pd.DataFrame(said, columns=COLUMNS)


def write_table(frame: pd.DataFrame, out: Path) -> None:
    """Write by the ending of *out*: .csv, .parquet or .tex (methods by tasks, main measures)."""
    if frame.empty:
        raise TouchstoneError("no result to write", where=str(out))
    try:
        if out.suffix == ".csv":
            frame.map(_no_formula).to_csv(out, index=False)
        elif out.suffix == ".parquet":
            frame.to_parquet(out, index=False)
        elif out.suffix == ".tex":
            out.write_text(to_latex(frame), encoding="utf-8")
        else:
            raise TouchstoneError("unknown kind of table", where=str(out), fix=".csv, .parquet or .tex")
    except OSError as error:
        raise TouchstoneError("cannot write the table", where=str(out), why=str(error)) from error


def _no_formula(value: object) -> object:
    """A text that a spreadsheet would run as a formula gets an apostrophe in front."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def to_latex(frame: pd.DataFrame) -> str:
    """A booktabs table: a row a method, a column a task and measure, the best of a column in bold."""
    wide = frame.pivot_table(index="method", columns=["task", "measure"], values="value", aggfunc="last")
    values, best = wide.to_numpy(float), wide.max().to_numpy(float)
    head = [_tex(" ".join(map(str, column))) for column in wide.columns.to_list()]
    lines = [rf"\begin{{tabular}}{{l{'r' * len(head)}}}", r"\toprule"]
    lines += [" & ".join(["method", *head]) + r" \\", r"\midrule"]
    for method, row in zip(wide.index, values.tolist(), strict=True):
        cells = [_number(*pair) for pair in zip(row, best.tolist(), strict=True)]
        lines.append(" & ".join([_tex(str(method)), *cells]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _number(value: float, best: float) -> str:
    if math.isnan(value):
        return ""
    return rf"\textbf{{{value:.4f}}}" if value == best else f"{value:.4f}"


def _tex(text: str) -> str:
    return "".join(ESCAPES.get(letter, letter) for letter in text)
