"""Clicks that nobody made, or that nobody may make: none is an answer."""

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode

import pytest

from callgate.approvals.model import Request, State
from callgate.approvals.notify.slack import MAX_CLICK_BYTES, SlackClicks
from callgate.approvals.notify.slack_blocks import APPROVE, DENY, value_of
from callgate.approvals.notify.slack_settings import SlackPerson
from callgate.approvals.notify.target import UnusableTarget
from callgate.approvals.site.slack_routes import PATH
from callgate.policy.approval import Owners
from support.notified import CANARY, LEADS
from support.slack_clicking import Clicking, clicking
from support.slack_server import SIGNING_SECRET, TOKEN, sign
from support.webhook_receiver import Receiver

Sent = tuple[bytes, str, str]
FORGERIES: dict[str, Callable[[Sent], Sent]] = {
    "no signature": lambda sent: (sent[0], sent[1], ""),
    "no timestamp": lambda sent: (sent[0], "", sent[2]),
    "another secret": lambda sent: sign(sent[0], float(sent[1]), "0" * 32),
    "an empty secret": lambda sent: sign(sent[0], float(sent[1]), ""),
    "another body": lambda sent: (sent[0].replace(b"U0ALICE", b"U0BOBBY"), sent[1], sent[2]),
    "another timestamp": lambda sent: (sent[0], str(int(sent[1]) + 1), sent[2]),
    "upper case": lambda sent: (sent[0], sent[1], sent[2].upper()),
    "another version": lambda sent: (sent[0], sent[1], sent[2].replace("v0=", "v1=")),
    "half a signature": lambda sent: (sent[0], sent[1], sent[2][:20]),
    "a timestamp that is no number": lambda sent: (sent[0], "soon", sent[2]),
    "a huge timestamp": lambda sent: (sent[0], "9" * 5000, sent[2]),
    "a negative timestamp": lambda sent: (sent[0], "-1", sent[2]),
    "six minutes old": lambda sent: sign(sent[0], float(sent[1]) - 360),
    "six minutes ahead": lambda sent: sign(sent[0], float(sent[1]) + 360),
}


async def still_waits(here: Clicking, request: Request) -> bool:
    found = await here.now(request)
    return found.state is State.WAITING and found.votes == ()


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_a_click_that_slack_did_not_sign_just_now_is_refused(tmp_path: Path, forgery: str) -> None:
    async with clicking(tmp_path, approve_in_slack=True) as here:
        request = await here.desk.ask()
        sent = here.slack.click("U0ALICE", APPROVE, value_of(request), here.desk.clock.wall)
        assert await here.send(*FORGERIES[forgery](sent)) == 401
        assert await still_waits(here, request)


async def test_a_signature_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    async with clicking(tmp_path) as here:
        request = await here.desk.ask()
        body, timestamp, signature = here.slack.click("U0ALICE", DENY, value_of(request), here.desk.clock.wall)
        headers = [
            ("content-type", "application/x-www-form-urlencoded"),
            ("x-slack-request-timestamp", timestamp),
            ("x-slack-signature", "v0=" + "0" * 64),
            ("x-slack-signature", signature),
        ]
        assert (await here.http.post(PATH, content=body, headers=headers)).status_code == 401
        assert await still_waits(here, request)


async def test_a_click_that_is_sent_again_changes_nothing(tmp_path: Path) -> None:
    async with clicking(tmp_path, approve_in_slack=True) as here:
        request = await here.desk.ask("refund", replace(LEADS, needed=2))
        sent = here.slack.click("U0ALICE", APPROVE, value_of(request), here.desk.clock.wall)
        assert [await here.send(*sent) for _ in range(3)] == [200, 200, 200]
        assert len((await here.now(request)).votes) == 1
        await here.click("U0BOB", DENY, value_of(request))
        assert await here.send(*sent) == 200
        assert (await here.now(request)).state is State.DENIED


