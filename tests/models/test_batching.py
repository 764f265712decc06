from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import TouchstoneError
from harness.meter import Meter, metering
from harness.models.batching import BatchLimits, Longs, Ragged, batch_limits, run_batches

lists = st.lists(st.lists(st.integers(0, 99), max_size=9), max_size=30)


@given(lists)
def test_ragged_keeps_every_row_and_pads_on_the_right(rows: list[list[int]]) -> None:
    ragged = Ragged.of(rows)
    assert ragged.lengths.tolist() == [len(row) for row in rows]
    values, mask = ragged.padded(np.arange(len(rows)), -1)
    for row, value, held in zip(rows, values.tolist(), mask.tolist(), strict=True):
        assert value == row + [-1] * (values.shape[1] - len(row))
        assert held == [1] * len(row) + [0] * (values.shape[1] - len(row))


def test_padding_follows_the_order_of_the_rows() -> None:
    values, _ = Ragged.of([[1], [2, 3, 4], [5, 6]]).padded(np.array([2, 0]), 0)
    assert values.tolist() == [[5, 6], [1, 0]]


@given(st.lists(st.integers(0, 40), max_size=60), st.integers(1, 100), st.integers(1, 8))
def test_every_row_is_in_one_batch_within_the_limits(lengths: list[int], tokens: int, rows: int) -> None:
    batches: list[Longs] = []
    told: list[tuple[int, int]] = []
    run_batches(
        np.array(lengths, np.int64),
        BatchLimits(tokens, rows),
        batches.append,
        lambda a, b: told.append((a, b)),
    )
    assert sorted(int(row) for batch in batches for row in batch) == list(range(len(lengths)))
    longest = [max(lengths[row] for row in batch) for batch in batches]
    assert longest == sorted(longest, reverse=True)
    for batch, most in zip(batches, longest, strict=True):
        assert len(batch) <= rows
        assert len(batch) == 1 or len(batch) * most <= tokens
    assert not told or told[-1] == (len(lengths), len(lengths))


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: ...")]
)
def test_out_of_memory_halves_the_batches_and_goes_on(error: Exception) -> None:
    done: list[int] = []
    sizes: list[int] = []

    def run(rows: Longs) -> None:
        sizes.append(len(rows))
        if len(rows) > 3:
            raise error
        done.extend(int(row) for row in rows)

    run_batches(np.full(20, 10), BatchLimits(160, 100), run, None)
    assert sorted(done) == list(range(20))
    assert sizes[:4] == [16, 8, 4, 2]
    assert set(sizes[3:]) == {2}


def test_out_of_memory_of_one_row_names_its_length() -> None:
    def run(rows: Longs) -> None:
        raise MemoryError

    with pytest.raises(TouchstoneError, match="out of memory with a single text of 77 tokens"):
        run_batches(np.array([77]), BatchLimits(160, 100), run, None)


def test_other_errors_pass_through() -> None:
    def run(rows: Longs) -> None:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        run_batches(np.array([1, 2]), BatchLimits(10, 10), run, None)


def test_an_accelerator_gets_larger_batches() -> None:
    assert batch_limits("cuda:1").tokens > batch_limits("cpu").tokens


@pytest.mark.parametrize("threads", [1, 3])
def test_every_row_is_in_one_batch_whatever_runs_at_once(threads: int) -> None:
    lengths = np.random.default_rng(0).integers(1, 60, 200)
    seen, told = list[int](), list[int]()

    def run(rows: Longs) -> None:
        if len(rows) * lengths[rows].max() > 150 and len(rows) > 1:
            raise MemoryError
        time.sleep(0.0005)
        seen.extend(rows.tolist())

    meter = Meter()
    with metering(meter):
        run_batches(lengths, BatchLimits(1000, 50), run, lambda done, _total: told.append(done), threads)
    assert sorted(seen) == list(range(200))
    assert told == sorted(told) and told[-1] == 200
    assert meter.counts["batches halved for memory"] >= 1


def test_an_error_in_one_thread_stops_all() -> None:
    started = []

    def run(rows: Longs) -> None:
        started.append(rows)
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        run_batches(np.full(100, 10), BatchLimits(10, 1), run, None, 2)
    assert len(started) <= 4


def test_sequences_end_to_end() -> None:
    ragged = Ragged.of([[1, 2, 3], [], [4], [5, 6]])
    values, lengths = ragged.joined(np.array([3, 0, 1]))
    assert (values.tolist(), lengths.tolist()) == ([5, 6, 1, 2, 3], [2, 3, 0])
