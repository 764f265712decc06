"""Faults put in on purpose: nothing is lost, and every run ends stored or with a reason."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from harness.errors import TouchstoneError
from harness.execute import Planned, Session
from harness.registry import parse_method
from harness.schedule.crew import Event
from harness.schedule.desk import Desk, at_work, desk_for, desks
from harness.schedule.forecast import name_jobs
from harness.schedule.start import Ended, ScheduleOptions, run_schedule
from harness.schedule.status import status_of
from harness.schedule.step import Policy
from harness.spec import RunSpec

QUICK = Policy(retries=2, backoff=0.05, silence=30)


def jobs_of(session: Session, *methods: str, task: str = "toy") -> dict[str, Planned]:
    spec = session.catalog.task(task)
    return name_jobs(session.plan(RunSpec(parse_method(method), spec)) for method in methods)


def schedule(
    session: Session,
    jobs: dict[str, Planned],
    watch: Callable[[Event], None] = lambda _e: None,
    **options: object,
) -> Ended:
    chosen = {"devices": "fake:2x4GB", "policy": QUICK, **options}
    return run_schedule(session, jobs, ScheduleOptions(**chosen), watch)  # type: ignore[arg-type]


def slow(log: Path, seconds: float = 0.2) -> str:
    return f"tests.toys:Slow(seconds={seconds},log={log})"


def wait(until: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def lines(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def pid_of(log: Path) -> int:
    """The process that answers, as the toy method wrote it down."""
    return int(log.with_suffix(".pid").read_text())


def events(session: Session) -> list[dict[str, object]]:
    return list(desks(session.store.root)[-1].events())


@contextmanager
def meanwhile(act: Callable[[], None]) -> Iterator[None]:
    """*act* in a thread beside the block; what it raises is raised."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    yield
    thread.join()
    if raised:
        raise raised[0]


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_runs_end_stored_and_the_events_tell_how(session: Session) -> None:
    jobs = jobs_of(session, "random", "oracle", "fusion(methods=oracle+random)")
    ended = schedule(session, jobs)
    assert ended.failed == {}
    for planned in jobs.values():
        record = session.store.get(planned.id)
        assert record.status == "done"
        assert session.store.verify(record, planned.task) == []
    told = events(session)
    assert {e["job"] for e in told if e["what"] == "done"} == set(jobs)
    fused = next(job for job, planned in jobs.items() if planned.adapter.name == "fusion")
    starts = [e["job"] for e in told if e["what"] == "start"]
    assert starts[-1] == fused, "it waits for what it starts from"
    assert status_of(ended.desk, "", time.time()).left == 0


def test_a_killed_worker_costs_only_the_block_under_way(session: Session, tmp_path: Path) -> None:
    log = tmp_path / "log"
    jobs = jobs_of(session, slow(log), "oracle")

    def kill() -> None:
        wait(lambda: len(lines(log)) >= 3)
        os.kill(pid_of(log), signal.SIGKILL)

    with meanwhile(kill):
        ended = schedule(session, jobs)
    assert ended.failed == {}
    answered = lines(log)
    assert set(answered) == set("012345") and len(answered) <= 7
    again = [e for e in events(session) if e["what"] == "again"]
    assert [e["kind"] for e in again] == ["crash"] and "SIGKILL" in str(again[0]["why"])


def test_a_worker_that_keeps_dying_is_given_up_with_the_last_lines_of_its_log(session: Session) -> None:
    jobs = jobs_of(session, "tests.toys:Dies", "oracle")
    ended = schedule(session, jobs)
    ((job, why),) = ended.failed.items()
    assert "SIGKILL" in why and "3 times" in why
    record = session.store.get(jobs[job].id)
    assert record.status == "failed" and record.failure is not None
    assert "about to die" in record.failure.details


@pytest.mark.parametrize(
    ("policy", "kind", "reason"),
    [
        (Policy(timeout=3, backoff=0.05), "timeout", "took longer than 3 s"),
        (Policy(silence=3, retries=0, backoff=0.05), "hang", "silent for 3 s"),
    ],
)
def test_a_worker_that_hangs_is_ended(session: Session, policy: Policy, kind: str, reason: str) -> None:
    method = "tests.toys:Hangs" if kind == "timeout" else "tests.toys:Hangs(stopped=true)"
    jobs = jobs_of(session, method)
    ended = schedule(session, jobs, policy=policy)
    (why,) = ended.failed.values()
    assert reason in why
    assert session.store.find()[0].status == "failed"
    assert [e["kind"] for e in events(session) if e["what"] == "failed"] == [kind]


def test_a_leak_is_ended_and_tried_again_with_a_larger_claim(session: Session, tmp_path: Path) -> None:
    log = tmp_path / "log"
    jobs = jobs_of(session, f"tests.toys:Leaks(log={log})", "oracle")
    ended = schedule(session, jobs, devices="fake:1x700MB")
    ((job, why),) = ended.failed.items()
    assert "held" in why and "whole device" in why
    claims = [e["claim"] for e in events(session) if e["what"] == "again" and e["job"] == job]
    assert claims and claims == sorted(claims) and claims[-1] == 700_000_000
    record = session.store.get(jobs[job].id)
    assert record.failure is not None and "held" in record.failure.what
    assert len(lines(log)) >= 2


def test_out_of_memory_that_a_larger_claim_mends(session: Session, tmp_path: Path) -> None:
    jobs = jobs_of(session, f"tests.toys:OutOfMemory(times=2,log={tmp_path / 'log'})")
    assert schedule(session, jobs).failed == {}
    again = [e for e in events(session) if e["what"] == "again"]
    assert [e["kind"] for e in again] == ["memory", "memory"]
    assert int(again[1]["claim"]) >= 2 * int(again[0]["claim"])  # type: ignore[call-overload]


