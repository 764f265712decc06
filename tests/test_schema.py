"""The schemas that machines read hold for what is written."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from harness.record import SCHEMA, Record, migrated, to_text
from harness.schema import schema_of
from tests.boards import record
from tests.test_leaderboard import LOW

STORED = sorted((Path(__file__).parents[1] / "results").glob("**/record.json"))[:6]


@pytest.mark.parametrize("path", STORED, ids=lambda path: str(path.parent.name))
def test_stored_records_fit(path: Path) -> None:
    jsonschema.validate(migrated(json.loads(path.read_text()), "here"), schema_of(Record))


@pytest.mark.parametrize("made", [record("bm25", LOW), record("bm25", None)], ids=["done", "failed"])
def test_what_is_not_a_record_does_not_fit(made: Record) -> None:
    body = json.loads(to_text(made))
    assert body.pop("schema") == SCHEMA
    jsonschema.validate(body, schema_of(Record))
    for name, value in {"status": "running", "extra": 1, "counts": {"a": "b"}}.items():
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**body, name: value}, schema_of(Record))
