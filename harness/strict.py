"""Strict reading of YAML and plain settings into frozen dataclasses.

Duplicate keys, unknown keys and mistyped values are errors that name the file, the line and the nearest
known name.
"""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml

from harness.errors import TouchstoneError, unknown
from harness.spec import Json

T = TypeVar("T")

EXPONENT = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")  # YAML 1.1 reads 1e-9 as text
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml reads ten times as fast
WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


@dataclass(frozen=True)
class Located:
    """A value with the place it was read at; containers hold Located values."""

    value: Any
    where: str

    def wrong(self, wanted: str) -> TouchstoneError:
        """The error for a value that is not what was wanted."""
        shown = type(self.value).__name__ if isinstance(self.value, list | dict) else repr(self.value)
        return TouchstoneError(f"expected {wanted}, got {shown}", where=self.where)


def read_yaml(path: Path, into: type[T]) -> T:
    """The one document of *path* as an instance of *into*."""
    return typing.cast(T, convert(_located_file(path), into))


def read_yaml_list(path: Path, into: type[T]) -> list[T]:
    """The entries of *path*, which holds a list."""
    tree = _located_file(path)
    if not isinstance(tree.value, list):
        raise tree.wrong("a list of entries")
    return [convert(entry, into) for entry in tree.value]


def from_plain(value: object, into: type[T], where: str) -> T:
    """A value read from elsewhere (JSON, command line) under the same rules.

    Sound values take a short way; whatever that does not take is converted, or refused, by ``convert``.
    """
    try:
        return typing.cast(T, _short_way(typing.cast(Any, into))(value))
    except _NotPlain:
        return typing.cast(T, convert(_locate_plain(value, where), into))


def _located_file(path: Path) -> Located:
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=LOADER)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise TouchstoneError("not valid YAML", where=f"{path}{line}", why=str(error.problem)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise TouchstoneError("cannot read the file", where=str(path), why=str(error)) from error
    if node is None:
        raise TouchstoneError("the file is empty", where=str(path))
    return _locate_node(node, path)


def _locate_node(node: yaml.Node, path: Path) -> Located:
    where = f"{path}:{node.start_mark.line + 1}"
    if isinstance(node, yaml.SequenceNode):
        return Located([_locate_node(child, path) for child in node.value], where)
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Located] = {}
        for key_node, child in node.value:
            key = str(key_node.value)
            key_where = f"{path}:{key_node.start_mark.line + 1}"
            if key in found:
                first = found[key].where.rpartition(":")[2]
                raise TouchstoneError(
                    f"the key '{key}' is given twice", where=key_where, why=f"first near line {first}"
                )
            located = _locate_node(child, path)
            found[key] = Located(
                located.value, key_where if isinstance(child, yaml.ScalarNode) else located.where
            )
        return Located(found, where)
    loader = yaml.SafeLoader("")
    return Located(loader.construct_object(node), where)


def _locate_plain(value: object, where: str) -> Located:
    if isinstance(value, Mapping):
        return Located({str(k): _locate_plain(v, where) for k, v in value.items()}, where)
    if isinstance(value, list | tuple):
        return Located([_locate_plain(v, where) for v in value], where)
    return Located(value, where)


def convert(tree: Located, into: Any) -> Any:
    """*tree* as a value of the type *into*: scalars, Optional, tuples, mappings, enums, Literals,
    dataclasses.
    """
    origin = get_origin(into)
    if origin is typing.Annotated:
        return convert(tree, get_args(into)[0])
    if into == Json:
        return plain(tree)
    if into in WORDS:
        return _scalar(tree, into)
    if isinstance(into, type) and issubclass(into, Enum):
        return _one_of(tree, {member.value: member for member in into})
    if origin is typing.Literal:
        return _one_of(tree, {choice: choice for choice in get_args(into)})
    if origin in (types.UnionType, typing.Union):
        return _union(tree, get_args(into))
    if origin is tuple:
        if not isinstance(tree.value, list):
            raise tree.wrong("a list")
        return tuple(convert(child, get_args(into)[0]) for child in tree.value)
    if origin in (dict, Mapping):
        if not isinstance(tree.value, dict):
            raise tree.wrong("a mapping")
        return {key: convert(child, get_args(into)[1]) for key, child in tree.value.items()}
    if dataclasses.is_dataclass(into):
        return _dataclass(tree, typing.cast(type, into))
    return plain(tree)


def plain(tree: Located) -> Any:
    """The value without its places."""
    if isinstance(tree.value, list):
        return [plain(child) for child in tree.value]
    if isinstance(tree.value, dict):
        return {key: plain(child) for key, child in tree.value.items()}
    return tree.value


