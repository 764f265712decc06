"""Every back end gives the same results, bit for bit; Ray with a node killed, Slurm with its own daemons."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.assets import Assets
from harness.execute import Session
from harness.schedule.start import ScheduleOptions, run_schedule
from harness.schedule.step import Policy
from harness.store import Store
from tests.needs import needs
from tests.schedule.test_faults import events, jobs_of, lines, meanwhile, pid_of, schedule, slow, wait

METHODS = ("random", "oracle", "fusion(methods=oracle+random,mode=minmax,weights=0.3+0.7)")
PATIENT = Policy(backoff=0.05, silence=120)


@pytest.fixture
def shared_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that other systems start find this checkout."""
    root = Path(__file__).parents[2]
    monkeypatch.setenv("PYTHONPATH", f"{root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")


def fingerprint(session: Session) -> dict[str, dict[str, bytes]]:
    """What the runs gave: every stored array and the scores, by method."""
    found = {}
    for record in session.store.find():
        assert record.status == "done", record.failure
        folder = session.store.folder(record)
        files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "record.json"}
        found[f"{record.run.method.name} on {record.run.task.name}"] = {
            **files,
            "scores": repr(sorted(record.scores.items())).encode(),
            "id": record.id.encode(),
        }
    return found


def fresh(session: Session, place: Path) -> Session:
    """The same definitions with an empty store and cache, in a folder that all nodes see."""
    return Session(session.catalog, Store(place / "results"), Assets(place / "cache"))


def run_all(session: Session, **options: object) -> dict[str, dict[str, bytes]]:
    jobs = {
        **jobs_of(session, *METHODS),
        **jobs_of(session, "random", "majority", "oracle", task="quiz"),
    }
    ended = run_schedule(session, jobs, ScheduleOptions(policy=PATIENT, **options), lambda _e: None)  # type: ignore[arg-type]
    assert ended.failed == {}
    return fingerprint(session)


def test_inline_and_processes_give_the_same(session: Session, tmp_path: Path) -> None:
    inline = run_all(fresh(session, tmp_path / "a"), executor="inline")
    assert len(inline) == 6
    assert run_all(fresh(session, tmp_path / "b"), devices="fake:2x4GB") == inline


@needs("torch")
def test_a_model_gives_the_same_in_every_process(session: Session, tmp_path: Path) -> None:
    from tests.models.tiny import write_encoder

    method = f"dense(model={write_encoder(tmp_path / 'model')})"
    found = []
    for number, executor in enumerate(("inline", "process")):
        ours = fresh(session, tmp_path / str(number))
        assert (
            schedule(ours, jobs_of(ours, method), executor=executor, devices="cpu", policy=PATIENT).failed
            == {}
        )
        found.append(fingerprint(ours))
    assert found[0] == found[1]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, shared_python: None) -> Iterator[object]:
    """Three Ray nodes on this machine."""
    import ray
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_DISABLE_IMPORT_WARNING", "1")
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80 << 20},
    )
    for _ in range(2):
        cluster.add_node(num_cpus=1, object_store_memory=80 << 20)
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@needs("ray")
@pytest.mark.timeout(300)
def test_ray_gives_the_same_and_survives_the_loss_of_a_node(
    session: Session, tmp_path: Path, cluster: object
) -> None:
    inline = run_all(fresh(session, tmp_path / "a"), executor="inline")
    ours = fresh(session, tmp_path / "b")
    assert run_all(ours, executor="ray") == inline

    logs = [tmp_path / f"log{n}" for n in range(3)]
    lost = fresh(session, tmp_path / "c")
    jobs = jobs_of(lost, *(slow(log, 0.5) for log in logs))
    killed: list[int] = []

    def kill_a_node() -> None:
        wait(lambda: all(len(lines(log)) >= 2 for log in logs), 120)
        node = next(n for n in cluster.worker_nodes)  # type: ignore[attr-defined]
        killed.append(node.node_id and 1)
        cluster.remove_node(node, allow_graceful=False)  # type: ignore[attr-defined]

    with meanwhile(kill_a_node):
        ended = run_schedule(lost, jobs, ScheduleOptions("ray", policy=PATIENT), lambda _e: None)
    assert ended.failed == {} and killed
    for log in logs:
        assert set(lines(log)) == set("012345") and len(lines(log)) <= 7
    told = events(lost)
    assert any(e["what"] == "lost" for e in told)
    again = [e["kind"] for e in told if e["what"] == "again"]
    assert again and set(again) <= {"crash", "lost"}  # Ray may tell of the task before it tells of the node


