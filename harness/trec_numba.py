"""The compiled reader of large, regular run files. Importing it needs numba."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from harness.trec_lines import Columns

PART = 1 << 24  # bytes that a core reads at a time
EXACT = 1 << 53  # whole numbers below this, and powers of ten up to the 22nd, are exact in float64
POWERS = 10.0 ** np.arange(23)
NEWLINE, SPACE, TAB, MINUS, PLUS, DOT, HASH, ZERO, E, CAPITAL_E = (np.uint8(ord(c)) for c in "\n \t-+.#0eE")

Bytes = npt.NDArray[np.uint8]


def parse_run(data: bytes) -> Columns | None:
    """A run whose lines are six columns of printable ASCII with one space, or one tab, between them.

    None for any other file, for scores of so many digits that a quotient of two exact numbers does not give
    them (Clinger 1990), and where queries change with nearly every line: those are for the general reader.
    """
    text = np.frombuffer(data, np.uint8)
    if not len(text) or text[-1] != NEWLINE:
        return None
    delimiter = TAB if b"\t" in data[: data.find(b"\n")] else SPACE
    begins = [0]
    while 0 <= (at := data.find(b"\n", begins[-1] + PART)) < len(data) - 1:
        begins.append(at + 1)
    bounds = np.array([*begins, len(data)])
    lines = np.concatenate(([0], np.cumsum(_count_all(text, bounds))))
    ends, values, docs = np.empty(lines[-1], np.int64), np.empty(lines[-1]), np.empty(len(text), np.uint8)
    changes = np.empty((lines[-1], 2), np.int64)
    sizes = np.zeros((len(begins), 2), np.int64)
    if not _parse_all(text, (bounds, lines), delimiter, (ends, docs, values, changes), sizes):
        return None
    if sizes[:, 1].sum() > 1000 + lines[-1] // 4:
        return None
    found = [changes[first : first + count] for first, count in zip(lines[:-1], sizes[:, 1], strict=True)]
    places = np.concatenate(found)
    names = [data[at : data.index(delimiter.tobytes(), at)].decode() for at in places[:, 1].tolist()]
    numbers: dict[str, int] = {}
    codes = np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int32)
    queries = np.repeat(codes, np.diff(places[:, 0], append=lines[-1]))
    last = data[data.rfind(b"\n", 0, -1) + 1 : -1]
    tag = last.rsplit(delimiter.tobytes(), 1)[1].decode()
    return Columns(queries, tuple(numbers), _strings(ends, docs, (bounds, lines), sizes), values, tag)


def _strings(ends: Any, docs: Bytes, parts: Any, sizes: Any) -> Any:
    """The document ids as large_string[n]; ends are those within a part."""
    bounds, lines = parts
    joined = np.concatenate([docs[at : at + n] for at, n in zip(bounds[:-1], sizes[:, 0], strict=True)])
    offsets = np.zeros(len(ends) + 1, np.int64)
    offsets[1:] = ends
    for number, before in enumerate(np.cumsum(sizes[:, 0]) - sizes[:, 0]):
        offsets[lines[number] + 1 : lines[number + 1] + 1] += before
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(joined)]
    return pa.Array.from_buffers(pa.large_string(), len(ends), buffers)


def _count(text: Any, bounds: Any) -> Any:
    """int64[parts]: lines of each part."""
    counts = np.zeros(len(bounds) - 1, np.int64)
    for part in numba.prange(len(counts)):
        count = 0
        for i in range(bounds[part], bounds[part + 1]):
            count += text[i] == NEWLINE
        counts[part] = count
    return counts


def _parse(text: Any, parts: Any, delimiter: Any, out: Any, sizes: Any) -> bool:
    """Read all parts; sizes int64[parts, 2]: bytes of document ids, and changes of the query."""
    bounds, lines = parts
    ends, docs, values, changes = out
    good = np.zeros(len(sizes), np.bool_)
    for part in numba.prange(len(sizes)):
        begin, end, first, last = bounds[part], bounds[part + 1], lines[part], lines[part + 1]
        into = (ends[first:last], docs[begin:end], values[first:last], changes[first:last])
        good[part] = _parse_part(text[begin:end], delimiter, into, sizes[part], (begin, first))
    return bool(good.all())


def _part(text: Any, delimiter: Any, out: Any, sizes: Any, origin: Any) -> bool:
    """Read the lines of one part; False where one is irregular."""
    ends, docs, values, changes = out
    at, size, count, query, query_end = 0, 0, 0, 0, 0
    for line in range(len(ends)):
        begin = at
        at = end_of_field(text, begin, delimiter)
        if at < 0 or text[begin] == HASH:
            return False
        same = line > 0 and at - begin == query_end - query
        for i in range(at - begin):
            if not same:
                break
            same = text[begin + i] == text[query + i]
        if not same:
            query, query_end = begin, at
            changes[count] = line + origin[1], begin + origin[0]
            count += 1
        begin = end_of_field(text, at + 1, delimiter) + 1  # past Q0
        at = end_of_field(text, begin, delimiter) if begin else -1
        if at < 0:
            return False
        for i in range(begin, at):
            docs[size] = text[i]
            size += 1
        ends[line] = size
        begin = end_of_field(text, at + 1, delimiter) + 1  # past the rank
        at = end_of_field(text, begin, delimiter) if begin else -1
        if at < 0:
            return False
        values[line] = number_of(text, begin, at)
        at = end_of_field(text, at + 1, NEWLINE) + 1 if values[line] == values[line] else 0
        if not at:
            return False
    sizes[0], sizes[1] = size, count
    return True


def _field(text: Any, at: int, delimiter: Any) -> int:
    """Where the field that begins at *at* ends, which is where the delimiter stands; -1 when the field is
    empty or holds anything but printable ASCII.
    """
    begin = at
    while text[at] > SPACE and text[at] < np.uint8(127):
        at += 1
    return at if at > begin and text[at] == delimiter else -1


def _number(text: Any, begin: int, end: int) -> Any:
    """The decimal number in text[begin:end]; NaN when it is none, or not the quotient or product of two exact
    numbers.
    """
    at = begin
    negative = text[at] == MINUS
    if negative or text[at] == PLUS:
        at += 1
    digits, power, point, value = 0, 0, False, 0
    while at < end:
        digit = int(text[at]) - int(ZERO)
        if 0 <= digit <= 9:
            if value > (EXACT - 10) // 10:
                return np.nan
            value = 10 * value + digit
            digits += 1
            power -= point
        elif text[at] == DOT and not point:
            point = True
        else:
            break
        at += 1
    if at < end:
        exponent = exponent_of(text, at, end)
        if exponent == 999:
            return np.nan
        power += exponent
    if digits == 0 or power > 22 or power < -22:
        return np.nan
    exact = value / POWERS[-power] if power < 0 else value * POWERS[power]
    return -exact if negative else exact


def _exponent(text: Any, at: int, end: int) -> Any:
    """The exponent that begins at *at* with its e; 999 when it is none."""
    if text[at] not in (E, CAPITAL_E):
        return 999
    at += 1
    negative = at < end and text[at] == MINUS
    if at < end and (negative or text[at] == PLUS):
        at += 1
    if not 0 < end - at <= 2:
        return 999
    value = 0
    while at < end:
        digit = int(text[at]) - int(ZERO)
        if not 0 <= digit <= 9:
            return 999
        value = 10 * value + digit
        at += 1
    return -value if negative else value


end_of_field = numba.njit(cache=True)(_field)
exponent_of = numba.njit(cache=True)(_exponent)
number_of = numba.njit(cache=True)(_number)
_parse_part = numba.njit(cache=True)(_part)
_parse_all = numba.njit(cache=True, parallel=True)(_parse)
_count_all = numba.njit(cache=True, parallel=True)(_count)
