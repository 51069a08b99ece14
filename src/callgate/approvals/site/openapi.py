"""The admin API as an OpenAPI 3.1 document (spec.openapis.org/oas/v3.1.0), its schemas in JSON Schema 2020-12.  Pure.

Every path, field and status of the API is in it: the tests hold every answer against it.
"""

import json
from typing import Final

from callgate.approvals.model import MAX_REASON_CHARACTERS, Means, State, Verdict, VoteRefusal
from callgate.approvals.site.bodies import MAX_DECISIONS
from callgate.approvals.site.said import OTHERS, REFUSALS
from callgate.wire.json_strict import JsonObject, JsonValue

VERSION: Final = "1"
_TEXT: Final[JsonObject] = {"type": "string"}
_NUMBER: Final[JsonObject] = {"type": "number"}
_SECONDS: Final[JsonObject] = {"type": "number", "description": "Unix seconds."}
_COUNT: Final[JsonObject] = {"type": "integer", "minimum": 0}
_FLAG: Final[JsonObject] = {"type": "boolean"}
_ID: Final[JsonObject] = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
_DIGEST: Final[JsonObject] = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
# Whatever is asked: a user who may not come by the socket, a name that is not the gate's, a fault of the gate.
_ALWAYS: Final = (403, 421, 500)
_OF_SIGNED_IN: Final = (401, 503)


def document() -> JsonObject:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "callgate admin API",
            "version": VERSION,
            "description": (
                "Requests for approval: what waits, and what people say to it. Served by the admin listener to signed-in "
                "browsers, and at the admin socket to the users of this machine that the configuration names."
            ),
        },
        "servers": [{"url": "/"}],
        "security": [{"session": []}, {"socket": []}],
        "paths": _paths(),
        "components": {"schemas": _schemas(), "securitySchemes": _schemes()},
    }


