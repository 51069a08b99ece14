"""Whether records are of the published format: `assert faults_of(records) == []`."""

from collections.abc import Iterable, Iterator
from functools import cache

from jsonschema import Draft202012Validator

from callgate.audit.format import KINDS, record_schema
from callgate.wire.json_strict import JsonObject


def faults_of(records: Iterable[JsonObject]) -> list[str]:
    """What is wrong with them, one line each, with the record's number and kind."""
    return [fault for record in records for fault in _faults(record)]


def _faults(record: JsonObject) -> Iterator[str]:
    kind = str(record.get("kind"))
    named = f"record {record.get('seq')}, {kind}"
    if kind not in set(KINDS):
        yield f"{named}: no such kind"
        return
    for error in _validator(kind).iter_errors(record):
        yield f"{named}, {error.json_path}: {error.message}"


@cache
def _validator(kind: str) -> Draft202012Validator:
    """Of one kind alone: that a record is not any of fourteen says little."""
    schema = record_schema()
    return Draft202012Validator({"$defs": schema["$defs"], "$ref": f"#/$defs/{kind}"})
