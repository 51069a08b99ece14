"""What people click in Slack: checked, voted like any other answer, and answered for their eyes alone.

The vote is for the binding that the button holds, which is what the message was about; what a click may do is decided
where all answers are (`model.voted`).
"""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import parse_qsl

import orjson
import trio

from callgate.addresses import Url
from callgate.approvals.model import (
    LOCAL_GROUP,
    LOCAL_PREFIX,
    Means,
    Moment,
    Person,
    Request,
    Verdict,
    Vote,
    VoteRefusal,
)
from callgate.approvals.notify.signing import read_lines
from callgate.approvals.notify.slack_blocks import APPROVE, DENY
from callgate.approvals.notify.slack_said import NOT_KEPT, NOT_MAPPED, ON_THE_PAGE, said_of_answer
from callgate.approvals.notify.slack_settings import SlackPerson, SlackSettings
from callgate.approvals.notify.target import UnusableTarget
from callgate.approvals.store import StoreFault
from callgate.errors import Refusal
from callgate.wire.json_strict import JsonLimits, JsonObject, JsonValue, loads

if TYPE_CHECKING:
    from slack_sdk.signature import SignatureVerifier

_LOG: Final = logging.getLogger(__name__)
# A click brings its message along, and that is 5 KiB.
MAX_CLICK_BYTES: Final = 64 * 1024
DENIAL_REASON: Final = "denied in Slack"
_VERDICTS: Final = {APPROVE: Verdict.APPROVE, DENY: Verdict.DENY}
# Slack docs, "Verifying requests from Slack": `v0=` and an HMAC-SHA256 in hex, a timestamp in Unix seconds.
_SIGNATURE: Final = re.compile(r"v0=[0-9a-f]{64}")
_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}")
_VALUE: Final = re.compile(r"([0-9a-f]{32})\.([0-9a-f]{64})")
_SIGNING_SECRET: Final = re.compile(r"[!-~]{16,200}")
_JSON: Final = JsonLimits(max_bytes=MAX_CLICK_BYTES)
# Answers to people that wait to be sent; who is not answered sees the message change.
_MAX_REPLIES: Final = 100
_REPLY_S: Final = 10.0


class ClickRefusal(StrEnum):
    """Why a request to the click address is not taken."""

    NOT_FROM_SLACK = "not_from_slack"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class Reply:
    """What is still to be told to whoever clicked."""

    url: str
    text: str


class Answers(Protocol):
    """As `Desk` takes answers."""

    async def answer(self, id_: str, binding: str, vote: Vote) -> Request | VoteRefusal:
        """Raises StoreFault."""
        ...


