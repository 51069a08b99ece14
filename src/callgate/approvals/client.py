"""A running gate at the other end of its admin socket, as `callgate approvals` and the demo ask it.  Blocking.

The kernel tells the gate which user of this machine asks: there is no key and no password.
"""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx2
import orjson

from callgate.approvals.model import VoteRefusal
from callgate.errors import GatewayError
from callgate.telemetry.visible import visible
from callgate.wire.json_strict import JsonObject, JsonValue

# Longer than the gate waits for its store (2 s).
_PATIENCE_S: Final = 10.0
# The gate says something on a stream of events every 15 s.
_EVENTS_PATIENCE_S: Final = 40.0
# 1,000 requests of 2 KiB, or one call of 1 MiB with all its characters escaped.
_MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024
_MAX_EVENT_BYTES: Final = 4096
_MAX_MESSAGE: Final = 1000
# Nothing resolves it: the socket is where the gate is.
_BASE: Final = "http://localhost/api/v1"
MIN_ID_CHARACTERS: Final = 4
_ID: Final = re.compile(f"[0-9a-f]{{{MIN_ID_CHARACTERS},32}}")
_WHOLE_ID_CHARACTERS: Final = 32
_STATES: Final = ("open", "ended")


class NoAnswer(GatewayError):  # noqa: N818  # says what there is not
    """No gate answered at the socket, or not as a gate does.  The message says why, and what to do."""


class WentAway(NoAnswer):
    """Nobody listens there, now: a gate that starts anew does so soon."""


class NoSuchRequest(GatewayError):  # noqa: N818  # says what there is not
    """No request has that id, or several begin with it."""


class NotTaken(GatewayError):  # noqa: N818  # says what happened
    """The gate refused.  `code`: its stable code for that."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(_WHAT_TO_DO.get(code, message))
        self.code = code


# What a person at a terminal can do about it; elsewhere the gate's own sentence says enough.
_WHAT_TO_DO: Final = {
    VoteRefusal.FINISHED.value: "it was decided before; callgate approvals show tells by whom",
    VoteRefusal.AGENTS_OWN_USER.value: (
        "you are the user that runs the asking agent, and no agent may answer what it asks: let another user of this"
        " machine answer, or somebody who signs in at the identity provider"
    ),
    "not_this_user": "the gate lets nobody answer as this user of the machine; see approvals.socket.users",
}


@dataclass(frozen=True, slots=True)
class AdminSocket:
    """The gate at `path`.  Every method raises NoAnswer and NotTaken."""

    path: Path

    def listed(self, state: str) -> list[JsonObject]:
        """The requests that are `open` or `ended`, without their arguments."""
        found = self._asked("GET", f"/approvals?state={state}").get("approvals")
        if not isinstance(found, list):
            raise NoAnswer(self._not_a_gate)
        return [each for each in found if isinstance(each, dict)]

    def request(self, id_: str) -> JsonObject:
        """One request as a person is shown it, by its id or the beginning of that.  Raises NoSuchRequest."""
        return self._asked("GET", f"/approvals/{self._whole(id_)}")

    def decide(self, id_: str, said: JsonObject) -> JsonObject:
        """Say what a person says, bound to what that person has read; the request as it stands then."""
        return self._asked("POST", f"/approvals/{id_}/decision", said)

    def link(self) -> JsonObject:
        """An address that signs the person in on the page, once: a secret."""
        return self._asked("POST", "/links", {})

    def changes(self) -> Iterator[None]:
        """One item at first, and one for each change; raises WentAway where the gate ends it."""
        with self._talking(_EVENTS_PATIENCE_S) as client, client.stream("GET", f"{_BASE}/events") as answer:
            if answer.status_code != httpx2.codes.OK:
                raise _refusal(self._read(answer))
            for line in answer.iter_lines():
                if len(line) > _MAX_EVENT_BYTES:
                    raise NoAnswer(self._not_a_gate)
                # WHATWG HTML, 9.2.6: an event is sent off by the empty line behind it; its last line is `data`.
                if line.startswith("data:"):
                    yield None
        raise WentAway(f"the gate at {_shown(self.path)} has stopped")

    def _asked(self, method: str, target: str, body: JsonValue = None) -> JsonObject:
        content = None if body is None else orjson.dumps(body)
        headers = {} if body is None else {"content-type": "application/json"}
        with (
            self._talking(_PATIENCE_S) as client,
            client.stream(method, _BASE + target, content=content, headers=headers) as answer,
        ):
            found = self._read(answer)
        if not answer.is_success:
            raise _refusal(found)
        return found

    def _whole(self, id_: str) -> str:
        if not _ID.fullmatch(id_):
            raise NoSuchRequest(f"{visible(id_, 40)} is no id: at least {MIN_ID_CHARACTERS} of the digits 0-9 and a-f")
        if len(id_) == _WHOLE_ID_CHARACTERS:
            return id_
        ids = {str(each.get("id")) for state in _STATES for each in self.listed(state)}
        found = sorted(each for each in ids if each.startswith(id_))
        if len(found) != 1:
            several = f"{len(found)} requests begin with {id_}: say more of it"
            raise NoSuchRequest(several if found else f"no request has the id {id_}")
        return found[0]

    @contextmanager
    def _talking(self, patience_s: float) -> Iterator[httpx2.Client]:
        self._knock()
        transport = httpx2.HTTPTransport(uds=str(self.path))
        try:
            with httpx2.Client(transport=transport, timeout=patience_s, trust_env=False) as client:
                yield client
        except httpx2.TimeoutException:
            raise WentAway(f"the gate at {_shown(self.path)} does not answer") from None
        except httpx2.TransportError:
            raise WentAway(f"the gate at {_shown(self.path)} closed the connection") from None

    def _knock(self) -> None:
        """Is anybody there?  What the HTTP client makes of the system's words does not say why there is not."""
        path = _shown(self.path)
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(_PATIENCE_S)
                probe.connect(str(self.path))
        except FileNotFoundError:
            raise WentAway(
                f"there is no socket {path}: is the gate running, and does its configuration have approvals?"
            ) from None
        except ConnectionRefusedError:
            raise WentAway(f"nobody listens at {path}: the gate is not running") from None
        except PermissionError:
            raise NoAnswer(f"you may not open {path}: only users that approvals.socket.users names may") from None
        except OSError as error:
            raise NoAnswer(f"{path}: {error.strerror or error}") from None

    def _read(self, answer: httpx2.Response) -> JsonObject:
        received = b""
        for chunk in answer.iter_bytes():
            received += chunk
            if len(received) > _MAX_ANSWER_BYTES:
                raise NoAnswer(f"the gate at {_shown(self.path)} says more than {_MAX_ANSWER_BYTES} bytes")
        try:
            found = orjson.loads(received)
        except orjson.JSONDecodeError:
            found = None
        if not isinstance(found, dict):
            raise NoAnswer(self._not_a_gate)
        return found

    @property
    def _not_a_gate(self) -> str:
        return f"what answers at {_shown(self.path)} is no gate of this version"


def _refusal(found: JsonObject) -> GatewayError:
    code, message = str(found.get("error")), visible(str(found.get("message")), _MAX_MESSAGE)
    return NoSuchRequest(message) if code == VoteRefusal.UNKNOWN else NotTaken(code, message)


def _shown(path: Path) -> str:
    return visible(str(path), _MAX_MESSAGE)
