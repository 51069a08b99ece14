"""Posted forms: one reading, or none."""

import pytest
from starlette.requests import Request

from callgate.approvals.site.guards import form_fields
from callgate.net.asgi import Message

FORM = "application/x-www-form-urlencoded"


async def read(body: bytes, kind: str = FORM) -> dict[str, str] | None:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    request = Request({"type": "http", "method": "POST", "headers": [(b"content-type", kind.encode())]}, receive)
    found = await form_fields(request)
    return None if found is None else dict(found)


@pytest.mark.parametrize("kind", [FORM, f"{FORM}; charset=UTF-8", FORM.upper()])
async def test_reads_a_form_as_browsers_send_it(kind: str) -> None:
    body = b"verdict=approve&reason=2%2B2+%C3%A4+%26&cover_calls=&csrf=AbC-_1"
    assert await read(body, kind) == {"verdict": "approve", "reason": "2+2 ä &", "cover_calls": "", "csrf": "AbC-_1"}


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"verdict=deny&verdict=approve", FORM),
        (b"verdict", FORM),
        (b"&&", FORM),
        (b"a=%ff", FORM),
        (b"a=\xc3\xa4", FORM),
        (b"&".join(b"%d=" % number for number in range(17)), FORM),
        (b"a=" + b"x" * 16 * 1024, FORM),
        (b"verdict=deny", "text/plain"),
        (b"verdict=deny", "multipart/form-data; boundary=x"),
        (b"verdict=deny", f"{FORM}x"),
        (b"verdict=deny", ""),
    ],
)
async def test_what_can_be_read_in_two_ways_or_is_no_form_is_none(body: bytes, kind: str) -> None:
    assert await read(body, kind) is None