def test_max_failures_stops_the_rest(session: Session) -> None:
    jobs = jobs_of(session, "tests.toys:Broken", "oracle")
    policy = Policy(max_failures=1)
    order = {job: planned for job, planned in jobs.items() if planned.adapter.name == "broken"}
    ended = schedule(session, {**order, **jobs}, devices="fake:1x4GB", policy=policy)
    assert any("the model fell over" in why for why in ended.failed.values())
    waited = [why for why in ended.failed.values() if "not started" in why]
    assert len(waited) <= 1 and all(
        r.status == "failed" or r.run.method.name == "oracle" for r in session.store.find()
    )


def test_what_starts_from_a_failed_run_fails_with_its_reason(session: Session) -> None:
    jobs = jobs_of(session, "tests.toys:Broken", "fusion(methods=tests.toys:Broken+bm25)")
    ended = schedule(session, jobs)
    assert len(ended.failed) == 2
    assert any("which failed" in why for why in ended.failed.values())


def test_a_second_scheduler_is_refused(session: Session, tmp_path: Path) -> None:
    session.store.require_writable()
    with desk_for(session.store.root, {}):
        assert f"process {os.getpid()}" in at_work(session.store.root)
        with pytest.raises(TouchstoneError, match="another scheduler is at work"):
            schedule(session, jobs_of(session, "oracle"))
    assert at_work(session.store.root) == ""
    assert schedule(session, jobs_of(session, "oracle")).failed == {}


def test_cancel_ends_what_runs_and_what_waits(session: Session, tmp_path: Path) -> None:
    log = tmp_path / "log"
    jobs = jobs_of(session, slow(log, 5), slow(tmp_path / "other", 5))

    def cancel() -> None:
        wait(lambda: lines(log) or log.with_suffix(".pid").exists())
        desks(session.store.root)[-1].cancel(["all"])

    with meanwhile(cancel):
        ended = schedule(session, jobs, devices="fake:1x4GB")
    assert set(ended.failed.values()) == {"cancelled"}
    assert session.store.find() == []
    states = {job.state for job in status_of(ended.desk, "", time.time()).jobs.values()}
    assert states == {"cancelled"}


def cli(places: Path, *args: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "harness.cli", *args, "--results", str(places / "results")]
    environment = {**os.environ, "TOUCHSTONE_EXECUTOR": "process"}
    return subprocess.Popen(
        command,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def run_args(log: Path) -> list[str]:
    return ["run", "--task", "toy", "--method", slow(log, 0.3), "--devices", "fake:1x4GB"]


def test_a_killed_scheduler_leaves_no_process_and_resume_goes_on(toy_places: Path) -> None:
    log = toy_places / "log"
    child = cli(toy_places, *run_args(log))
    wait(lambda: len(lines(log)) >= 2)
    worker = pid_of(log)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    wait(lambda: gone(worker), 30)
    before = lines(log)
    assert "no scheduler is at work" in cli(toy_places, "status").communicate()[0]
    out, err = (done := cli(toy_places, "resume")).communicate()
    assert done.returncode == 0, out + err
    answered = lines(log)
    assert set(answered) == set("012345") and len(answered) <= 7
    assert answered[: len(before)] == before


@pytest.mark.parametrize("signals", [1, 2])
def test_interrupt_stops_cleanly_and_a_second_one_at_once(toy_places: Path, signals: int) -> None:
    log = toy_places / "log"
    args = run_args(log)
    if signals == 2:
        args[args.index("--method") + 1] = f"tests.toys:Hangs(deaf=true,log={log})"
    child = cli(toy_places, *args)
    wait(log.with_suffix(".pid").exists)
    wait(lambda: signals == 2 or len(lines(log)) >= 2)
    worker = pid_of(log)
    os.kill(child.pid, signal.SIGINT)
    start = time.monotonic()
    if signals == 2:
        time.sleep(0.5)
        assert child.poll() is None
        os.kill(child.pid, signal.SIGINT)
    _out, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert "finished blocks are kept" in err
    assert signals == 1 or time.monotonic() - start < 8, "it did not wait for the deaf worker"
    wait(lambda: gone(worker), 20)
    assert not list(toy_places.glob("results/**/record.json"))


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_waited_for_and_nothing_is_lost(session: Session, tmp_path: Path) -> None:
    from harness.assets import Assets
    from harness.store import Store

    log = tmp_path / "log"
    with small_disk(tmp_path / "disk", "24m") as disk:
        ours = Session(session.catalog, Store(disk / "results"), Assets(disk / "cache"))
        jobs = jobs_of(ours, slow(log, 0.3))
        ballast = disk / "ballast"

        def fill_and_free() -> None:
            wait(lambda: len(lines(log)) >= 2)
            with ballast.open("wb", buffering=0) as handle, suppress(OSError):
                while handle.write(b"x" * 4096):
                    pass
            wait(lambda: any(e["what"] == "disk" or e.get("kind") == "disk" for e in seen))
            ballast.unlink()

        seen: list[dict[str, object]] = []

        def watch(event: Event) -> None:
            if event.what == "ended":
                seen.append({"what": event.what, "kind": event.kind})

        with meanwhile(fill_and_free):
            ended = schedule(ours, jobs, watch)
        assert ended.failed == {}
        assert any(e["kind"] == "disk" for e in seen)
        (record,) = ours.store.find()
        assert record.status == "done" and record.counts["missing"] == 0
        assert len(lines(log)) <= 8


def test_events_cut_in_the_middle_are_left_out(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.write("job", job="a", method="m", task="t", forecast=1.0)
    with (tmp_path / "events.jsonl").open("a") as handle:
        handle.write(json.dumps({"what": "done"})[:7])
    assert [e["what"] for e in desk.events()] == ["job"]
