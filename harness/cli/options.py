"""Options that several commands share, and the session they ask for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from harness.execute import Planned, Session
    from harness.plan import Request
    from harness.record import Record
    from harness.schedule.start import ScheduleOptions

# read by this package, the hub's library, transformers and datasets
OFFLINE = ("TOUCHSTONE_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
F = TypeVar("F", bound=Callable[..., Any])


def results_option(function: F) -> F:
    """``--results``: the results folder."""
    return click.option(
        "--results",
        type=click.Path(path_type=Path),
        envvar="TOUCHSTONE_RESULTS",
        default=Path("results"),
        show_default=True,
        help="Folder of stored results.",
    )(function)


def _go_offline(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        for name in OFFLINE:
            os.environ[name] = "1"


offline_option = click.option(
    "--offline",
    is_flag=True,
    expose_value=False,
    callback=_go_offline,
    help="Open no connection; what is missing is listed before anything starts.",
)


def request_options(function: F) -> F:
    """``--suite``, ``--task``, ``--method``, ``--seed``, ``--limit``, ``--offline``."""
    options = [
        offline_option,
        click.option("--suite", help="A suite by name, or a YAML file."),
        click.option("--task", "tasks", multiple=True, help="A task by name; repeat for more."),
        click.option(
            "--method",
            "methods",
            multiple=True,
            help="bm25, 'bm25(k1=1.2,b=0.75)', package.module:Class; repeat for more.",
        ),
        click.option("--seed", type=int, default=0, show_default=True),
        click.option(
            "--limit", type=click.IntRange(min=0), default=0, help="Only the first N items of each task."
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def device_option(function: F) -> F:
    """``--device``."""
    return click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1.")(
        function
    )


def seed_option(function: F) -> F:
    """``--seed``."""
    return click.option("--seed", type=int, default=0, show_default=True)(function)


def stored_run(session: Session, method: str, task: str, seed: int) -> tuple[Record, Planned]:
    """The finished record of a method on a task, and the run as it would be made now; an error when today's
    code, models or data would make another run.
    """
    from harness.errors import TouchstoneError
    from harness.registry import parse_method
    from harness.spec import RunSpec

    planned = session.plan(RunSpec(parse_method(method), session.catalog.task(task), seed))
    record = session.store.done(planned.id, planned.run.task.name, planned.run.method.name)
    if record is None:
        raise TouchstoneError("the run is not stored", where=str(session.store.root), fix=planned.run.command)
    return record, planned


def session_for(results: Path, device: str = "auto") -> Session:
    """A session over a results folder."""
    from harness.assets import Assets, cache_root
    from harness.catalog import Catalog
    from harness.execute import Session
    from harness.store import Store

    return Session(Catalog(), Store(results), Assets(cache_root()), pick_device(device))


def pick_device(device: str) -> str:
    """``auto`` is CUDA when a GPU is there; looked for without torch, so that methods without it start at
    once.
    """
    if device != "auto":
        return device
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    return "cuda" if Path("/dev/nvidia0").exists() and not hidden else "cpu"


def request_from(options: dict[str, Any], session: Session) -> Request:
    """The tasks and methods that the options name; a suite gives both, and --task or --method narrow or
    extend it.
    """
    from harness.errors import TouchstoneError
    from harness.plan import Request
    from harness.registry import parse_method

    suite = session.catalog.suite(options["suite"]) if options["suite"] else None
    tasks = [session.catalog.task(name) for name in options["tasks"]] or list(suite.tasks if suite else ())
    named = {method.name: method for method in (suite.methods if suite else ())}
    methods = [named.get(text) or parse_method(text) for text in options["methods"]] or list(named.values())
    if not tasks or not methods:
        raise TouchstoneError(
            "nothing to run"
            if not options["suite"]
            else "the suite names no " + ("task" if not tasks else "method"),
            fix="give --suite, or --task and --method; `touchstone list suites` shows what there is",
        )
    return Request(tasks, methods, options["seed"], options["limit"])


def schedule_options(function: F) -> F:
    """``--executor``, ``--devices`` and what is done about trouble."""
    options = [
        click.option(
            "--executor",
            type=click.Choice(["process", "inline", "ray", "slurm"]),
            envvar="TOUCHSTONE_EXECUTOR",
            default="process",
            show_default=True,
            help="Worker processes, this process, a Ray cluster ($RAY_ADDRESS), or Slurm jobs.",
        ),
        click.option("--devices", default="", help="cpu, all, card numbers such as 0,1, or fake:4x80GiB."),
        click.option("--timeout", type=click.FloatRange(min=0), default=0.0, help="Seconds a run may take."),
        click.option(
            "--retries",
            type=click.IntRange(min=0),
            default=2,
            show_default=True,
            help="After a crash or a hang.",
        ),
        click.option(
            "--max-failures", type=click.IntRange(min=0), default=0, help="Start nothing more after so many."
        ),
        click.option(
            "--priority",
            "priorities",
            multiple=True,
            metavar="NAME=N",
            help="Of a method or a task; higher ones start first, 0 is what all others have.",
        ),
        click.option("--alone", is_flag=True, help="Give every run its device to itself."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def _priority(text: str) -> tuple[str, int]:
    name, _, number = text.rpartition("=")
    if not name or not number.lstrip("-").isdigit():
        raise click.UsageError(f"--priority {text}: write NAME=N, such as bm25=1")
    return name, int(number)


def schedule_from(options: dict[str, Any], kept: dict[str, Any], fresh: bool) -> ScheduleOptions:
    """What ``schedule_options`` say. All options and *kept* are what ``touchstone resume`` repeats."""
    from harness.schedule.forecast import JobOptions
    from harness.schedule.start import ScheduleOptions
    from harness.schedule.step import Policy

    policy = Policy(
        retries=options["retries"], timeout=options["timeout"], max_failures=options["max_failures"]
    )
    return ScheduleOptions(
        options["executor"],
        options["devices"],
        policy,
        JobOptions(dict(map(_priority, options["priorities"])), options["alone"]),
        fresh,
        {**options, **kept},
    )