@pytest.mark.parametrize(
    ("user", "told"),
    [
        ("U0MALLORY", "You are not an approver: the gate does not know your Slack user."),
        ("", "You are not an approver: the gate does not know your Slack user."),
        ("U0CAROL", "You are not an approver of this request."),
    ],
)
async def test_a_click_of_somebody_who_is_no_approver_is_no_answer(tmp_path: Path, user: str, told: str) -> None:
    async with clicking(tmp_path, approve_in_slack=True) as here:
        request = await here.desk.ask()
        for number, action in enumerate((APPROVE, DENY), 1):
            assert await here.click(user, action, value_of(request)) == 200
            assert await here.told(number) == told
        assert await still_waits(here, request)


async def test_an_owner_of_the_workload_cannot_approve_by_a_click(tmp_path: Path) -> None:
    async with clicking(tmp_path, approve_in_slack=True) as here:
        owners = Owners(people=frozenset({"alice@acme.test"}))
        request = await here.desk.ask("refund", replace(LEADS, four_eyes=True), owners=owners)
        await here.click("U0ALICE", APPROVE, value_of(request))
        assert "four eyes" in await here.told()
        assert await still_waits(here, request)


async def test_a_click_does_not_approve_unless_that_is_configured(tmp_path: Path) -> None:
    async with clicking(tmp_path) as here:
        request = await here.desk.ask()
        await here.click("U0ALICE", APPROVE, value_of(request))
        assert await here.told() == "Approve on the page: there you see what exactly will happen."
        assert await still_waits(here, request)


async def test_a_button_of_another_request_or_of_other_arguments_answers_nothing(tmp_path: Path) -> None:
    async with clicking(tmp_path, approve_in_slack=True) as here:
        request, other = await here.desk.ask("refund"), await here.desk.ask("transfer")
        for number, (value, told) in enumerate(
            [
                (f"{request.id}.{other.ask.binding.digest}", "not about what is asked for"),
                (f"{request.id}.{'0' * 64}", "not about what is asked for"),
                (f"{'0' * 32}.{request.ask.binding.digest}", "does not know this request"),
                (request.id, "does not know this request"),
                ("", "does not know this request"),
                (f"{value_of(request)}\n", "does not know this request"),
                ("x" * 2000, "does not know this request"),
            ],
            1,
        ):
            assert await here.click("U0ALICE", APPROVE, value) == 200
            assert told in await here.told(number)
        assert await still_waits(here, request)
        assert await still_waits(here, other)


async def test_a_click_after_the_request_is_over_answers_nothing(tmp_path: Path) -> None:
    async with clicking(tmp_path, approve_in_slack=True) as here:
        request = await here.desk.ask()
        here.desk.clock.wall += request.ask.stands_s + 1
        await here.click("U0ALICE", APPROVE, value_of(request))
        assert "over" in await here.told()
        assert (await here.now(request)).state is State.EXPIRED


@pytest.mark.parametrize(
    "reply",
    [
        "https://evil.test/actions/T0/1/abc",
        "https://hooks.slack.com.evil.test/actions/",
        "https://hooks.slack.com@evil.test/",
        "http://169.254.169.254/latest/meta-data/",
        "file:///etc/passwd",
        "//evil.test/",
        "https://hooks.slack.com/../../x",
        "x" * 10_000,
    ],
)
async def test_the_gate_posts_to_slack_alone_whatever_a_click_says(tmp_path: Path, reply: str) -> None:
    async with clicking(tmp_path) as here:
        request = await here.desk.ask()
        assert await here.click("U0ALICE", DENY, value_of(request), reply=reply) == 200
        assert here.clicks.replies_lost == 1
        assert here.slack.replies == []


