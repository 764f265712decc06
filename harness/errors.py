"""The one error class of Touchstone, and the helpers that make its messages useful."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every ``touchstone`` command."""

    FINE = 0
    WORSE = 1
    USAGE = 2
    NOTHING_MEASURED = 3
    RUN_FAILED = 4
    CANNOT_TELL = 5


class TouchstoneError(Exception):
    """A problem that a user can act on.

    what: the problem, where: file:line, task, method or item, why: the cause when it is known,
    fix: what to do about it. ``str()`` is one line.
    """

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        why: str = "",
        fix: str = "",
        exit_code: ExitCode = ExitCode.USAGE,
    ) -> None:
        self.what, self.where, self.why, self.fix = what, where, why, fix
        self.exit_code = exit_code
        super().__init__(self.line)

    @property
    def line(self) -> str:
        """The whole message on one line: ``where: what (why); fix``."""
        text = f"{self.where}: {self.what}" if self.where else self.what
        if self.why:
            text += f" ({self.why})"
        if self.fix:
            text += f"; {self.fix}"
        return " ".join(text.split())


class MissingExtra(TouchstoneError):
    """An optional dependency is needed and not installed."""

    def __init__(self, who: str, package: str, extra: str) -> None:
        self.extra = extra
        super().__init__(
            f"{who} needs the package {package}, which is not installed",
            fix=f"pip install 'touchstone-bench[{extra}]'",
        )


def nearest(name: str, known: Iterable[str]) -> str:
    """``did you mean 'x'?`` for the closest of *known*, or the list of what there is when none is close."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return f"known: {shown}" if names else "none are known"


def unknown(kind: str, name: str, known: Iterable[str], where: str = "") -> TouchstoneError:
    """The error for a name that is not in *known*."""
    return TouchstoneError(f"unknown {kind} '{name}'", where=where, fix=nearest(name, known))