class SlackClicks:
    """`run` it in a nursery: it sends the replies."""

    def __init__(self, settings: SlackSettings, desk: Answers, moment: Callable[[], Moment]) -> None:
        """Raises UnusableTarget."""
        from callgate.approvals.notify.posting import check_url, post, trusting  # noqa: PLC0415  # as in `webhooks`

        check_url(settings.api_url)
        _check_people(settings)
        self._post = post
        self._tls = trusting(settings.ca_file)
        self._settings = settings
        self._desk = desk
        self._moment = moment
        self._verifier = _verifier(settings, moment)
        self._replies, self._unsent = trio.open_memory_channel[Reply](_MAX_REPLIES)
        self._lost = 0

    @property
    def replies_lost(self) -> int:
        """How many people were not told what their click came to."""
        return self._lost

    async def run(self) -> None:
        """Send replies, one after another, until cancelled."""
        async for reply in self._unsent:
            body = orjson.dumps({"response_type": "ephemeral", "replace_original": False, "text": reply.text})
            headers = {"Content-Type": "application/json"}
            answer = await self._post(reply.url, self._tls, headers, body, _REPLY_S)
            if isinstance(answer, str) or answer.status != 200:
                self._lost += 1
                why = answer if isinstance(answer, str) else f"HTTP {answer.status}"
                _LOG.warning("somebody who clicked in Slack could not be told what came of it: %s", why)

    async def take(self, body: bytes, timestamp: str, signature: str) -> ClickRefusal | None:
        """One request, as its body and two of its headers have it ("" for none); None where it is taken.

        It returns when the vote is kept or refused; Slack waits 3 s for that, and the store takes 2 s at most.
        """
        if not self._is_signed(body, timestamp, signature):
            return ClickRefusal.NOT_FROM_SLACK
        payload = _payload(body)
        if payload is None or payload.get("type") != "block_actions":
            return ClickRefusal.MALFORMED
        for action in _objects(payload.get("actions")):
            if (verdict := _VERDICTS.get(_text(action, "action_id"))) is not None:
                self._reply(payload, await self._voted(payload, verdict, _text(action, "value")))
        return None

    async def _voted(self, payload: JsonObject, verdict: Verdict, value: str) -> str:
        """What to tell whoever clicked."""
        known = self._settings.people.get(_text(_object(payload.get("user")), "id"))
        if known is None:
            return NOT_MAPPED
        if verdict is Verdict.APPROVE and not self._settings.approve_in_slack:
            # An old message, from before that was configured.
            return ON_THE_PAGE
        found = _VALUE.fullmatch(value)
        if found is None:
            return said_of_answer(VoteRefusal.UNKNOWN)
        vote = Vote(_person(known), verdict, DENIAL_REASON if verdict is Verdict.DENY else "", self._moment().wall)
        try:
            return said_of_answer(await self._desk.answer(found[1], found[2], vote))
        except StoreFault:
            return NOT_KEPT

    def _is_signed(self, body: bytes, timestamp: str, signature: str) -> bool:
        """Within five minutes, too, which the SDK sees to; what it would raise on does not get to it."""
        if _TIMESTAMP.fullmatch(timestamp) is None or _SIGNATURE.fullmatch(signature) is None:
            return False
        # A form is ASCII; the SDK decodes it.
        return body.isascii() and self._verifier.is_valid(body, timestamp, signature)

    def _reply(self, payload: JsonObject, text: str) -> None:
        url = _text(payload, "response_url")
        if not _is_reply_url(url, self._settings.reply_url):
            self._lost += 1
            return
        try:
            self._replies.send_nowait(Reply(url, text))
        except trio.WouldBlock:
            self._lost += 1


def _check_people(settings: SlackSettings) -> None:
    """Who sits at this machine the kernel tells, and Slack does not."""
    for id_, person in settings.people.items():
        if person.name.startswith((LOCAL_PREFIX, "spiffe://")) or LOCAL_GROUP in {person.name, *person.groups}:
            raise UnusableTarget(f"the Slack user {id_} cannot be a person of this machine or a workload")


def _verifier(settings: SlackSettings, moment: Callable[[], Moment]) -> "SignatureVerifier":
    from slack_sdk.signature import Clock, SignatureVerifier  # noqa: PLC0415  # as in `slack_api`

    class Wall(Clock):
        """The gate's clock, instead of the SDK's."""

        def now(self) -> float:
            """Unix seconds."""
            return moment().wall

    lines = read_lines(settings.signing_secret_file)
    if len(lines) != 1 or _SIGNING_SECRET.fullmatch(lines[0]) is None:
        raise UnusableTarget(f"{settings.signing_secret_file}: must hold one line, the app's signing secret")
    return SignatureVerifier(lines[0], Wall())


def _person(known: SlackPerson) -> Person:
    """Slack does not tell when somebody signed in there, so that it is never fresh."""
    return Person(known.name, known.groups, Means.SLACK, signed_in=0.0)


def _payload(body: bytes) -> JsonObject | None:
    """`payload=<JSON>`, the one field of the form."""
    try:
        fields = parse_qsl(body.decode("ascii"), strict_parsing=True, max_num_fields=1, errors="strict")
    except ValueError:
        return None
    if len(fields) != 1 or fields[0][0] != "payload":
        return None
    found = loads(fields[0][1].encode(), _JSON)
    return None if isinstance(found, Refusal) or not isinstance(found, dict) else found


def _is_reply_url(url: str, base: str) -> bool:
    """A signed message does not make the gate post to just anywhere."""
    try:
        Url.parse(url)
    except ValueError:
        return False
    return url.startswith(base)


def _text(found: JsonObject, name: str) -> str:
    value = found.get(name)
    return value if isinstance(value, str) else ""


def _object(value: JsonValue) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _objects(value: JsonValue) -> list[JsonObject]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
