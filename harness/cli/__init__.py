"""The ``touchstone`` command. Subcommands are imported when they are called, so that ``--help`` is
instant.
"""

from __future__ import annotations

import importlib
import sys
import traceback

import click

from harness import __version__
from harness.errors import ExitCode, TouchstoneError

COMMANDS = {
    "run": "Run methods on tasks, or a whole suite; only what is not stored yet.",
    "status": "Show the last schedule: what runs, waits, is done, has failed.",
    "cancel": "Cancel runs of the schedule at work.",
    "resume": "Go on with the last schedule where it stopped.",
    "plan": "Show what `run` would do: stored, to do, and what is missing here.",
    "list": "List methods, tasks or suites.",
    "data": "List, fetch, pack, unpack or verify datasets.",
    "show": "Show one run: scores, costs, provenance.",
    "score": "Score a TREC run file made elsewhere, or rescore a stored run.",
    "latency": "Time single queries of a stored run's method: p50, p95, p99.",
    "check-batching": "Compare answers at batch 1 with those of a run's batches.",
    "check": "Check a candidate against a baseline: exit 1 when it is worse.",
    "cache": "List, explain, check or shrink what is kept between runs: vectors, indexes, answers.",
    "compare": "Compare two runs item by item, with a paired test.",
    "flips": "Show which multiple-choice questions flipped between two runs, with McNemar's test.",
    "history": "Show a measure over the runs of a method, and where it changed.",
    "import": "Import what others measured (TREC, MTEB, lm-eval, Anserini) or a BEIR folder.",
    "export": "Write results for others: TREC, MTEB, lm-eval, model card, table.",
    "submit": "Pack a stored run with its answers into one archive.",
    "verify": "Score a submission or a stored run again, run a sample, mark it verified.",
    "site": "Build or serve the leaderboard site.",
    "doctor": "Report what is installed here: extras, Java, devices, mirror, hub.",
}


class LazyGroup(click.Group):
    """Knows its commands' names and one-line helps without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of a first visit."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the one module asked for."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"harness.cli.{cmd_name.replace('-', '_')}_command")
        command = getattr(module, "command")  # noqa: B009
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From the table: no import."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """A typo gets the nearest name."""
        if args and args[0] not in COMMANDS:
            from harness.errors import nearest

            raise click.UsageError(f"no command '{args[0]}'; {nearest(args[0], COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="touchstone")
def group() -> None:
    """Benchmark retrieval and language-model methods, and publish the leaderboard."""


def main() -> None:
    """Entry point: one line for an error, the exit codes of ``ExitCode``."""
    try:
        code = group.main(standalone_mode=False)
    except TouchstoneError as error:
        click.echo(f"error: {error.line}", err=True)
        sys.exit(int(error.exit_code))
    except click.ClickException as error:
        error.show()
        sys.exit(int(ExitCode.USAGE))
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped; finished blocks are kept, run again to go on", err=True)
        sys.exit(130)
    except Exception:
        traceback.print_exc()
        sys.exit(int(ExitCode.RUN_FAILED))  # Python's own 1 would read as "worse"
    sys.exit(int(code) if isinstance(code, int) else 0)
