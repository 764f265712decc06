"""Templates into pages. Everything is escaped; an unknown name in a template is an error."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from harness import format
from harness.catalog import shipped
from harness.spec import Json

FORMATS = (
    format.duration,
    format.latency,
    format.size,
    format.rate,
    format.signed,
    format.probability,
)


@dataclass(frozen=True)
class Renderer:
    """Pages from the templates. names: what every template may use.

    There is one environment a depth of folders, in which ``root`` leads to the site's top: so imported macros
    are made once and not for every page.
    """

    names: Mapping[str, Any]
    environments: dict[str, jinja2.Environment] = field(default_factory=dict)

    def page(self, template: str, path: str, context: Mapping[str, Any]) -> bytes:
        """The bytes of the page at *path*."""
        root = "../" * path.count("/")
        if root not in self.environments:
            self.environments[root] = self._environment(root)
        text = self.environments[root].get_template(template).render(context)
        return (text.rstrip() + "\n").encode()

    def _environment(self, root: str) -> jinja2.Environment:
        env = jinja2.Environment(
            loader=jinja2.FileSystemLoader(shipped("site") / "templates"),
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
        env.globals |= {**self.names, "root": root}
        return env


def soft(name: str) -> Markup:
    """A long name that may break after its brackets, commas and the like; escaped."""
    return Markup("<wbr>").join(re.split(r"(?<=[(,+/:=])", name)) if len(name) > 12 else escape(name)


def count(number: int) -> str:
    """``14,042``."""
    return f"{number:,}"


def told(name: str, value: Json) -> str:
    """A piece of provenance in words: sizes as sizes, what is inside after its name."""
    if isinstance(value, dict):
        return ", ".join(f"{key.removesuffix('_bytes')} {told(key, inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(told(name, inner) for inner in value)
    if name.endswith("_bytes") and isinstance(value, int | float):
        return format.size(value)
    return str(value)


@lru_cache(maxsize=1)
def code_digest() -> str:
    """A digest of what pages are made from besides results: this package's code and the site's files."""
    from harness.spec import digest

    package = Path(__file__).parents[1]
    shown = shipped("site").rglob("*")
    files = [*sorted(package.rglob("*.py")), *sorted(path for path in shown if path.is_file())]
    return digest([path.read_text(encoding="utf-8") for path in files])
