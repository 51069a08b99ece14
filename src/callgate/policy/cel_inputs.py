"""What a condition's variables are in one call."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final, TypeAlias

from callgate.identity.user import User
from callgate.policy.call import Call
from callgate.policy.tags import ToolTags

# None: there is no such thing in this call.
Input: TypeAlias = str | int | list[str] | Mapping[str, object] | datetime | timedelta | None

_WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _moment(seconds: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _span(seconds: float) -> timedelta | None:
    try:
        return timedelta(seconds=seconds)
    except (OverflowError, ValueError):
        return None


def _by_clock(read: Callable[[datetime], str | int]) -> Callable[[Call, ToolTags], Input]:
    """Something of `now` in UTC."""

    def read_moment(call: Call, _: ToolTags) -> Input:
        moment = _moment(call.now)
        return None if moment is None else read(moment)

    return read_moment


def _of_user(read: Callable[[User], Input]) -> Callable[[Call, ToolTags], Input]:
    return lambda call, _: None if call.user is None else read(call.user)


def _tags(call: Call, tags: ToolTags) -> Input:
    return None if call.tool is None else sorted(tags.of(call.server, call.tool))


INPUTS: Final[Mapping[str, Callable[[Call, ToolTags], Input]]] = MappingProxyType(
    {
        "args": lambda call, _: call.arguments,
        "caller.id": lambda call, _: str(call.caller),
        "caller.trust_domain": lambda call, _: call.caller.trust_domain.name,
        "caller.path": lambda call, _: call.caller.path.split("/")[1:],
        "caller.svid_age": lambda call, _: _span(call.now - call.svid_not_before),
        "caller.svid_left": lambda call, _: _span(call.svid_not_after - call.now),
        "tool.name": lambda call, _: call.tool,
        "tool.server": lambda call, _: call.server,
        "tool.tags": _tags,
        "tool.annotations": lambda call, _: call.annotations,
        "request.method": lambda call, _: call.method,
        "request.revision": lambda call, _: call.revision,
        "request.size": lambda call, _: call.size_bytes,
        "request.purpose": lambda call, _: call.purpose,
        "request.hour": _by_clock(lambda moment: moment.hour),
        "request.minute": _by_clock(lambda moment: moment.minute),
        "request.weekday": _by_clock(lambda moment: _WEEKDAYS[moment.weekday()]),
        "now": lambda call, _: _moment(call.now),
        "user.present": lambda call, _: call.user is not None,
        "user.subject": _of_user(lambda user: user.subject),
        "user.issuer": _of_user(lambda user: user.issuer),
        "user.groups": _of_user(lambda user: list(user.groups)),
        "user.claims": _of_user(lambda user: user.claims),
    }
)

_ABSENT: Final = {
    "args": "the request has no arguments",
    "tool.name": "the request names no tool",
    "tool.tags": "the request names no tool",
    "tool.annotations": "the tool's annotations are not known",
}


def absent_words(variable: str) -> str:
    """Why a variable has no value."""
    return _ABSENT.get(variable) or f"{'user' if variable.startswith('user.') else variable} is not known"
