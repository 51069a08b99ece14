"""What programs send to the admin API, read strictly: one reading, no fields that we do not know."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request

from callgate.approvals.model import Cover, Verdict
from callgate.errors import Refusal
from callgate.wire.json_strict import JsonLimits, JsonObject, JsonValue, loads

# A decision is some 200 bytes, its reason up to 500 characters more: 1,000 of them fit.
MAX_BODY_BYTES: Final = 1 << 20
_LIMITS: Final = JsonLimits(max_bytes=MAX_BODY_BYTES, max_depth=8, max_values=16_000)
# What the cap on waiting requests lets one page show.
MAX_DECISIONS: Final = 1_000
# Longer than any reason that counts; what is longer is not even looked at.
_MAX_TEXT: Final = 4_096
ID: Final = re.compile(r"[0-9a-f]{32}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
# Days in seconds, and calls, that no policy allows: beyond it a number is a mistake.
_MAX_NUMBER: Final = 10_000_000
_ANY: Final = frozenset({"binding", "verdict", "reason"})


@dataclass(frozen=True, slots=True)
class Said:
    """What a person says to one request: `id` and `binding` tell which, as they saw it."""

    id: str
    binding: str
    verdict: Verdict
    reason: str
    cover: Cover | None


class Malformed(Exception):  # noqa: N818  # says what it is
    """A body is not what the API takes; the message says why, and quotes nothing."""


async def json_body(request: Request) -> JsonObject:
    """The object that was posted.  Raises Malformed."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    # A form of another site can post any text, but not as this type (Fetch, "CORS-safelisted request-header").
    if kind != "application/json":
        raise Malformed("the content-type must be application/json")
    found = loads(await request.body(), _LIMITS)
    if isinstance(found, Refusal) or not isinstance(found, dict):
        raise Malformed("the body must be one JSON object of at most 1 MiB")
    return found


def one_decision(id_: str, body: JsonObject) -> Said:
    """The body of `POST /api/v1/approvals/{id}/decision`.  Raises Malformed."""
    _check_names(body, _ANY | {"cover"}, needed=_ANY - {"reason"})
    return _said(id_, body)


def many_decisions(body: JsonObject) -> tuple[Said, ...]:
    """The body of `POST /api/v1/decisions`: each request once.  Raises Malformed."""
    _check_names(body, frozenset({"decisions"}), needed=frozenset({"decisions"}))
    found = body["decisions"]
    if not isinstance(found, list) or not 1 <= len(found) <= MAX_DECISIONS:
        raise Malformed(f"decisions must be a list of 1 to {MAX_DECISIONS}")
    said = tuple(map(_one_of_many, found))
    if len({each.id for each in said}) < len(said):
        raise Malformed("decisions names a request twice")
    return said


def _one_of_many(found: JsonValue) -> Said:
    if not isinstance(found, dict):
        raise Malformed("a decision must be an object")
    _check_names(found, _ANY | {"id"}, needed=_ANY - {"reason"} | {"id"})
    id_ = found["id"]
    if not isinstance(id_, str) or not ID.fullmatch(id_):
        raise Malformed("id must be 32 hex digits")
    return _said(id_, found)


def _said(id_: str, found: Mapping[str, JsonValue]) -> Said:
    binding, verdict = found["binding"], found["verdict"]
    reason = found.get("reason", "")
    if not isinstance(binding, str) or not _DIGEST.fullmatch(binding):
        raise Malformed("binding must be 64 hex digits")
    if not isinstance(verdict, str) or verdict not in {str(each) for each in Verdict}:
        raise Malformed("verdict must be approve or deny")
    if not isinstance(reason, str) or len(reason) > _MAX_TEXT:
        raise Malformed(f"reason must be a text of at most {_MAX_TEXT} characters")
    return Said(id_, binding, Verdict(verdict), reason, _cover(found.get("cover")))


def _cover(found: JsonValue) -> Cover | None:
    if found is None:
        return None
    if not isinstance(found, dict):
        raise Malformed("cover must be null or an object")
    names = frozenset({"calls", "seconds"})
    _check_names(found, names, needed=names)
    return Cover(_number(found, "calls"), _number(found, "seconds"))


def _number(found: Mapping[str, JsonValue], name: str) -> int:
    value = found[name]
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MAX_NUMBER:
        raise Malformed(f"cover.{name} must be a whole number from 1")
    return value


def _check_names(found: Mapping[str, JsonValue], known: frozenset[str], *, needed: frozenset[str]) -> None:
    """Unknown means refuse: what a client thought it said must not be dropped silently."""
    if not found.keys() <= known:
        raise Malformed(f"only these are known here: {', '.join(sorted(known))}")
    if not needed <= found.keys():
        raise Malformed(f"these are needed: {', '.join(sorted(needed))}")
