"""Many jobs: the same results whoever works, and errors come through."""

from __future__ import annotations

import os

import pytest

from harness.errors import TouchstoneError
from harness.parallel import each


def work(shared: list[int], job: int) -> tuple[int, int]:
    if job < 0:
        raise TouchstoneError("it fell over", where=f"job {job}", fix="give it up")
    return shared[0] * job, os.getpid()


@pytest.mark.parametrize("processes", [1, 2])
def test_results_keep_their_order(processes: int) -> None:
    found = each(work, [3], list(range(20)), processes)
    assert [value for value, _ in found] == [3 * job for job in range(20)]
    here = {process == os.getpid() for _, process in found}
    assert here == {processes == 1}
    assert each(work, [3], [], processes) == []


@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_is_the_one_that_was_raised(processes: int) -> None:
    with pytest.raises(TouchstoneError) as caught:
        each(work, [1], [1, 2, -7], processes)
    assert caught.value.line == "job -7: it fell over; give it up"
