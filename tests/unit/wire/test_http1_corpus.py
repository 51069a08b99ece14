"""Every vector of the corpora, whole, byte by byte and split at random, has one verdict, and it is the right one."""

from typing import Any

import pytest

from callgate.errors import Reason, Refusal
from callgate.wire.http1 import RawRequest, ResponseHead
from support.http1_vectors import raw, read_answer, serve, splits, vectors


def _named(rows: list[dict[str, Any]]) -> list[Any]:
    return [pytest.param(row, id=row["id"]) for row in rows]


@pytest.mark.parametrize("vector", _named(vectors("requests_rejected")))
def test_refuses_request_once_with_the_same_reason_however_split(vector: dict[str, Any]) -> None:
    for pieces in splits(raw(vector["bytes"])):
        *before, refusal, end = serve(pieces)

        assert isinstance(refusal, Refusal)
        assert refusal.reason is Reason(vector["reason"])
        assert end == "closed"
        if vector.get("at_eof"):
            assert before.pop() == "end of stream"
        assert [type(request) for request in before] == [RawRequest] * vector.get("accepted_before", 0)


@pytest.mark.parametrize("vector", _named(vectors("requests_accepted")))
def test_reads_requests_the_same_however_split(vector: dict[str, Any]) -> None:
    expected = [(each["method"], raw(each["target"]).decode(), raw(each["body"])) for each in vector["requests"]]
    for pieces in splits(raw(vector["bytes"])):
        *requests, end = serve(pieces)

        read = [(r.method, r.target, r.body) for r in requests if isinstance(r, RawRequest)]
        assert read == expected
        assert len(requests) == len(expected)
        assert end == ("closed" if vector.get("closes") else "closed cleanly")


@pytest.mark.parametrize("vector", _named(vectors("responses_rejected")))
def test_refuses_response_with_the_same_reason_however_split(vector: dict[str, Any]) -> None:
    stories = []
    for pieces in splits(raw(vector["bytes"])):
        *before, refusal, when = read_answer(pieces)

        assert isinstance(refusal, Refusal)
        assert refusal.reason is Reason(vector["reason"])
        assert when == ("end of stream" if vector.get("at_eof") else "before the end")
        stories.append([*before, refusal])
    assert all(story == stories[0] for story in stories)


@pytest.mark.parametrize("vector", _named(vectors("responses_accepted")))
def test_reads_response_the_same_however_split(vector: dict[str, Any]) -> None:
    for pieces in splits(raw(vector["bytes"])):
        head, body, done, reusable = read_answer(pieces)

        assert isinstance(head, ResponseHead)
        assert (head.status, body) == (vector["status"], raw(vector["body"]))
        assert done is True
        assert reusable is vector["reusable"]


def test_corpora_are_as_large_as_promised() -> None:
    assert len(vectors("requests_rejected")) >= 120
    assert len(vectors("requests_accepted")) >= 30