def document_text() -> str:
    """The same for people to read."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def _paths() -> JsonObject:
    return {
        "/api/v1/me": {"get": _operation("me", "Who you are.", "Me")},
        "/api/v1/approvals": {
            "get": _operation("list", "Requests that you may see; the open ones oldest first.", "Approvals", 400)
            | {"parameters": [_parameter("query", "state", _enum("open", "ended"))]}
        },
        "/api/v1/approvals/{id}": {
            "get": _operation("open", "One request, whole. That you looked at it is on record.", "Approval", 404)
            | {"parameters": [_parameter("path", "id", _ID)]}
        },
        "/api/v1/approvals/{id}/decision": {
            "post": _operation("decide", "Approve or deny exactly what you read.", "Approval", 400, 404, 409, 422)
            | {"parameters": [_parameter("path", "id", _ID), _csrf()], "requestBody": _body("Decision")}
        },
        "/api/v1/decisions": {
            "post": _operation("decide-many", "Answer many requests at once.", "Results", 400)
            | {"parameters": [_csrf()], "requestBody": _body("Decisions")}
        },
        "/api/v1/events": {"get": _events()},
        "/api/v1/links": {
            "post": _operation(
                "link", "A one-time link that opens the page signed in. By the admin socket alone.", "Link", 403
            )
        },
        "/api/v1/openapi.json": {
            "get": _operation("document", "This document.", "Document") | {"security": []},
        },
    }


def _operation(name: str, summary: str, schema: str, *statuses: int) -> JsonObject:
    """One that answers 200 with `schema`, and may refuse with each of `statuses`."""
    answers: JsonObject = {"200": {"description": "Done.", "content": _json(schema)}}
    asked_of_store = () if schema == "Document" else _OF_SIGNED_IN
    return {"operationId": name, "summary": summary, "responses": answers | _refusals(*asked_of_store, *statuses)}


def _events() -> JsonObject:
    told = (
        "Server-sent events: `changed`, with a number as its data that is another one after each change, at first and after "
        "each change; `signed-out` as the last. A comment every 15 s."
    )
    stream: JsonObject = {"description": told, "content": {"text/event-stream": {"schema": _TEXT}}}
    answers: JsonObject = {"200": stream}
    return {
        "operationId": "events",
        "summary": "When to ask again.",
        "responses": answers | _refusals(*_OF_SIGNED_IN, 429),
    }


def _refusals(*statuses: int) -> JsonObject:
    return {str(status): _refusal(status) for status in sorted({*_ALWAYS, *statuses})}


def _refusal(status: int) -> JsonObject:
    """All codes that come with that status."""
    all_said = [*REFUSALS.items(), *OTHERS.items()]
    codes = [str(code) for code, said in all_said if said.status == status]
    return {"description": f"One of: {', '.join(codes)}.", "content": _json("Refusal")}


def _json(schema: str) -> JsonObject:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def _body(schema: str) -> JsonObject:
    return {"required": True, "content": _json(schema)}


def _parameter(where: str, name: str, schema: JsonObject) -> JsonObject:
    return {"in": where, "name": name, "required": where == "path", "schema": schema}


def _csrf() -> JsonObject:
    told = "`csrf` of `/api/v1/me`: needed of browsers, together with an Origin of this site."
    return _parameter("header", "x-csrf-token", _TEXT) | {"description": told}


def _schemes() -> JsonObject:
    return {
        "session": {"type": "apiKey", "in": "cookie", "name": "__Host-callgate"},
        # OpenAPI has no word for it; the nearest is a proof that the transport gives.
        "socket": {"type": "mutualTLS", "description": "The admin socket: the kernel tells which user is there."},
    }


def _schemas() -> JsonObject:
    summary, rest = _summary(), _rest()
    return {
        "Me": _object(
            name=_TEXT,
            groups=_list(_TEXT),
            means=_enum(*Means),
            signed_in=_SECONDS,
            csrf=_TEXT,
            session_ends=_or_null(_SECONDS),
        ),
        "Summary": _object(**summary),
        "Approvals": _object(approvals=_list(_ref("Summary")), version=_COUNT),
        "Approval": _object(**summary, **rest),
        "Vote": _object(
            name=_TEXT,
            means=_enum(*Means),
            verdict=_enum(*Verdict),
            reason=_TEXT,
            at=_SECONDS,
            cover=_or_null(_ref("Cover")),
        ),
        "Cover": _object(calls=_COUNT, seconds=_COUNT),
        "Decision": _decision(cover=_or_null(_ref("Cover"))),
        "Decisions": _object(decisions=_list(_decision(id=_ID)) | {"minItems": 1, "maxItems": MAX_DECISIONS}),
        "Results": _object(results=_list({"oneOf": [_ref("Decided"), _ref("NotDecided")]})),
        "Decided": _object(id=_ID, state=_enum(*State)),
        "NotDecided": _object(id=_ID, error=_enum(*VoteRefusal), message=_TEXT),
        "Link": _object(url=_TEXT, expires_in_s=_NUMBER),
        "Refusal": _object(error=_enum(*REFUSALS, *OTHERS), message=_TEXT),
        "Document": {"type": "object"},
    }


def _summary() -> dict[str, JsonObject]:
    return {
        "id": _ID,
        "state": _enum(*State),
        "binding": _DIGEST | {"description": "What is asked for, all of it: say it back with your decision."},
        "caller": _TEXT | {"description": "The SPIFFE ID of the workload that asks."},
        "trust_domain": _TEXT,
        "server": _TEXT,
        "tool": _TEXT,
        "user": _TEXT,
        "purpose": _TEXT,
        "why": _list(_TEXT),
        "asked_at": _SECONDS,
        "expires_at": _SECONDS,
        "left_s": _NUMBER,
        "missing": _COUNT | {"description": "How many more people have to agree, at least."},
        "asks": _COUNT | {"description": "How often the same was asked for."},
        "you": _object(may_approve=_FLAG, may_deny=_FLAG, why=_or_null(_enum(*VoteRefusal))),
    }


def _rest() -> dict[str, JsonObject]:
    return {
        "caller_svid": _object(**{"from": _SECONDS, "until": _SECONDS}),
        "arguments": {"type": "object", "description": "As they go to the tool server."},
        "definition": _or_null(
            _object(description=_or_null(_TEXT), title=_or_null(_TEXT), annotations=_or_null({"type": "object"}))
        ),
        "found": _list(_TEXT) | {"description": "What screening found, one sentence each."},
        "before": _list(_object(at=_SECONDS, server=_TEXT, tool=_TEXT, decision=_TEXT, reason=_TEXT)),
        "approvers": _list(
            _object(rule=_TEXT, groups=_list(_TEXT), people=_list(_TEXT), needed=_COUNT, agreed=_list(_TEXT))
        ),
        "four_eyes": _FLAG,
        "sign_in_s": _or_null(_COUNT) | {"description": "How old a sign-in may be."},
        "reason_required": _FLAG,
        "repeat": _or_null(_object(same=_list(_TEXT | {"format": "json-pointer"}), seconds=_COUNT, calls=_COUNT))
        | {"description": "What an approval may cover beyond this call."},
        "votes": _list(_ref("Vote")),
        "calls": _COUNT,
        "used": _COUNT,
        "seen": _list(_TEXT),
        "session": _TEXT,
        "decision": _TEXT,
        "trace": _TEXT,
    }


def _decision(**more: JsonObject) -> JsonObject:
    found = _object(
        binding=_DIGEST, verdict=_enum(*Verdict), reason=_TEXT | {"maxLength": MAX_REASON_CHARACTERS}, **more
    )
    return found | {"required": ["binding", "verdict", *(name for name in more if name == "id")]}


def _object(**members: JsonObject) -> JsonObject:
    """All members are always there, and no others."""
    required: list[JsonValue] = list(members)
    return {"type": "object", "properties": dict(members), "required": required, "additionalProperties": False}


def _list(of: JsonObject) -> JsonObject:
    return {"type": "array", "items": of}


def _enum(*values: str) -> JsonObject:
    return {"type": "string", "enum": [str(value) for value in values]}


def _or_null(schema: JsonObject) -> JsonObject:
    return {"anyOf": [schema, {"type": "null"}]}


def _ref(name: str) -> JsonObject:
    return {"$ref": f"#/components/schemas/{name}"}
