"""Messages in Slack, over its SDK and a real socket: posted, brought up to date, tried again."""

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from callgate.approvals.model import Verdict
from callgate.approvals.notify.notifiers import Fate
from callgate.approvals.notify.slack_api import SlackApi
from callgate.approvals.notify.slack_blocks import DENY, LOOK
from callgate.approvals.notify.slack_channel import SlackChannel
from callgate.approvals.notify.slack_settings import SlackSettings
from callgate.approvals.notify.target import UnusableTarget
from callgate.approvals.store_thread import StoreThread
from support.notified import CANARY, LEADS, SITE, Clock, NotifiedDesk, notified
from support.slack_server import CHANNEL, TOKEN, FakeSlack, buttons


def channel(
    settings: SlackSettings, clock: Clock, *, pace_s: float = 0.0
) -> Callable[[StoreThread], list[SlackChannel]]:
    return lambda store: [SlackChannel(settings, store, SITE, clock.moment, pace_s)]


async def test_a_request_is_one_message_that_says_in_the_end_who_decided(tmp_path: Path) -> None:
    clock = Clock()
    async with FakeSlack.open(tmp_path) as slack, notified(tmp_path, clock, channel(slack.settings(), clock)) as desk:
        request = await desk.ask()
        await desk.counted("Slack", Fate.DELIVERED)
        (posted,) = slack.messages.values()
        assert posted["channel"] == CHANNEL
        assert set(buttons(posted)) > {LOOK, DENY}
        assert buttons(posted)[LOOK]["url"] == f"{SITE}/approvals/r/{request.id}"
        await desk.say(request, Verdict.DENY, reason="not today")
        await desk.counted("Slack", Fate.DELIVERED, 2)
        (shown,) = slack.messages.values()
        assert "Denied by alice@acme.test: not today" in json.dumps(shown)
        assert set(buttons(shown)) == {LOOK}
        assert slack.posts == 1
        assert all(CANARY not in str(each) for each in slack.receiver.received)


async def test_one_of_two_who_agreed_is_shown_and_the_buttons_stay(tmp_path: Path) -> None:
    clock = Clock()
    async with FakeSlack.open(tmp_path) as slack, notified(tmp_path, clock, channel(slack.settings(), clock)) as desk:
        request = await desk.ask("refund", replace(LEADS, needed=2))
        await desk.counted("Slack", Fate.DELIVERED)
        await desk.say(request)
        await desk.counted("Slack", Fate.DELIVERED, 2)
        (shown,) = slack.messages.values()
        assert "Agreed: alice@acme.test; 1 more" in json.dumps(shown)
        assert DENY in buttons(shown)


async def test_a_message_is_found_again_after_a_restart(tmp_path: Path) -> None:
    clock = Clock()
    async with FakeSlack.open(tmp_path) as slack:
        settings = slack.settings()
        async with notified(tmp_path, clock, channel(settings, clock)) as desk:
            request = await desk.ask()
            await desk.counted("Slack", Fate.DELIVERED)
        async with notified(tmp_path, replace(clock, boot="0001"), channel(settings, clock)) as desk:
            await desk.say(request)
            await desk.counted("Slack", Fate.DELIVERED)
        (shown,) = slack.messages.values()
        assert "Approved by alice@acme.test" in json.dumps(shown)


async def test_what_was_decided_while_the_message_was_posted_is_shown(tmp_path: Path) -> None:
    clock = Clock()
    async with FakeSlack.open(tmp_path) as slack, notified(tmp_path, clock, channel(slack.settings(), clock)) as desk:
        slack.receiver.held = trio.Event()
        request = await desk.ask()
        await slack.receiver.came(1)
        await desk.say(request)
        slack.receiver.held.set()
        await desk.until(lambda: slack.updates > 0)
        await desk.counted("Slack", Fate.DELIVERED)
        (shown,) = slack.messages.values()
        assert "Approved by alice@acme.test" in json.dumps(shown)
        assert slack.posts == 1


async def test_a_failure_is_seen_by_slacks_own_code_and_tried_again(tmp_path: Path) -> None:
    clock = Clock()
    async with FakeSlack.open(tmp_path) as slack, notified(tmp_path, clock, channel(slack.settings(), clock)) as desk:
        slack.error = "not_in_channel"
        await desk.ask()
        await desk.counted("Slack", Fate.FAILED)
        assert desk.notifiers.problems == {"Slack": "Notices are not delivered: Slack says not_in_channel."}
        slack.error = ""
        clock.wall += 5
        await desk.counted("Slack", Fate.DELIVERED)
        assert desk.notifiers.problems == {}
        assert slack.posts == 1


