"""The OpenAPI document tells the whole API, and nothing but it.  Answers are held against it in support.approval_site."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from starlette.routing import Route

from callgate.approvals.model import VoteRefusal
from callgate.approvals.site.api import api_routes
from callgate.approvals.site.openapi import document_text
from callgate.approvals.site.said import OTHERS, REFUSALS
from support.admin_api import check_documented, check_sent

FILE = Path(__file__).parents[3] / "docs/reference/admin-api.openapi.json"
PAGE = FILE.with_name("admin-api.md")
ID, DIGEST = "0" * 32, "a" * 64


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, found in json.loads(document_text())["paths"].items():
        for method, operation in found.items():
            yield method.upper(), path, operation


def test_the_file_in_the_documentation_is_the_document_that_is_served() -> None:
    assert FILE.read_text(encoding="utf-8") == document_text()


def test_the_reference_page_names_every_path_and_every_code_beside_its_status() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert set(re.findall(r"`(?:GET|POST) (/api/v1/[^`?]+)", page)) == {path for _, path, _ in operations()}
    rows = {
        int(row[1]): set(re.findall(r"`(\w+)`", row[2])) for row in re.finditer(r"(?m)^\| (\d{3}) \| (.+) \|$", page)
    }
    said = [*REFUSALS.items(), *OTHERS.items()]
    assert rows == {status: {str(code) for code, each in said if each.status == status} for status in rows}
    assert rows.keys() == {each.status for _, each in said}


def test_tells_every_route_and_method_of_the_api() -> None:
    served = {
        (method, route.path)
        for route in api_routes()
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert {(method, path) for method, path, _ in operations()} == served


def test_every_schema_is_a_valid_one_and_is_used() -> None:
    named: dict[str, Any] = json.loads(document_text())["components"]["schemas"]
    for schema in named.values():
        Draft202012Validator.check_schema(schema)
    used = set(re.findall(r"#/components/schemas/([A-Za-z]+)", document_text()))
    assert used == set(named)


def test_every_parameter_in_a_path_is_told_and_every_operation_has_its_own_name() -> None:
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(set(names)) == len(names)
    for _, path, operation in operations():
        told = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "path"}
        assert told == set(re.findall(r"\{([a-z]+)\}", path))


def test_every_code_has_one_status_and_every_vote_that_does_not_count_has_one() -> None:
    assert set(REFUSALS) == set(VoteRefusal)
    assert not {str(code) for code in REFUSALS} & set(OTHERS)


@pytest.mark.parametrize("status", [401, 403, 421, 500, 503])
def test_every_answer_for_whoever_is_signed_in_can_be_refused_so(status: int) -> None:
    for _, path, operation in operations():
        if path != "/api/v1/openapi.json":
            assert str(status) in operation["responses"]


def test_takes_a_decision_as_the_page_sends_it() -> None:
    said = {"binding": DIGEST, "verdict": "deny", "reason": "", "cover": None}
    check_sent("POST", f"/api/v1/approvals/{ID}/decision", said)
    check_sent("POST", "/api/v1/decisions", {"decisions": [{"id": ID, "binding": DIGEST, "verdict": "deny"}]})


@pytest.mark.parametrize("body", [b'{"error": "nonsense", "message": ""}', b'{"error": "not_signed_in"}', b"{}"])
def test_the_check_of_answers_finds_what_the_document_does_not_tell(body: bytes) -> None:
    with pytest.raises(Exception, match=r"nonsense|required"):
        check_documented("GET", "/api/v1/me", 401, body)
    with pytest.raises(AssertionError, match="no document tells"):
        check_documented("GET", "/api/v1/me", 418, b"{}")
