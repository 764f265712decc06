"""Templates into pages. Everything is escaped; an unknown name in a template is an error."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from harness import format
from harness.catalog import shipped
from harness.pages.cells import Cells, safe, soft

OPENS, CLOSES = "\x02", "\x03"  # around the name of a slot: no page may hold them
FORMATS = (
    format.duration,
    format.latency,
    format.size,
    format.rate,
    format.signed,
    format.probability,
)


@dataclass(frozen=True)
class Skeleton:
    """A page cut at its slots: text, the name of a slot, text, and so on."""

    pieces: tuple[str, ...]

    def filled(self, values: Mapping[str, str]) -> bytes:
        """The bytes of a page. What is not Markup is escaped."""
        found = list(self.pieces)
        for place in range(1, len(found), 2):
            value = values[found[place]]
            found[place] = value if isinstance(value, Markup) else safe(value)
        return "".join(found).encode()


@dataclass(frozen=True)
class Renderer:
    """Pages from the templates. cells: what large tables hold, ``show`` there; names: what every template may
    use.

    There is one environment a depth of folders, in which ``root`` leads to the site's top: so imported macros
    are made once and not for every page.
    """

    cells: Callable[[str], Cells]
    names: Mapping[str, Any]
    environments: dict[str, jinja2.Environment] = field(default_factory=dict)
    skeletons: dict[tuple[Any, ...], Skeleton] = field(default_factory=dict)

    def page(self, template: str, path: str, context: Mapping[str, Any]) -> bytes:
        """The bytes of the page at *path*."""
        root = "../" * path.count("/")
        if root not in self.environments:
            self.environments[root] = self._environment(root)
        text = self.environments[root].get_template(template).render(context)
        return (text.rstrip() + "\n").encode()

    def skeleton(self, template: str, path: str, flags: Mapping[str, bool], slots: Iterable[str]) -> Skeleton:
        """The pages of *template* at the depth of *path* whose conditions come out as *flags*, rendered once:
        what differs between them goes into *slots*.
        """
        key = template, path.count("/"), tuple(flags.items())
        if key not in self.skeletons:
            marks = {name: Markup(f"{OPENS}{name}{CLOSES}") for name in slots}
            text = self.page(template, path, {**flags, **marks}).decode()
            self.skeletons[key] = Skeleton(tuple(re.split(f"{OPENS}([a-z_]+){CLOSES}", text)))
        return self.skeletons[key]

    def _environment(self, root: str) -> jinja2.Environment:
        env = jinja2.Environment(
            loader=jinja2.FunctionLoader(lambda name: _source(name, root)),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        for function in FORMATS:
            env.filters[function.__name__] = function
        env.filters |= {"interval": format.interval_text, "soft": soft, "shell": shlex.quote, "count": count}
        env.tests["web"] = lambda text: str(text).startswith(("https://", "http://"))
        env.globals |= {**self.names, "root": root, "show": self.cells(root)}
        return env


def _source(name: str, root: str) -> str:
    """A template in which the way to the top is text: a page has tens of them."""
    text = (shipped("site") / "templates" / name).read_text(encoding="utf-8")
    return text.replace("{{ root }}", root)


def count(number: int) -> str:
    """``14,042``."""
    return f"{number:,}"


@lru_cache(maxsize=1)
def code_digest() -> str:
    """A digest of what pages are made from besides results: this package's code and the site's files."""
    from harness.spec import digest

    package = Path(__file__).parents[1]
    shown = shipped("site").rglob("*")
    files = [*sorted(package.rglob("*.py")), *sorted(path for path in shown if path.is_file())]
    return digest([path.read_text(encoding="utf-8") for path in files])