async def test_a_loopback_service_beside_the_configured_one_is_not_posted_to(tmp_path: Path) -> None:
    async with clicking(tmp_path) as here, Receiver.open() as internal:
        request = await here.desk.ask()
        base = here.slack.settings().reply_url
        for url in (internal.url, f"{base}../hook", f"{base.replace('localhost', 'user@localhost')}x"):
            await here.click("U0ALICE", DENY, value_of(request), reply=url)
        assert here.clicks.replies_lost == 3
        assert internal.received == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"payload=",
        b"payload=not+JSON",
        b"payload=[]",
        b"payload=%7B%7D",
        b"payload=%FF",
        b"payload=1&payload=2",
        b"other=%7B%7D",
        b"payload",
        b"\xff\xfe",
        urlencode({"payload": '{"type": "block_actions", "type": "view_submission"}'}).encode(),
        urlencode({"payload": '{"type": "view_submission"}'}).encode(),
        urlencode({"payload": "[" * 20_000}).encode(),
    ],
)
async def test_what_slack_would_not_send_is_refused_though_it_is_signed(tmp_path: Path, body: bytes) -> None:
    async with clicking(tmp_path) as here:
        assert await here.send(*sign(body, here.desk.clock.wall)) in {400, 401}


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"actions": None},
        {"actions": [1, None, []]},
        {"actions": [{"action_id": 1}]},
        {"user": "U0ALICE", "actions": [{"action_id": DENY, "value": 1}]},
        {"user": {"id": ["U0ALICE"]}, "actions": [{"action_id": DENY, "value": ""}]},
        {"response_url": {}, "user": {"id": "U0ALICE"}, "actions": [{"action_id": DENY}]},
    ],
)
async def test_a_click_of_another_shape_answers_nothing_and_breaks_nothing(
    tmp_path: Path, payload: dict[str, object]
) -> None:
    async with clicking(tmp_path) as here:
        request = await here.desk.ask()
        body = urlencode({"payload": json.dumps({"type": "block_actions", **payload})}).encode()
        assert await here.send(*sign(body, here.desk.clock.wall)) == 200
        assert await still_waits(here, request)


async def test_a_huge_body_is_refused_before_it_is_read_whole(tmp_path: Path) -> None:
    async with clicking(tmp_path) as here:
        assert await here.send(*sign(b"payload=" + b"x" * MAX_CLICK_BYTES, here.desk.clock.wall)) == 413


async def test_only_a_form_by_post_is_taken(tmp_path: Path) -> None:
    async with clicking(tmp_path) as here:
        body, timestamp, signature = here.slack.click("U0ALICE", DENY, "", here.desk.clock.wall)
        headers = {"x-slack-request-timestamp": timestamp, "x-slack-signature": signature}
        for kind in ("application/json", "multipart/form-data", ""):
            found = await here.http.post(PATH, content=body, headers={**headers, "content-type": kind})
            assert found.status_code == 415
        assert (await here.http.get(PATH, headers=headers)).status_code == 405


async def test_no_log_line_and_no_answer_holds_a_secret_or_an_argument(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with clicking(tmp_path, approve_in_slack=True) as here:
        request = await here.desk.ask()
        await here.click("U0ALICE", APPROVE, value_of(request))
        await here.told()
        await here.send(*sign(b"payload=%7B", here.desk.clock.wall))
        said = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("callgate"))
        said += str(here.slack.replies) + str([each.body for each in here.slack.receiver.received])
    for never in (CANARY, SIGNING_SECRET, TOKEN):
        assert never not in said


@pytest.mark.parametrize(
    "person",
    [
        SlackPerson("local:ada", frozenset()),
        SlackPerson("ada", frozenset({"local"})),
        SlackPerson("local", frozenset()),
        SlackPerson("spiffe://acme.test/agent", frozenset()),
    ],
)
async def test_nobody_in_slack_is_a_person_of_this_machine_or_a_workload(tmp_path: Path, person: SlackPerson) -> None:
    async with clicking(tmp_path) as here:
        settings = here.slack.settings({"U0ADA": person})
        with pytest.raises(UnusableTarget, match="U0ADA"):
            SlackClicks(settings, here.desk.desk, here.desk.clock.moment)