def _scalar(tree: Located, into: type) -> Any:
    value = tree.value
    if into is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if into is float and isinstance(value, str) and EXPONENT.fullmatch(value):
        return float(value)
    if type(value) is not into:
        raise tree.wrong(WORDS[into])
    return value


def _one_of(tree: Located, choices: Mapping[Any, Any]) -> Any:
    if isinstance(tree.value, list | dict) or tree.value not in choices:
        raise unknown("value", str(plain(tree)), map(str, choices), tree.where)
    return choices[tree.value]


def _union(tree: Located, options: Iterable[Any]) -> Any:
    options = list(options)
    if type(None) in options and tree.value is None:
        return None
    rest = [option for option in options if option is not type(None)]
    if isinstance(tree.value, dict):
        rest = [option for option in rest if dataclasses.is_dataclass(option)] or rest
    if len(rest) == 1:
        return convert(tree, rest[0])
    for option in rest:
        try:
            return convert(tree, option)
        except TouchstoneError:
            continue
    raise tree.wrong(" or ".join(WORDS.get(option, str(option)) for option in rest))


def _dataclass(tree: Located, into: type[T]) -> T:
    if not isinstance(tree.value, dict):
        raise tree.wrong(f"a mapping of {into.__name__.lower()} fields")
    fields = {field.name: field for field in dataclasses.fields(typing.cast(Any, into)) if field.init}
    hints = typing.get_type_hints(into, include_extras=True)
    values: dict[str, Any] = {}
    for key, child in tree.value.items():
        if key not in fields:
            raise unknown("key", key, fields, child.where)
        values[key] = convert(child, hints[key])
    for name, field in fields.items():
        if (
            name not in values
            and field.default is dataclasses.MISSING
            and field.default_factory is dataclasses.MISSING
        ):
            raise TouchstoneError(f"the key '{name}' is missing", where=tree.where)
    return into(**values)


class _NotPlain(Exception):
    """The short way does not take a value."""


@lru_cache(maxsize=256)
def _short_way(into: Any) -> Callable[[Any], Any]:
    """A function that converts sound values as ``convert`` does, made once a type: 15 times as fast."""
    origin, inner = get_origin(into), get_args(into)
    if origin is typing.Annotated:
        return _short_way(inner[0])
    if into in WORDS:
        return lambda value: _exactly(value, into)
    if origin is typing.Literal or (isinstance(into, type) and issubclass(into, Enum)):
        choices = {one: one for one in inner} or {member.value: member for member in into}
        return lambda value: _known(value, choices)
    if origin in (types.UnionType, typing.Union) and len(inner) == 2 and type(None) in inner:
        rest = _short_way(next(option for option in inner if option is not type(None)))
        return lambda value: None if value is None else rest(value)
    if origin is tuple:
        item = _short_way(inner[0])
        return lambda value: tuple([item(child) for child in _typed(value, list)])
    if origin in (dict, Mapping):
        one = _short_way(inner[1])
        return lambda value: {key: one(child) for key, child in _typed(value, dict).items()}
    if set(WORDS) <= set(inner):  # Json, with its own name spelt out as often as typing likes
        return _json
    return _short_dataclass(into) if dataclasses.is_dataclass(into) else _refuse


def _short_dataclass(into: Any) -> Callable[[Any], Any]:
    hints = typing.get_type_hints(into, include_extras=True)
    ways = {field.name: _short_way(hints[field.name]) for field in dataclasses.fields(into) if field.init}

    def way(value: Any) -> Any:
        try:
            return into(**{key: ways[key](child) for key, child in _typed(value, dict).items()})
        except (KeyError, TypeError) as error:  # an unknown or a missing key
            raise _NotPlain from error

    return way


def _exactly(value: Any, into: type) -> Any:
    if type(value) is into:
        return value
    if into is float and type(value) is int:
        return float(value)
    raise _NotPlain


def _typed(value: Any, into: type) -> Any:
    if type(value) is not into:
        raise _NotPlain
    return value


def _known(value: Any, choices: Mapping[Any, Any]) -> Any:
    if isinstance(value, list | dict) or value not in choices:
        raise _NotPlain
    return choices[value]


def _json(value: Any) -> Any:
    """As ``plain`` gives it: containers are copied, keys are text."""
    if isinstance(value, dict):
        return {str(key): _json(child) for key, child in value.items()}
    return [_json(child) for child in value] if isinstance(value, list | tuple) else value


def _refuse(_value: Any) -> Any:
    raise _NotPlain
