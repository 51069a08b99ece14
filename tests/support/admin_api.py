"""The admin API's OpenAPI document, and whether an answer is one of those that it describes."""

import json
import re
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from callgate.approvals.site.openapi import document

# Also of paths that are none of the API's.
_OF_THE_SITE = {403, 404, 405, 421, 500}


def check_documented(method: str, target: str, status: int, body: bytes) -> None:
    """Fails where this answer of the API has a status, a field or a form that the document does not know."""
    path = target.partition("?")[0]
    if not path.startswith("/api/"):
        return
    operation = _operation(method, path)
    if operation is None:
        assert status in _OF_THE_SITE
        _validator("Refusal").validate(json.loads(body))
        return
    assert str(status) in operation["responses"], f"{method} {path} answers {status}, which no document tells"
    schema = operation["responses"][str(status)]["content"]["application/json"]["schema"]
    _validator(schema["$ref"].rpartition("/")[2]).validate(json.loads(body))


def check_sent(method: str, path: str, body: object) -> None:
    """Fails where this request's body is none that the document describes."""
    operation = _operation(method, path)
    assert operation is not None
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    _validator(schema["$ref"].rpartition("/")[2]).validate(body)


@cache
def _document() -> dict[str, Any]:
    # As whoever fetches it reads it.
    found: dict[str, Any] = json.loads(json.dumps(document()))
    return found


@cache
def _validator(schema: str) -> Draft202012Validator:
    whole = {"$ref": f"#/components/schemas/{schema}", "components": _document()["components"]}
    return Draft202012Validator(whole)


def _operation(method: str, path: str) -> dict[str, Any] | None:
    for template, operations in _document()["paths"].items():
        if re.fullmatch(re.sub(r"\{[a-z]+\}", "[^/]+", template), path) and method.lower() in operations:
            found: dict[str, Any] = operations[method.lower()]
            return found
    return None
