"""Workers in a Ray cluster: a task a worker, held on its node. Results and assets lie where all nodes see
them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import MissingExtra, TouchstoneError
from harness.schedule.devices import USABLE, cpu, gpus
from harness.schedule.jobs import Device


def connect(address: str) -> Any:
    """The cluster at *address*; ``auto`` is one that runs here, or else a new one of this machine."""
    try:
        import ray
    except ImportError as error:
        raise MissingExtra("--executor ray", "ray", "ray") from error
    if not ray.is_initialized():
        options: dict[str, Any] = {
            "include_dashboard": False,
            "logging_level": "ERROR",
            "log_to_driver": False,
        }
        try:
            ray.init(address=None if address == "auto" else address, **options)
        except ConnectionError as error:
            raise TouchstoneError("no Ray cluster", where=address, why=str(error)) from error
    return ray


def cluster_devices(ray: Any) -> list[Device]:
    """The processor of every node, and its cards."""
    found: list[Device] = []
    for node in ray.nodes():
        if not node["Alive"]:
            continue
        name, has = node["NodeID"], node["Resources"]
        memory = int(has.get("memory", 0)) or cpu().bytes
        found.append(Device("cpu", "cpu", int(memory * USABLE), name))
        if has.get("GPU"):
            ask = ray.remote(num_cpus=0, num_gpus=0, scheduling_strategy=_on(name))(gpus)
            found += ray.get(ask.remote(name))
    return found


def _on(node: str) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node, soft=False)


def _serve(folder: str) -> None:
    from harness.schedule.worker import serve

    serve(Path(folder))


@dataclass
class RayHandle:
    """A task of the cluster."""

    ray: Any
    task: Any
    why: str | None = None

    def gone(self) -> str | None:
        """By Ray's error when the task failed."""
        if self.why is None and self.ray.wait([self.task], timeout=0)[0]:
            try:
                self.ray.get(self.task)
                self.why = "its worker ended"
            except Exception as error:  # Ray's errors have no common base that says more
                first = (str(error).strip().splitlines() or [""])[0]
                self.why = f"its worker was lost: {type(error).__name__}: {first}"
        return self.why

    def interrupt(self) -> None:
        """Ray raises KeyboardInterrupt in the task."""
        with suppress(Exception):
            self.ray.cancel(self.task, force=False)

    def kill(self) -> None:
        """Ray ends the task's process."""
        with suppress(Exception):
            self.ray.cancel(self.task, force=True)


class RayLauncher:
    """Tasks that serve mailboxes below *boxes*, a folder that all nodes see."""

    queues = False

    def __init__(self, ray: Any, boxes: Path) -> None:
        self.ray, self.boxes = ray, boxes
        self._nodes = {node["NodeID"] for node in ray.nodes() if node["Alive"]}

    def launch(self, node: str, box: Path, env: Mapping[str, str], devices: int) -> RayHandle:
        """A task on *node*. Cards are chosen by the scheduler, not by Ray."""
        threads = env.get("OMP_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS") or str(os.cpu_count())
        own = {name: value for name, value in os.environ.items() if name.startswith(("TOUCHSTONE_", "HF_"))}
        variables = {**own, **env, "OMP_NUM_THREADS": threads, "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
        task = self.ray.remote(
            num_cpus=0,
            num_gpus=0,
            max_retries=0,
            scheduling_strategy=_on(node),
            runtime_env={"env_vars": {**variables, "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}},
        )(_serve)
        return RayHandle(self.ray, task.remote(str(box.resolve())))

    def lost_nodes(self) -> frozenset[str]:
        """Nodes that were alive at the start."""
        alive = {node["NodeID"] for node in self.ray.nodes() if node["Alive"]}
        return frozenset(self._nodes - alive)

    def close(self) -> None:
        """Leave the cluster."""
        self.ray.shutdown()
