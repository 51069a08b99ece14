"""The corpora of tests/corpus/mcp: each vector is one of the base requests with something changed in it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from callgate.wire.http1 import Headers, RawRequest

CORPUS: Final = Path(__file__).parent.parent / "corpus"


@dataclass(frozen=True)
class Vector:
    name: str
    raw: RawRequest
    reason: str

    def __str__(self) -> str:
        return self.name


def read_vectors(file_name: str) -> list[Vector]:
    """`reason` is "" in must_accept.json."""
    return [_vector(entry) for entry in json.loads((CORPUS / "mcp" / file_name).read_text())]


def base_request(name: str, **changes: object) -> RawRequest:
    """A base request; `changes` as in the corpora: target, method, set, append, body, replace."""
    return _vector({"name": name, "base": name, **changes}).raw


_BASES: Final[dict[str, Any]] = json.loads((CORPUS / "mcp" / "bases.json").read_text())


def _vector(entry: dict[str, Any]) -> Vector:
    base = _BASES[entry["base"]]
    changed = entry.get("set", {})
    kept = [(name, value) for name, value in base["headers"] if name not in changed]
    added = [(name, value) for name, value in changed.items() if value is not None]
    appended = [(name, value) for name, value in entry.get("append", [])]
    old, new = entry.get("replace", ["", ""])
    body = entry.get("body", base["body"].replace(old, new, 1) if old else base["body"])
    raw = RawRequest(
        entry.get("method", "POST"),
        entry.get("target", "/ledger/mcp"),
        Headers((*kept, *added, *appended)),
        body.encode(),
    )
    return Vector(entry["name"], raw, entry.get("reason", ""))
