"""Finding adapters: the adapters/ folder, the entry points ``touchstone.adapters``, or
``package.module:Class``.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from types import ModuleType

import yaml

from harness.adapter import Adapter, method_spec
from harness.errors import TouchstoneError, unknown
from harness.spec import Json, MethodSpec
from harness.strict import from_plain

GROUP = "touchstone.adapters"


@dataclass(frozen=True)
class Found:
    """Adapters by name, and what could not be imported, by module."""

    adapters: Mapping[str, type[Adapter]]
    broken: Mapping[str, str]


@lru_cache(maxsize=1)
def find_adapters() -> Found:
    """Scan once. A file that does not import is reported and stops nobody else."""
    import adapters as package

    found: dict[str, type[Adapter]] = {}
    broken: dict[str, str] = {}
    for info in pkgutil.walk_packages(package.__path__, "adapters.", onerror=lambda _name: None):
        try:
            classes = list(_classes(importlib.import_module(info.name)))
        except Exception as error:  # a contributor's file may fail in any way
            broken[info.name] = f"{type(error).__name__}: {error}"
            continue
        for adapter in classes:
            _add(found, adapter)
    for point in metadata.entry_points(group=GROUP):
        try:
            _add(found, point.load())
        except Exception as error:
            broken[point.value] = f"{type(error).__name__}: {error}"
    return Found(found, broken)


def adapter_named(name: str) -> type[Adapter]:
    """The adapter class of a name, or of ``package.module:Class``."""
    if ":" in name:
        return _imported(name)
    found = find_adapters()
    if name in found.adapters:
        return found.adapters[name]
    error = unknown("method", name, found.adapters)
    if found.broken:
        module, why = next(iter(found.broken.items()))
        error = TouchstoneError(error.what, why=f"{module} does not import: {why}", fix=error.fix)
    raise error


def make_adapter(spec: MethodSpec) -> Adapter:
    """The adapter of a method with its settings, checked."""
    adapter = adapter_named(spec.adapter)
    return adapter(from_plain(spec.settings, adapter.Settings, spec.name))


def parse_method(text: str) -> MethodSpec:
    """``bm25``, ``bm25(k1=1.2,b=0.75)``, ``fusion(methods=bm25+dense)`` or ``package.module:Class(...)``
    as a spec.
    """
    name, bracket, inside = text.strip().partition("(")
    if bracket and not inside.endswith(")"):
        raise TouchstoneError("the closing bracket is missing", where=f"method '{text}'")
    adapter = adapter_named(name.strip())
    hints = typing.get_type_hints(adapter.Settings)
    values: dict[str, Json] = {}
    for part in _split(inside[:-1], ",") if bracket else []:
        key, equals, value = part.partition("=")
        key = key.strip()
        if not equals:
            raise TouchstoneError(f"'{part}' is not key=value", where=f"method '{text}'")
        if key in values:
            raise TouchstoneError(f"the setting '{key}' is given twice", where=f"method '{text}'")
        values[key] = _typed(value.strip(), hints.get(key))
    return spec_of(name.strip(), values, f"method '{text}'")


def spec_of(name: str, settings: Mapping[str, Json], where: str, label: str = "") -> MethodSpec:
    """The spec of an adapter with settings; unknown and mistyped settings are errors."""
    adapter = adapter_named(name)
    spec = replace(method_spec(adapter, from_plain(settings, adapter.Settings, where)), adapter=name)
    return replace(spec, name=label or spec.expression)


def _classes(module: ModuleType) -> Iterator[type[Adapter]]:
    for value in vars(module).values():
        own = inspect.isclass(value) and value.__module__ == module.__name__
        if own and issubclass(value, Adapter) and not inspect.isabstract(value):
            yield value


def _add(found: dict[str, type[Adapter]], adapter: type[Adapter]) -> None:
    other = found.setdefault(adapter.name, adapter)
    if other is not adapter:
        raise TouchstoneError(
            f"two adapters are named '{adapter.name}'", why=f"{other.__module__} and {adapter.__module__}"
        )


def _imported(path: str) -> type[Adapter]:
    module_name, _, class_name = path.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)  # a user's own module lies beside the shell, not in site-packages
    try:
        value = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, SyntaxError) as error:
        raise TouchstoneError(f"cannot import the method '{path}'", why=str(error)) from error
    if not (inspect.isclass(value) and issubclass(value, Adapter)):
        raise TouchstoneError(f"'{path}' is not an Adapter", fix="subclass harness.adapter.Adapter")
    return value


def _split(text: str, mark: str) -> list[str]:
    """Split at *mark* outside brackets and quotes."""
    parts, depth, quoted = [""], 0, False
    for letter in text:
        quoted ^= letter == '"'
        depth += 0 if quoted else (letter == "(") - (letter == ")")
        if letter == mark and depth == 0 and not quoted:
            parts.append("")
        else:
            parts[-1] += letter
    return [part for part in parts if part.strip()]


def _typed(text: str, hint: object) -> Json:
    if typing.get_origin(hint) is tuple:
        inner = typing.get_args(hint)[0]
        return [_typed(part.strip(), inner) for part in _split(text, "+")]
    if hint is str or hint is None:
        return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text
    try:
        value: Json = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return value
