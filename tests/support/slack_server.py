"""Slack, as far as the gate sees it: two methods of the Web API, addresses for replies, and signed clicks.

async with FakeSlack.open(tmp_path) as slack:
    api = SlackApi(slack.settings())
    body, timestamp, signature = slack.click("U0ALICE", "callgate_deny", value, now)
"""

import hmac
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

from callgate.approvals.notify.slack_settings import SlackPerson, SlackSettings
from support.webhook_receiver import Received, Receiver, answer

TOKEN = "xoxb-000000000000-CANARYTOKEN"
SIGNING_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
CHANNEL = "C0APPROVALS"
PEOPLE = {
    "U0ALICE": SlackPerson("alice@acme.test", frozenset({"payments-leads"})),
    "U0BOB": SlackPerson("bob@acme.test", frozenset({"payments-leads"})),
    "U0CAROL": SlackPerson("carol@acme.test", frozenset({"cooks"})),
}


@dataclass
class FakeSlack:
    """`messages` by ts, as they stand; `replies` are what people who clicked were told; `error`: a code for all calls."""

    receiver: Receiver
    folder: Path
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    posts: int = 0
    updates: int = 0
    replies: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""
    rate_limited: int = 0

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path) -> AsyncIterator[Self]:
        async with Receiver.open() as receiver:
            slack = cls(receiver, folder)
            receiver.reply = slack._answer
            yield slack

    @property
    def url(self) -> str:
        return f"http://localhost:{self.receiver.port}/"

    def settings(self, people: Mapping[str, SlackPerson] = PEOPLE, *, approve_in_slack: bool = False) -> SlackSettings:
        token, secret = self.folder / "slack-token", self.folder / "slack-signing"
        token.write_text(f"{TOKEN}\n")
        secret.write_text(f"{SIGNING_SECRET}\n")
        return SlackSettings(CHANNEL, token, secret, people, approve_in_slack, api_url=f"{self.url}api")

    def click(
        self, user: str, action: str, value: str, now: float, *, reply: str | None = None
    ) -> tuple[bytes, str, str]:
        """Body, timestamp and signature of a click."""
        payload = {
            "type": "block_actions",
            "user": {"id": user, "username": "somebody", "team_id": "T0"},
            "api_app_id": "A0",
            "token": "verification-token-of-old",
            "container": {"type": "message", "message_ts": "1.0", "channel_id": CHANNEL},
            "trigger_id": "12321423423.333649436676.d8c1bb837935619ccad0f624c448ffb3",
            "channel": {"id": CHANNEL, "name": "approvals"},
            "response_url": f"{self.url}actions/T0/1/abc" if reply is None else reply,
            "actions": [
                {"action_id": action, "block_id": "b", "type": "button", "value": value, "action_ts": f"{now:.6f}"}
            ],
        }
        return sign(urlencode({"payload": json.dumps(payload)}).encode(), now)

    def _answer(self, found: Received) -> bytes:
        if found.path.startswith("/actions/"):
            self.replies.append(json.loads(found.body))
            return answer(200, "Content-Type: text/plain", body=b"ok")
        if found.headers.get("authorization") != f"Bearer {TOKEN}":
            return _json({"ok": False, "error": "invalid_auth"})
        if self.rate_limited:
            self.rate_limited -= 1
            return answer(429, "Retry-After: 1", body=b'{"ok":false,"error":"ratelimited"}')
        if self.error:
            return _json({"ok": False, "error": self.error})
        told = json.loads(found.body)
        return self._update(told) if found.path.endswith("chat.update") else self._post(told)

    def _post(self, told: dict[str, Any]) -> bytes:
        self.posts += 1
        ts = f"1700000000.{self.posts:06}"
        self.messages[ts] = told
        return _json({"ok": True, "channel": told["channel"], "ts": ts, "message": {"text": told["text"]}})

    def _update(self, told: dict[str, Any]) -> bytes:
        self.updates += 1
        if told["ts"] not in self.messages:
            return _json({"ok": False, "error": "message_not_found"})
        self.messages[told["ts"]] = told
        return _json({"ok": True, "channel": told["channel"], "ts": told["ts"], "text": told["text"]})


def sign(body: bytes, now: float, secret: str = SIGNING_SECRET) -> tuple[bytes, str, str]:
    """Slack docs, "Verifying requests from Slack": v0:timestamp:body."""
    timestamp = str(int(now))
    digest = hmac.new(secret.encode(), b":".join((b"v0", timestamp.encode(), body)), sha256).hexdigest()
    return body, timestamp, f"v0={digest}"


def buttons(message: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The buttons of a message, by action id."""
    actions = [block for block in message["blocks"] if block["type"] == "actions"]
    return {element["action_id"]: element for block in actions for element in block["elements"]}


def _json(told: Mapping[str, object]) -> bytes:
    return answer(200, "Content-Type: application/json; charset=utf-8", body=json.dumps(told).encode())
