"""The scheduler's decisions: properties that hold for any runs and devices, and tables for trouble."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.schedule.firsts import NEVER, Firsts
from harness.schedule.gantt import gantt_svg
from harness.schedule.jobs import Action, Device, Ending, GiveUp, Job, Requeue, Reserve, Start
from harness.schedule.simulate import Simulation, Span, lower_bound, makespan, simulate
from harness.schedule.state import OVER, State
from harness.schedule.step import Attempts, Policy, Running, over_memory, overdue, settle, step

GIB = 2**30


def gpus(count: int, gib: int = 80, per_node: int = 8) -> list[Device]:
    return [Device(f"g{n}", "gpu", gib * GIB, f"node{n // per_node}") for n in range(count)]


def no_setup(_placement: object) -> float:
    return 0.0


jobs_lists = st.lists(
    st.builds(
        Job,
        id=st.just(""),
        kind=st.just("gpu"),
        bytes=st.integers(0, 80).map(lambda gib: gib * GIB),
        seconds=st.floats(0.1, 1000),
        busy=st.sampled_from([0.1, 0.3, 0.5, 1.0]),
        devices=st.sampled_from([1, 1, 1, 1, 2, 4]),
        timed=st.booleans(),
        priority=st.integers(0, 2),
        model=st.sampled_from(["", "m1", "m2", "m3"]),
        corpus=st.sampled_from(["", "c1", "c2"]),
        assets=st.sets(st.sampled_from(["a1", "a2", "a3"]), max_size=2).map(lambda s: tuple(sorted(s))),
    ),
    max_size=40,
).map(lambda jobs: [Job(**{**vars(job), "id": f"j{n}"}) for n, job in enumerate(jobs)])


class Checked(Simulation):
    """Looks at the state after every decision."""

    def _place(self) -> None:
        super()._place()
        check(self.state)


def check(state: State) -> None:
    for number, (device, room) in enumerate(zip(state.devices, state.rooms, strict=True)):
        jobs = [state.jobs[name] for name in room.jobs]
        assert sum(state.claim(job.id) for job in jobs) <= device.bytes, "over memory"
        assert room.free == device.bytes - sum(state.claim(job.id) for job in jobs)
        if any(job.alone for job in jobs):
            assert len(jobs) == 1, "not alone"
        assert sum(job.busy for job in jobs) <= OVER + 1e-6
        held = [slot.job for slot in room.slots if slot.job]
        first = [name for name in room.jobs if state.running[name].devices[0] == number]
        assert sorted(held) == sorted(first), "workers and runs differ"
    builders = [
        name for placement in state.running.values() for name in placement.builds if name not in state.ready
    ]
    assert len(builders) == len(set(builders)), "two build one asset"
    for placement in state.running.values():
        assert len({state.devices[n].node for n in placement.devices}) == 1
        assert len(set(placement.devices)) == placement.job.devices
        for name in placement.job.assets:
            assert name in state.ready or state.building.get(name) == placement.job.id


@settings(max_examples=150, deadline=None)
@given(jobs_lists, st.integers(4, 12))
def test_whatever_the_runs_all_rules_hold_and_nobody_starves(jobs: list[Job], count: int) -> None:
    devices = gpus(count, per_node=4)
    usable = [job for job in jobs if job.devices <= 4]
    spans = Checked(State(devices, usable), no_setup).run()
    assert sorted(span.job.id for span in spans) == sorted(job.id for job in usable)
    assert makespan(spans) >= lower_bound(devices, usable) * (1 - 1e-9)


@settings(max_examples=50, deadline=None)
@given(jobs_lists)
def test_step_changes_nothing(jobs: list[Job]) -> None:
    state = State(gpus(4, per_node=4), jobs)
    first = step(state)
    assert step(state) == first
    assert not state.running and not state.reserved


@given(
    st.lists(st.one_of(st.integers(0, 20), st.just(NEVER)), max_size=40),
    st.integers(0, 20),
    st.integers(0, 41),
)
def test_firsts_is_a_search_from_the_left(values: list[float], limit: int, start: int) -> None:
    found = Firsts([NEVER] * len(values))
    for place, value in enumerate(values):
        found.put(place, value)
    assert found.least == min(values, default=NEVER)
    plain = next((n for n, value in enumerate(values) if n >= start and value <= limit), -1)
    assert found.first(limit, start) == plain == Firsts(values).first(limit, start)


def test_higher_priorities_start_first() -> None:
    jobs = [Job(f"j{n}", "gpu", 60 * GIB, seconds=10 + n, priority=n % 3) for n in range(9)]
    order = [span.job.priority for span in sorted(simulate(gpus(1), jobs, no_setup), key=lambda s: s.start)]
    assert order == sorted(order, reverse=True)


def test_a_large_run_is_not_overtaken_for_ever() -> None:
    small = [Job(f"s{n:03}", "gpu", 30 * GIB, seconds=100 + n % 7, busy=0.3) for n in range(200)]
    spans = simulate(gpus(2), [*small, Job("large", "gpu", 80 * GIB, seconds=500, after=("s006",))], no_setup)
    before = [span for span in spans if span.start < next(s.start for s in spans if s.job.id == "large")]
    assert len(before) <= 8  # those that ran already, and none that would delay it


def test_short_runs_use_a_reserved_device_until_it_is_free() -> None:
    jobs = [
        Job("long", "gpu", 60 * GIB, seconds=100, busy=0.3),
        Job("wide", "gpu", 10, seconds=50, devices=2),
    ]
    state = State(gpus(2), [*jobs, Job("short", "gpu", GIB, seconds=20, busy=0.3)])
    state.apply(Start("long", (0,)))
    reserved = step(state)
    assert reserved == Reserve("wide", (1, 0), 100.0)
    state.apply(reserved)
    assert step(state) == Start("short", (1,))


def test_a_worker_with_the_model_loaded_goes_on_with_it() -> None:
    jobs = [
        Job(f"{model}{n}", "gpu", GIB, seconds=10 + n / 10, model=model) for n in range(10) for model in "ab"
    ]
    loads: list[int] = []
    simulate(gpus(2), jobs, lambda placement: float(loads.append(placement.warm) or 0))
    assert sum(warm < 2 for warm in loads) <= 4  # one for each device and model, not one a run


def test_one_run_builds_what_all_share() -> None:
    jobs = [Job(f"j{n}", "gpu", GIB, seconds=10, assets=("vectors/x",)) for n in range(6)]
    built: list[str] = []

    def setup(placement: object) -> float:
        built.extend(placement.builds)  # type: ignore[attr-defined]
        return 5.0 * len(placement.builds)  # type: ignore[attr-defined]

    spans = simulate(gpus(4), jobs, setup)
    assert built == ["vectors/x"]
    starts = sorted(span.start for span in spans)
    assert starts[0] == 0.0 and starts[1] == 15.0


def test_a_run_waits_for_the_runs_it_starts_from() -> None:
    jobs = [
        Job("fused", "gpu", 0, seconds=99, after=("a", "b")),
        Job("a", "gpu", 0, seconds=5),
        Job("b", "gpu", 0),
    ]
    spans = {span.job.id: span for span in simulate(gpus(2), jobs, no_setup)}
    assert spans["fused"].start == 5.0


def test_host_memory_counts_too() -> None:
    devices = [Device("cpu", "cpu", 100 * GIB), Device("0", "gpu", 80 * GIB), Device("1", "gpu", 80 * GIB)]
    jobs = [Job(f"j{n}", "gpu", GIB, 60 * GIB, seconds=10, busy=0.3) for n in range(3)]
    spans = sorted(simulate(devices, jobs, no_setup), key=lambda span: span.start)
    assert [span.start for span in spans] == [0.0, 10.0, 20.0]


def started(claim: int) -> State:
    state = State(gpus(1), [Job("j", "gpu", claim * GIB)])
    state.apply(Start("j", (0,)))
    return state


@pytest.mark.parametrize(
    ("ended", "tried", "claim", "wanted"),
    [
        ("crash", Attempts(), 10, Requeue("j", 1.0, 10 * GIB, "why")),
        ("hang", Attempts(transient=1), 10, Requeue("j", 2.0, 10 * GIB, "why")),
        ("lost", Attempts(transient=2), 10, GiveUp("j", "why (3 times)")),
        ("memory", Attempts(), 10, Requeue("j", 0.0, 20 * GIB, "why")),
        ("memory", Attempts(used=30 * GIB), 10, Requeue("j", 0.0, 45 * GIB, "why")),
        ("memory", Attempts(), 60, Requeue("j", 0.0, 80 * GIB, "why")),
        ("memory", Attempts(), 80, GiveUp("j", "why; it had a whole device")),
        ("memory", Attempts(memory=3), 10, GiveUp("j", "why; claimed more 3 times")),
        ("error", Attempts(), 10, GiveUp("j", "why")),
        ("timeout", Attempts(), 10, GiveUp("j", "why")),
        ("cancel", Attempts(), 10, GiveUp("j", "why")),
        ("disk", Attempts(disk=1), 10, Requeue("j", 2.0, 10 * GIB, "why")),
        ("disk", Attempts(disk=5), 10, GiveUp("j", "why (6 times)")),
    ],
)
def test_what_becomes_of_a_run_that_did_not_end_well(
    ended: Ending, tried: Attempts, claim: int, wanted: Action
) -> None:
    state = started(claim)
    action, after = settle(state, "j", ended, "why", tried, Policy())
    assert action == wanted
    assert after != tried or ended in ("error", "timeout", "cancel")
    state.apply(action)
    assert state.rooms[0].free == 80 * GIB
    assert state.unfinished == isinstance(action, Requeue)


def test_a_requeued_run_starts_again_when_its_time_has_come() -> None:
    state = started(10)
    state.apply(Requeue("j", 5.0, 20 * GIB, "crashed"))
    assert step(state) is None and state.wakes == 5.0
    state.tick(5.0)
    assert step(state) == Start("j", (0,))
    state.apply(Start("j", (0,)))
    assert state.rooms[0].free == 60 * GIB


def test_too_long_too_silent_too_large() -> None:
    policy = Policy(timeout=100, silence=30)
    running = {"slow": Running(0, 119), "silent": Running(50, 80), "well": Running(50, 119)}
    assert [(stop.job, stop.kind) for stop in overdue(120, running, policy)] == [
        ("slow", "timeout"),
        ("silent", "hang"),
    ]
    state = State(gpus(1), [Job("thin", "gpu", 30 * GIB, busy=0.3), Job("fat", "gpu", 20 * GIB, busy=0.3)])
    state.apply(Start("thin", (0,)))
    state.apply(Start("fat", (0,)))
    fine = {"thin": Running(0, 0, 50 * GIB), "fat": Running(0, 0, 30 * GIB)}
    assert not list(over_memory(state, fine))
    stops = list(over_memory(state, {**fine, "fat": Running(0, 0, 45 * GIB)}))
    assert [(stop.job, stop.kind) for stop in stops] == [("fat", "memory")]


def test_a_lost_device_gets_nothing_and_its_run_goes_elsewhere() -> None:
    state = State(gpus(2), [Job("j", "gpu", GIB)])
    state.apply(Start("j", (1,)))
    state.lose(1)
    state.apply(Requeue("j", 0.0, GIB, "node lost"))
    state.tick(0.0)
    assert step(state) == Start("j", (0,))


def test_runs_that_share_a_device_slow_each_other_down_when_it_is_full() -> None:
    jobs = [Job(name, "gpu", seconds=10, busy=0.6) for name in "abcdef"]
    spans: list[Span] = simulate(gpus(1), jobs, no_setup)
    assert [span.end for span in spans[:2]] == pytest.approx([12.0, 12.0])


def test_the_picture_shows_every_run() -> None:
    devices = gpus(2)
    spans = simulate(devices, [Job(f"<{n}>", "gpu", seconds=5 + n) for n in range(5)], lambda _placement: 1.0)
    drawn = gantt_svg(devices, spans)
    ElementTree.fromstring(drawn)
    assert drawn.count("<title>") == 5 and "&lt;3&gt;" in drawn
    assert drawn == gantt_svg(devices, spans)
