"""Other sites' pages, other names for this machine, and other users of it: none of them changes or reads anything."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trio

from callgate.approvals.model import State
from callgate.approvals.site.app import SECURITY_HEADERS
from callgate.net.local_listener import Credentials
from support.approval_site import LEAD, Answer, Browser, Site, approval_site
from support.approval_socket import listening

HOSTILE_ORIGINS = [
    "",
    "null",
    "https://evil.test",
    "http://evil.test",
    "https://{host}",
    "http://{host}.evil.test",
    "http://evil.test#{host}",
    "http://{host}/",
    "http://{host}@evil.test",
    "http://127.0.0.1",
    "http://127.0.0.1:1",
    "http://localhost",
    "HTTP://{host}",
    "file://",
    "http://{host} http://{host}",
    "chrome-extension://{host}",
]


async def decide(site: Site, browser: Browser, **headers: str) -> Answer:
    request = await site.asked(account="A-1")
    path = f"/api/v1/approvals/{request.id}/decision"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = await browser.post(path, site.decision(request, "approve"), named)
    found = await site.desk.opened(request.id, None)
    assert found is not None
    assert (found.state is State.APPROVED) == (answer.status == 200)
    return answer


@pytest.mark.parametrize("origin", HOSTILE_ORIGINS)
async def test_no_change_is_taken_from_another_origin(tmp_path: Path, origin: str) -> None:
    async with approval_site(tmp_path) as site:
        answer = await decide(site, await site.browser(LEAD), origin=origin.format(host=site.host))
    assert (answer.status, answer.error) == (403, "origin_mismatch")


@pytest.mark.parametrize("said", ["cross-site", "same-site", "none", "anything", "same-origin, cross-site"])
async def test_no_change_is_taken_that_the_browser_says_is_not_the_pages_own(tmp_path: Path, said: str) -> None:
    async with approval_site(tmp_path) as site:
        answer = await decide(site, await site.browser(LEAD), sec_fetch_site=said)
    assert (answer.status, answer.error) == (403, "cross_site")


async def test_an_older_browser_does_not_say_and_is_taken(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        assert (await decide(site, await site.browser(LEAD), sec_fetch_site="", sec_fetch_mode="")).status == 200


@pytest.mark.parametrize("token", ["", "A" * 43, "{short}", "{real}A", "\u00e9", "{real}, {real}"])
async def test_no_change_is_taken_without_the_sessions_own_token(tmp_path: Path, token: str) -> None:
    async with approval_site(tmp_path) as site:
        alice = await site.browser(LEAD)
        said = token.format(real=alice.csrf, short=alice.csrf[:-1])
        answer = await decide(site, alice, x_csrf_token=said)
    assert (answer.status, answer.error) == (403, "csrf_mismatch")


async def test_no_change_is_taken_with_another_sessions_token(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        alice, other = await site.browser(LEAD), await site.browser(LEAD)
        answer = await decide(site, replace(alice, csrf=other.csrf))
    assert (answer.status, answer.error) == (403, "csrf_mismatch")


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "application/jsonp"],
)
async def test_what_another_sites_form_can_post_is_no_json(tmp_path: Path, kind: str) -> None:
    async with approval_site(tmp_path) as site:
        answer = await decide(site, await site.browser(LEAD), content_type=kind)
    assert (answer.status, answer.error) == (400, "malformed")


HOSTILE_HOSTS = ["evil.test", "evil.test:{port}", "gate.acme.test", "127.0.0.1", "127.0.0.1:1", "127.0.0.2:{port}"]


@pytest.mark.parametrize("host", HOSTILE_HOSTS)
@pytest.mark.parametrize("path", ["/approvals", "/api/v1/me", "/api/v1/openapi.json", "/approvals/static/approvals.js"])
async def test_a_name_that_was_made_to_lead_here_leads_to_nothing(tmp_path: Path, host: str, path: str) -> None:
    """DNS rebinding: the page of evil.test would be of the same origin as what is served under that name."""
    async with approval_site(tmp_path) as site:
        alice = replace(await site.browser(LEAD), host=host.format(port=site.port))
        assert (await alice.get(path)).status == 421


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LocalHost", "[::1]"])
async def test_a_site_on_this_machine_is_known_by_each_name_that_always_leads_there(tmp_path: Path, name: str) -> None:
    async with approval_site(tmp_path) as site:
        alice = replace(await site.browser(LEAD), host=f"{name}:{site.port}")
        answer = await decide(site, alice, origin=f"http://{name.lower()}:{site.port}")
    assert answer.status == 200


@pytest.mark.parametrize(
    ("url", "host", "served"),
    [
        ("https://gate.acme.test", "gate.acme.test", True),
        ("https://gate.acme.test", "gate.acme.test:443", True),
        ("https://gate.acme.test", "GATE.ACME.TEST", True),
        ("https://gate.acme.test", "gate.acme.test:80", False),
        ("https://gate.acme.test", "localhost", False),
        ("https://gate.acme.test:8444", "gate.acme.test:8444", True),
        ("https://gate.acme.test:8444", "gate.acme.test", False),
        ("https://gate.acme.test:8444", "localhost:8444", False),
        ("http://localhost:8444", "127.0.0.1:8444", True),
        ("http://[::1]:8444", "[::1]:8444", True),
        ("http://[::1]:8444", "localhost:8444", True),
    ],
)
async def test_answers_to_its_own_name_alone(tmp_path: Path, url: str, host: str, *, served: bool) -> None:
    async with approval_site(tmp_path, url=url) as site:
        answer = await Browser(site.port, host).get("/api/v1/openapi.json")
    assert answer.status == (200 if served else 421)


async def test_every_answer_has_the_headers_that_keep_a_page_to_itself(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        alice, nobody = await site.browser(LEAD), site.anybody()
        paths = ["/api/v1/me", "/api/v1/approvals", "/api/v1/none", "/approvals/none", "/api/v1/openapi.json"]
        answers = [await browser.get(path) for browser in (alice, nobody) for path in paths]
        answers.append(await replace(nobody, host="evil.test").get("/api/v1/me"))
        answers.append(await alice.post("/api/v1/me", {}))
        answers.append(await alice.post("/api/v1/decisions", b"{"))
    assert {answer.status for answer in answers} == {200, 400, 401, 404, 405, 421}
    for answer in answers:
        for name, value in SECURITY_HEADERS.items():
            assert answer.all(name) == [value]


async def test_another_user_of_this_machine_gets_nothing_by_the_socket(tmp_path: Path) -> None:
    async with approval_site(tmp_path, uids=frozenset({1000}), peer=Credentials(77, 1001, 1001)) as site:
        request = await site.asked(account="A-1")
        other = site.anybody()
        answers = [
            await other.get("/api/v1/me"),
            await other.get(f"/api/v1/approvals/{request.id}"),
            await other.get("/api/v1/events"),
            await other.get("/api/v1/openapi.json"),
            await other.post("/api/v1/links", {}),
            await other.post(f"/api/v1/approvals/{request.id}/decision", site.decision(request, "approve")),
        ]
    assert {(answer.status, answer.error) for answer in answers} == {(403, "not_this_user")}


async def test_a_cookie_counts_for_nothing_at_the_socket(tmp_path: Path) -> None:
    """The kernel alone says who is there."""
    async with approval_site(tmp_path, uids=frozenset({0}), peer=Credentials(77, 0, 0)) as site:
        me = (await (await site.browser(LEAD)).get("/api/v1/me")).json
    assert (me["name"], me["groups"], me["means"], me["csrf"]) == ("local:root", ["local"], "socket", "")


async def test_no_session_makes_links_not_even_one_that_a_link_began(tmp_path: Path) -> None:
    async with approval_site(tmp_path, uids=frozenset({1000})) as site:
        signed = await site.browser(replace(LEAD, name="local:ada", groups=frozenset({"local"}), uid=1000))
        answer = await signed.post("/api/v1/links", {})
    assert (answer.status, answer.error) == (403, "by_the_socket_alone")


# Nobody else can become another user.
if os.geteuid() == 0:
    _ASKS = """
import os, socket, sys
os.setuid(65534)
with socket.socket(socket.AF_UNIX) as sock:
    sock.connect(sys.argv[1])
    sock.sendall(b"GET /api/v1/approvals HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n")
    print(sock.makefile("rb").read().decode())
"""

    async def test_another_user_who_gets_to_the_socket_is_told_apart_by_the_kernel(tmp_path: Path) -> None:
        with TemporaryDirectory(prefix="callgate-") as folder:
            # As a socket that other users can get to.
            os.chmod(folder, 0o755)  # noqa: PTH101, S103
            path = Path(folder) / "admin.sock"
            async with approval_site(tmp_path, uids=frozenset({0})) as site, listening(path, site.served):
                os.chmod(path, 0o666)  # noqa: PTH101, S103
                done = await trio.run_process([sys.executable, "-c", _ASKS, str(path)], capture_stdout=True)
        assert done.stdout.startswith(b"HTTP/1.1 403")
        assert b"not_this_user" in done.stdout
