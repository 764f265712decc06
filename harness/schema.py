"""JSON Schema (2020-12) of frozen specs, from their type hints."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from enum import Enum
from typing import Any, get_args, get_origin

WORDS = {str: "string", int: "integer", float: "number", bool: "boolean", types.NoneType: "null"}


def schema_of(into: Any) -> dict[str, Any]:
    """The schema of the JSON form of a type: a dataclass, or what its fields may be."""
    origin, inner = get_origin(into), get_args(into)
    if into in WORDS:
        return {"type": WORDS[into]}
    if origin is typing.Literal:
        return {"enum": list(inner)}
    if isinstance(into, type) and issubclass(into, Enum):
        return {"enum": [member.value for member in into]}
    if origin in (types.UnionType, typing.Union):
        return {} if set(WORDS) <= set(inner) else {"anyOf": [schema_of(one) for one in inner]}
    if origin is tuple:
        return {"type": "array", "items": schema_of(inner[0])}
    if origin in (dict, Mapping):
        return {"type": "object", "additionalProperties": schema_of(inner[1])}
    assert dataclasses.is_dataclass(into), into
    hints = typing.get_type_hints(into)
    fields = dataclasses.fields(into)
    missing = dataclasses.MISSING
    return {
        "type": "object",
        "properties": {field.name: schema_of(hints[field.name]) for field in fields},
        "required": [f.name for f in fields if f.default is missing and f.default_factory is missing],
        "additionalProperties": False,
    }
