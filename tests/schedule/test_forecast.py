"""Devices as they are asked for, forecasts, and the commands that show them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness.assets import Assets
from harness.errors import TouchstoneError
from harness.execute import Session
from harness.record import Cost
from harness.registry import parse_method
from harness.schedule.devices import fake_devices, parse_devices
from harness.schedule.forecast import WORKER_BYTES, Forecaster, JobOptions, Past, name_jobs
from harness.schedule.jobs import Device
from harness.spec import RunSpec
from tests.schedule.test_faults import jobs_of
from tests.test_cli import invoke
from tests.test_execute import run

CPU = [Device("cpu", "cpu", 10**10)]


def test_devices_as_they_are_asked_for() -> None:
    four = parse_devices("fake:4x80GiB")
    assert [device.bytes for device in four] == [80 * 2**30] * 4
    assert {device.kind for device in four} == {"fake"}
    assert [device.node for device in fake_devices("10x1.5GB")][7:9] == ["node0", "node1"]
    (cpu,) = parse_devices("cpu")
    assert cpu.kind == "cpu" and cpu.bytes > 10**8


@pytest.mark.parametrize("text", ["fake:0x8GB", "fake:x", "fake:2x0GB", "17", "cpu,cpu", "gpu"])
def test_devices_that_make_no_sense(text: str) -> None:
    with pytest.raises(TouchstoneError) as caught:
        parse_devices(text)
    assert text in caught.value.line and caught.value.fix


def test_arithmetic_first_then_what_earlier_runs_took(session: Session) -> None:
    jobs = jobs_of(session, "random")
    (before,) = Forecaster(CPU, session.assets).all(jobs)
    assert before.basis == "arithmetic" and before.job.bytes == WORKER_BYTES
    record = run(session, "random")
    cost = Cost(seconds=12.0, peak_memory_bytes=10**9, joules={"cpu": 240.0})
    past = Past.of([replace(record, cost=cost)], session.store.root)
    (after,) = Forecaster(CPU, session.assets, past).all(jobs)
    assert after.basis == "earlier run" and after.job.seconds == 12.0
    assert after.job.bytes == pytest.approx(1.1e9) and after.joules == pytest.approx(240)
    other = jobs_of(session, "random", task="quest-retrieval")
    (elsewhere,) = Forecaster(CPU, session.assets, past).all(other)
    assert elsewhere.basis == "other tasks" and elsewhere.job.seconds == pytest.approx(12.0)


def test_shared_assets_parts_and_options(session: Session) -> None:
    methods = ("bm25", "bm25(k1=1.2)", "random", "fusion(methods=bm25+random)")
    jobs = jobs_of(session, *methods)
    options = JobOptions({"random": 3, "toy": 1}, alone=True)
    found = Forecaster(CPU, session.assets, Past(), options).all(jobs)
    bm25, _other, random, fused = found
    assert fused.job.after == (bm25.job.id, random.job.id)
    assert [one.job.priority for one in found] == [1, 1, 4, 1] and all(one.job.timed for one in found)
    assert bm25.job.assets and not bm25.shared
    run(session, "bm25")
    assert Forecaster(CPU, session.assets).all(jobs)[0].shared == bm25.job.assets


def test_the_device_decides_the_claim(session: Session) -> None:
    cards = [*CPU, Device("0", "gpu", 10**9)]
    jobs = jobs_of(session, "bm25")
    assert Forecaster(cards, session.assets).all(jobs)[0].job.kind == "cpu"
    assert Forecaster(fake_devices("1x1MB", "fake"), session.assets).all(jobs)[0].job.bytes == 10**6


def test_one_method_under_two_names_is_two_jobs(session: Session) -> None:
    spec = session.catalog.task("toy")
    method = parse_method("oracle")
    runs = [session.plan(RunSpec(replace(method, name=name), spec)) for name in ("one", "two")]
    first, second = name_jobs(runs)
    assert second == f"{first}.2"


def test_plan_simulates_and_draws(toy_places: Path) -> None:
    results, picture = toy_places / "results", toy_places / "plan.svg"
    out = invoke(
        "plan", "--suite", "toys", "--results", str(results), "--simulate", "8x80GiB", "--draw", str(picture)
    )
    assert "no schedule takes less than" in out and "6 runs in" in out
    assert "shared assets: 0 found, 1 to make" in out
    ElementTree.parse(picture)
    invoke("run", "--suite", "toys", "--results", str(results))
    again = invoke("plan", "--suite", "toys", "--results", str(results))
    assert "earlier run" in again and "6 stored" in again and "1 of 1" in again


def test_status_and_resume_after_a_run(toy_places: Path) -> None:
    results = str(toy_places / "results")
    with pytest.raises(TouchstoneError, match="nothing was scheduled"):
        invoke("status", "--results", results)
    invoke("run", "--suite", "toys", "--results", results)
    out = invoke("status", "--results", results, "--follow")
    assert "6 done, 0 failed" in out and "no scheduler is at work" in out
    assert "Nothing to do" in invoke("resume", "--results", results)
    with pytest.raises(TouchstoneError, match="no scheduler is at work"):
        invoke("cancel", "--all", "--results", results)


def test_an_asset_is_found_by_its_name(tmp_path: Path) -> None:
    from harness.assets import asset_name

    assets = Assets(tmp_path)
    assert not assets.has(asset_name("index", {"a": 1}))
    assets.get_or_make("index", {"a": 1}, lambda _folder: None)
    assert assets.has(asset_name("index", {"a": 1}))
