"""The compiled reader of run files, held to the general one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import trec_lines, trec_numba
from harness.trec_lines import RUN, Columns
from tests.needs import needs

pytestmark = needs("numba")

names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=9)
numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False, width=32).map(repr),
    st.floats(-1e4, 1e4).map(lambda x: f"{x:.6f}"),
    st.floats(-1e4, 1e4).map(lambda x: f"{x:.3e}"),
    st.integers(-(10**18), 10**18).map(str),
    st.sampled_from(["0", "-0.0", "+1.", ".5", "1e5", "1E-3", "007.250", "9007199254740993"]),
)
rows = st.lists(st.tuples(names, names, numbers), min_size=1, max_size=30)


def same(found: Columns, expected: Columns) -> None:
    assert found.query_ids == expected.query_ids
    assert found.tag == expected.tag
    assert found.docs.to_pylist() == expected.docs.to_pylist()
    np.testing.assert_array_equal(found.queries, expected.queries)
    np.testing.assert_array_equal(found.values, expected.values)
    assert (found.queries.dtype, found.values.dtype) == (expected.queries.dtype, expected.values.dtype)


@settings(deadline=None, max_examples=150)
@given(rows, st.sampled_from([" ", "\t"]), st.integers(1, 200))
def test_it_reads_what_the_general_reader_reads_or_nothing(
    lines: list[tuple[str, str, str]], delimiter: str, size: int
) -> None:
    data = "".join(
        delimiter.join((query, "Q0", doc, str(rank), score, "tag")) + "\n"
        for rank, (query, doc, score) in enumerate(lines)
    ).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trec_numba, "PART", size)
        found = trec_numba.parse_run(data)
    expected = trec_lines._quick(data, RUN)
    if found is not None and expected is not None:
        same(found, expected)
    assert (found is None) <= (expected is None or any(odd(query, score) for query, _, score in lines))


def odd(query: str, score: str) -> bool:
    """Whether a line is left to the other readers: comments, numbers of many digits or far exponents."""
    digits, _, exponent = score.lower().partition("e")
    many = len(digits.strip("+-").replace(".", "").lstrip("0")) > 15
    return query.startswith("#") or many or abs(int(exponent or 0)) > 6


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"1 Q0 d 1 0.5 tag",  # no end of line
        b"1 Q0 d 1 0.5\n",
        b"1 Q0 d 1 0.5 tag more\n",
        b"1  Q0 d 1 0.5 tag\n",
        b"1 Q0 d\t1 0.5 tag\n",
        b"1 Q0 d 1 0.5 tag\r\n",
        b"1 Q0 d 1 0.5 tag\n\n",
        b"# comment of six words now\n",
        "1 Q0 dé 1 0.5 tag\n".encode(),
        b"1 Q0 d 1 0x5 tag\n",
        b"1 Q0 d 1 nan tag\n",
        b"1 Q0 d 1 1e999 tag\n",
        b"1 Q0 d 1 1e tag\n",
        b"1 Q0 d 1 - tag\n",
        b"1 Q0 d 1 0.12345678901234567 tag\n",
        b"".join(b"%d Q0 d 1 0.5 tag\n" % (line % 2) for line in range(9000)),  # queries change too often
    ],
)
def test_irregular_files_are_left_to_the_general_readers(data: bytes) -> None:
    assert trec_numba.parse_run(data) is None


def test_large_files_go_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.run"
    path.write_bytes(b"".join(b"q%d Q0 d%d 1 %d.25 t\n" % (i // 50, i, -i) for i in range(2000)))
    wanted = trec_lines.read_columns(path, RUN)
    monkeypatch.setattr(trec_lines, "LARGE", 1000)
    monkeypatch.setattr(trec_lines, "_quick", None)  # not called
    monkeypatch.setattr(trec_numba, "PART", 5000)
    same(trec_lines.read_columns(path, RUN), wanted)