async def test_a_storm_comes_in_no_faster_than_slack_takes_it(tmp_path: Path) -> None:
    clock = Clock()
    async with FakeSlack.open(tmp_path) as slack:
        settings = slack.settings()
        async with notified(tmp_path, clock, channel(settings, clock, pace_s=0.3)) as desk:
            for number in range(4):
                await desk.ask(f"t{number}")
            await desk.counted("Slack", Fate.DELIVERED, 4)
    came = [each.at for each in slack.receiver.received]
    # What is sent in step arrives nearly so.
    assert came[-1] - came[0] >= 3 * 0.25


async def test_slacks_rate_limit_is_kept_to(tmp_path: Path) -> None:
    clock = Clock()
    async with FakeSlack.open(tmp_path) as slack, notified(tmp_path, clock, channel(slack.settings(), clock)) as desk:
        slack.rate_limited = 1
        await desk.ask()
        await desk.counted("Slack", Fate.FAILED)
        clock.wall += 10
        await desk.counted("Slack", Fate.DELIVERED)
        first, second = (each.at for each in slack.receiver.received)
        assert second - first >= 1.0


async def test_a_message_that_somebody_deleted_is_let_go(tmp_path: Path) -> None:
    clock = Clock()
    async with FakeSlack.open(tmp_path) as slack, notified(tmp_path, clock, channel(slack.settings(), clock)) as desk:
        request = await desk.ask()
        await desk.counted("Slack", Fate.DELIVERED)
        slack.messages.clear()
        await desk.say(request)
        await desk.counted("Slack", Fate.DROPPED)
        assert desk.notifiers.problems == {}


async def _fails(tmp_path: Path, slack: FakeSlack, clock: Clock) -> NotifiedDesk:
    async with notified(tmp_path, clock, channel(slack.settings(), clock)) as desk:
        await desk.ask()
        await desk.counted("Slack", Fate.FAILED)
        return desk


@pytest.mark.parametrize(
    "octets",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nnot JSON!",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{"ok":true}',
        b"HTTP/1.1 500 body-canary\r\nContent-Length: 11\r\n\r\nbody-canary",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\xfe",
        b"garbage body-canary\r\n\r\n",
        b"",
    ],
)
async def test_whatever_slack_answers_is_a_failure_that_repeats_nothing_of_it(
    tmp_path: Path, octets: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with FakeSlack.open(tmp_path) as slack:
        slack.receiver.reply = lambda _: octets
        desk = await _fails(tmp_path, slack, Clock())
    said = str(desk.notifiers.problems) + "\n".join(
        record.getMessage() for record in caplog.records if record.name.startswith("callgate")
    )
    assert "Slack" in desk.notifiers.problems
    for never in ("body-canary", TOKEN, CANARY, "fault of the gate"):
        assert never not in said


@pytest.mark.parametrize("text", ["", "two\nlines", "not a token", f"{TOKEN}\n{TOKEN}"])
def test_a_file_that_holds_no_token_is_refused_at_start(tmp_path: Path, text: str) -> None:
    file = tmp_path / "token"
    file.write_text(text)
    with pytest.raises(UnusableTarget, match="bot token") as refused:
        SlackApi(SlackSettings("C0", file, file, {}))
    assert TOKEN not in str(refused.value)


def test_slack_is_reached_by_https_alone(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    settings = SlackSettings("C0", tmp_path / "token", tmp_path / "token", {}, api_url="http://slack.com/api/")
    with pytest.raises(UnusableTarget, match="https"):
        SlackApi(settings)


@pytest.mark.parametrize(
    ("api_url", "reply_url"),
    [
        ("https://slack.com/api", "https://hooks.slack.com/"),
        ("https://slack-gov.com/api/", "https://hooks.slack-gov.com/"),
        ("http://127.0.0.1:8080/api", "http://127.0.0.1:8080/"),
    ],
)
def test_replies_go_to_the_hooks_of_the_same_slack(tmp_path: Path, api_url: str, reply_url: str) -> None:
    assert SlackSettings("C0", tmp_path, tmp_path, {}, api_url=api_url).reply_url == reply_url
