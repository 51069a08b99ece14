"""MCP's methods as a table: who may send what in which revision, what it is about, and whether the gate serves it.

What is not in the table does not exist, and what is in it is refused unless its `service` says otherwise.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

LEGACY_REVISION: Final = "2025-11-25"
MODERN_REVISION: Final = "2026-07-28"
SERVED_REVISIONS: Final = (MODERN_REVISION, LEGACY_REVISION)
# Revisions before the modern era.  The gate serves the newest of them only; a client may name any in `initialize`.
HANDSHAKE_REVISIONS: Final = frozenset({"2024-11-05", "2025-03-26", "2025-06-18", LEGACY_REVISION})


class Era(StrEnum):
    """The two ways to speak MCP: with an `initialize` handshake, or with metadata on every request."""

    LEGACY = "legacy"
    MODERN = "modern"


class Kind(StrEnum):
    """Whether the sender waits for an answer."""

    REQUEST = "request"
    NOTIFICATION = "notification"


class Subject(StrEnum):
    """What a policy has to look at to decide on a method, by the place in `params` where it stands."""

    NONE = "none"
    TOOL = "name, arguments"
    PROMPT = "name, arguments of a prompt"
    RESOURCE = "uri"
    REFERENCE = "ref"
    SUBSCRIPTIONS = "notifications"
    TASK = "taskId"


class Service(StrEnum):
    """What the gate does with a method: decides and forwards it, takes it and lets it end here, or refuses it."""

    SERVED = "served"
    ABSORBED = "absorbed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Method:
    """One row.  `params`: the members that may stand in its params beside `_meta`."""

    eras: frozenset[Era]
    kind: Kind = Kind.REQUEST
    subject: Subject = Subject.NONE
    service: Service = Service.REFUSED
    params: frozenset[str] = frozenset()


_LEGACY: Final = frozenset({Era.LEGACY})
_MODERN: Final = frozenset({Era.MODERN})
_BOTH: Final = _LEGACY | _MODERN
# Where `Mcp-Name` mirrors a member of params (2026-07-28, basic/transports/streamable-http, "Standard Request
# Headers"); the tasks extension adds the last.
NAME_MEMBERS: Final[Mapping[Subject, str]] = MappingProxyType(
    {Subject.TOOL: "name", Subject.PROMPT: "name", Subject.RESOURCE: "uri", Subject.TASK: "taskId"},
)

_SERVED: Final = {
    "initialize": Method(
        _LEGACY, service=Service.SERVED, params=frozenset({"protocolVersion", "capabilities", "clientInfo"})
    ),
    "notifications/initialized": Method(_LEGACY, Kind.NOTIFICATION, service=Service.SERVED),
    "ping": Method(_LEGACY, service=Service.SERVED),
    "server/discover": Method(_MODERN, service=Service.SERVED),
    "tools/list": Method(_BOTH, service=Service.SERVED, params=frozenset({"cursor"})),
    # `task`, `inputResponses` and `requestState` are known and left out: they change what is run, and no policy looks
    # at them yet.
    "tools/call": Method(_BOTH, subject=Subject.TOOL, service=Service.SERVED, params=frozenset({"name", "arguments"})),
}
# Clients send these of their own accord, and treat a refusal as the end of the connection.  They change nothing that
# the gate serves: a cancelled call is cancelled by hanging up.
_ABSORBED: Final = {
    "notifications/cancelled": Method(_BOTH, Kind.NOTIFICATION, service=Service.ABSORBED),
    "notifications/progress": Method(_LEGACY, Kind.NOTIFICATION, service=Service.ABSORBED),
    "notifications/roots/list_changed": Method(_LEGACY, Kind.NOTIFICATION, service=Service.ABSORBED),
}
_REFUSED: Final = {
    "resources/list": Method(_BOTH),
    "resources/templates/list": Method(_BOTH),
    "resources/read": Method(_BOTH, subject=Subject.RESOURCE),
    "resources/subscribe": Method(_LEGACY, subject=Subject.RESOURCE),
    "resources/unsubscribe": Method(_LEGACY, subject=Subject.RESOURCE),
    "prompts/list": Method(_BOTH),
    "prompts/get": Method(_BOTH, subject=Subject.PROMPT),
    "completion/complete": Method(_BOTH, subject=Subject.REFERENCE),
    "logging/setLevel": Method(_LEGACY),
    "subscriptions/listen": Method(_MODERN, subject=Subject.SUBSCRIPTIONS),
    "tasks/list": Method(_LEGACY),
    "tasks/get": Method(_BOTH, subject=Subject.TASK),
    "tasks/result": Method(_LEGACY, subject=Subject.TASK),
    "tasks/update": Method(_MODERN, subject=Subject.TASK),
    "tasks/cancel": Method(_BOTH, subject=Subject.TASK),
    "notifications/tasks/status": Method(_LEGACY, Kind.NOTIFICATION, subject=Subject.TASK),
}

METHODS: Final[Mapping[str, Method]] = MappingProxyType(_SERVED | _ABSORBED | _REFUSED)
"""Every method that a client may send by the two revisions, and by the tasks extension of the modern one."""