@needs("submitit")
def test_submitit_on_this_machine_gives_the_same(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared_python: None
) -> None:
    monkeypatch.setenv("TOUCHSTONE_SLURM_CLUSTER", "local")
    inline = run_all(fresh(session, tmp_path / "a"), executor="inline")
    assert run_all(fresh(session, tmp_path / "b"), executor="slurm", devices="fake:2x4GB") == inline


SLURM_CONF = """\
ClusterName=touchstone
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctl}
SlurmdPort={slurmd}
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1
MinJobAge=300
KillWait=1
ReturnToService=2
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} Gres=gpu:2 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:8
"""


def free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared_python: None) -> Iterator[Path]:
    """A controller and a node with two cards, which are /dev/null by other names."""
    folder = tmp_path / "slurm"
    for name in ("state", "spool", "munge"):
        (folder / name).mkdir(parents=True)
    folder.chmod(0o755)
    host = os.uname().nodename.split(".")[0]
    for number in range(2):
        subprocess.run(["mknod", str(folder / f"card{number}"), "c", "1", "3"], check=True)
    conf = folder / "slurm.conf"
    ports = {"ctl": free_port(), "slurmd": free_port()}
    conf.write_text(SLURM_CONF.format(host=host, folder=folder, cpus=os.cpu_count(), **ports))
    (folder / "gres.conf").write_text(f"NodeName={host} Name=gpu File={folder}/card[0-1]\n")
    (folder / "cgroup.conf").write_text("CgroupPlugin=autodetect\n")
    monkeypatch.setenv("SLURM_CONF", str(conf))
    key, socket_path = folder / "munge" / "key", folder / "munge" / "socket"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    started = []
    munge = ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={socket_path}"]
    munge += [f"--{what}-file={folder}/munge/{what}" for what in ("pid", "log", "seed")]
    conf.write_text(conf.read_text() + f"AuthInfo=socket={socket_path}\n")
    for command in (
        munge,
        ["slurmctld", "-D", "-f", str(conf)],
        ["slurmd", "-D", "-f", str(conf), "-N", host],
    ):
        with (folder / f"{command[0]}.out").open("w") as out:
            started.append(subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ}))
        time.sleep(0.5)
    try:
        wait(
            lambda: (
                "idle" in subprocess.run(["sinfo", "-h"], capture_output=True, text=True, check=False).stdout
            )
        )
        yield folder
    finally:
        subprocess.run(["scancel", "--user", "root"], check=False, capture_output=True)
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
        for process in started:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


@needs("slurm")
@pytest.mark.timeout(300)
def test_slurm_gives_the_same_and_a_cancelled_job_is_made_up_for(
    session: Session, tmp_path: Path, slurm: Path
) -> None:
    inline = run_all(fresh(session, tmp_path / "a"), executor="inline")
    assert run_all(fresh(session, tmp_path / "b"), executor="slurm", devices="fake:2x4GB") == inline

    log = tmp_path / "log"
    ours = fresh(session, tmp_path / "c")

    def cancel() -> None:
        wait(lambda: len(lines(log)) >= 2, 120)
        queue = subprocess.run(["squeue", "-h", "-o", "%A"], capture_output=True, text=True, check=True)
        subprocess.run(["scancel", *queue.stdout.split()], check=True)

    with meanwhile(cancel):
        ended = run_schedule(
            ours, jobs_of(ours, slow(log, 1.0)), ScheduleOptions("slurm", "1x4GB", PATIENT), lambda _e: None
        )
    assert ended.failed == {}
    assert set(lines(log)) == set("012345") and len(lines(log)) <= 7
    assert [e["kind"] for e in events(ours) if e["what"] == "again"] == ["crash"]
    assert shutil.which("squeue") and pid_of(log)
    left = subprocess.run(["squeue", "-h"], capture_output=True, text=True, check=True)
    wait(
        lambda: (
            not left.stdout.strip()
            or not subprocess.run(["squeue", "-h"], capture_output=True, text=True, check=True).stdout.strip()
        )
    )
