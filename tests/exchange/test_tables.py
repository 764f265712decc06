"""Tables: CSV, Parquet and LaTeX, with names that mean something to a spreadsheet or to TeX."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from harness.errors import TouchstoneError
from harness.exchange.reported import Reported
from harness.exchange.tables import measured_rows, reported_rows, to_latex, write_table
from tests.boards import TOY, record
from tests.test_leaderboard import HIGH, LOW

RECORDS = [
    record("a_b%", HIGH),
    record("=cmd()", LOW),
    record("a_b%", LOW, replace(TOY, name="other")),
    record("bm25", None),
    record("bm25", HIGH, limit=3),
]


def test_rows_hold_finished_whole_runs() -> None:
    frame = measured_rows(RECORDS)
    assert len(frame) == 6 and set(frame["origin"]) == {"measured"}
    assert frame["value"].max() == HIGH.mean()


def test_csv_and_parquet_come_back(tmp_path: Path) -> None:
    frame = measured_rows(RECORDS)
    write_table(frame, tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "t.parquet"), frame)
    write_table(frame, tmp_path / "t.csv")
    read = pd.read_csv(tmp_path / "t.csv")
    assert read["value"].tolist() == frame["value"].tolist()
    assert "'=cmd()" in set(read["method"]) and "=cmd()" not in set(read["method"])


def test_latex_escapes_and_marks_the_best() -> None:
    text = to_latex(measured_rows(RECORDS))
    assert text.startswith("\\begin{tabular}{lrrrr}\n\\toprule\nmethod & other AP & other nDCG@10 & toy AP")
    assert "a\\_b\\% & \\textbf{0.2500}" in text and "\\textbf{0.6500}" in text
    assert "=cmd() &  &  & 0.2500 & 0.2500 \\\\" in text


def test_reported_rows_say_so() -> None:
    rows = [Reported("toy", "m", "AP", 0.5, "mteb", "f.json", "0")]
    frame = reported_rows(rows)
    assert frame.loc[0, "origin"] == "reported" and frame.loc[0, "source"] == "mteb: f.json"
    assert list(frame.columns) == list(measured_rows(RECORDS).columns)


@pytest.mark.parametrize(
    ("frame", "name", "message"),
    [
        (measured_rows([]), "t.csv", "no result to write"),
        (measured_rows(RECORDS), "t.xls", "unknown kind of table"),
        (measured_rows(RECORDS), "no/t.csv", "cannot write the table"),
    ],
)
def test_what_cannot_be_written(frame: pd.DataFrame, name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(TouchstoneError, match=message):
        write_table(frame, tmp_path / name)
