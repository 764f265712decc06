"""What a run would ask the cache for, found by asking its method, and making nothing."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from harness.assets import Asset, Assets, Make, asset_name
from harness.execute import Planned, Session
from harness.spec import Json


@dataclass(frozen=True)
class Want:
    """An asset that a run asks for. here: whether it is ready."""

    kind: str
    key: Mapping[str, Json]
    about: Mapping[str, Json]
    here: bool

    @property
    def name(self) -> str:
        """The first digits of the key's digest."""
        return asset_name(self.kind, self.key).rpartition("/")[2][:12]


class _MissingError(Exception):
    """Stops the method at the first asset that would have to be made."""


@dataclass(frozen=True)
class _Asked(Assets):
    """Gives what is ready, and notes what is asked for."""

    wants: list[Want] = field(default_factory=list)

    def get_or_make(
        self, kind: str, key: Mapping[str, Json], make: Make, about: Mapping[str, Json] | None = None
    ) -> Asset:
        """A ready asset; what is not ready stops the method."""
        want = Want(kind, key, about or {}, self.has(asset_name(kind, key)))
        if want not in self.wants:
            self.wants.append(want)
        if not want.here:
            raise _MissingError
        return super().get_or_make(kind, key, make, about)


def wanted_assets(session: Session, planned: Planned) -> list[Want]:
    """The answers of the run, then what its method asks for until the first asset that is not ready: what
    comes after that shows only once it is made. A method with everything ready answers one item.
    """
    asked = _Asked(session.assets.root, session.assets.tell)
    looking = replace(session, assets=asked)
    with suppress(_MissingError):
        looking.answers(planned, lambda *_a: None)
    if not asked.wants[0].here:
        with suppress(_MissingError):
            task = planned.task.select(planned.task.items[:1])
            next(iter(planned.adapter.run(task, looking.context(planned, lambda *_a: None))), None)
    return asked.wants
