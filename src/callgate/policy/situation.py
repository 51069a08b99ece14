"""A call as a person writes it down: who, on whose behalf, when, after what, and what is asked for.

`callgate test` reads situations from test files, `callgate explain` from its flags or from a file.  Pure: it reads
text.  Unlike a policy, a situation may hold `null` as a value: an agent can send one as an argument.
"""

from collections.abc import Iterable
from dataclasses import replace
from types import MappingProxyType
from typing import Annotated, Final, Self, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, WithJsonSchema, model_validator

from callgate.identity.spiffe_id import InvalidSpiffeId, SpiffeId
from callgate.identity.user import User
from callgate.policy.call import Call
from callgate.policy.history import History, WorkloadHistory
from callgate.policy.model import MAX_NAME_CHARACTERS, Name, check_server_name
from callgate.policy.moments import Moment
from callgate.policy.patterns import TOOL_NAME
from callgate.wire.json_strict import dumps
from callgate.wire.methods import MODERN_REVISION
from callgate.wire.params import PURPOSE
from callgate.yaml_model import Items, M, Seconds, StrictModel, Written, read_written, text_form
from callgate.yaml_strict import Problem

# A day of a busy agent in a test; the gate itself remembers more.
MAX_EVENTS: Final = 1_000
# Wednesday, 2026-01-07T12:00:00Z: within office hours from London to Moscow, so that a test without `at` means the same
# on each day and at each hour that it is run.
DEFAULT_AT: Final = 1_767_787_200.0
# SPIRE's default SVID lives for an hour.
DEFAULT_SVID_AGE_S: Final = 5 * 60
DEFAULT_SVID_LEFT_S: Final = 55 * 60
# Where any JSON may stand, `null` included.
_FREE: Final = frozenset({"args", "annotations", "claims"})

ToolOnServer: TypeAlias = tuple[str, str]


def workload(value: object) -> SpiffeId:
    """A workload's SPIFFE ID.  Raises ValueError."""
    try:
        found = SpiffeId.parse(value if isinstance(value, str) else "")
    except InvalidSpiffeId as error:
        raise ValueError("must be a SPIFFE ID, such as spiffe://acme.test/ns/billing/sa/agent") from error
    if not found.path:
        raise ValueError("must be a workload's SPIFFE ID; this one names a whole trust domain")
    return found


def _tool_on_server(value: object) -> ToolOnServer:
    server, slash, tool = value.partition("/") if isinstance(value, str) else ("", "", "")
    if not slash or TOOL_NAME.fullmatch(tool) is None:
        raise ValueError("must be a server and a tool of it, such as ledger/refund")
    return check_server_name(server), tool


def _denied(value: object) -> tuple[str, str | None]:
    return ("", None) if value is True else _tool_on_server(value)


_TOOL_ON_SERVER: Final = text_form(f"[a-z0-9-]{{1,63}}/{TOOL_NAME.pattern}", "ledger/refund")

Workload = Annotated[
    SpiffeId,
    BeforeValidator(workload),
    text_form(r"spiffe://[a-z0-9._-]{1,255}(?:/[A-Za-z0-9._-]+)+", "spiffe://acme.test/ns/billing/sa/agent"),
]


def _purpose(text: str) -> str:
    if text and PURPOSE.fullmatch(text) is None:
        raise ValueError("must be 1 to 128 printable ASCII characters, or '' for none: the gate takes no other")
    return text


Event = Annotated[ToolOnServer, BeforeValidator(_tool_on_server), _TOOL_ON_SERVER]
# Which tool it was makes no difference to a condition; people write it down all the same.
DeniedEvent = Annotated[
    tuple[str, str | None],
    BeforeValidator(_denied),
    WithJsonSchema({"anyOf": [{"const": True}, _TOOL_ON_SERVER.json_schema]}),
]
FreeObject = dict[str, JsonValue]
ToolText = Annotated[str, Field(max_length=MAX_NAME_CHARACTERS)]
PurposeText = Annotated[str, AfterValidator(_purpose), text_form(f"(?:{PURPOSE.pattern})?", "refunds")]


class UserEntry(StrictModel):
    """The user whose access token came with the call, as the gate would have read it."""

    issuer: Name
    subject: Name
    groups: Items[Name] = Field(default=(), max_length=MAX_EVENTS)
    claims: FreeObject = Field(default_factory=dict)

    def made(self) -> User:
        """What a policy is asked about."""
        return User(self.issuer, self.subject, self.groups, MappingProxyType(dict(self.claims)))


class EventEntry(StrictModel):
    """What this workload did before: a tool that it called, or a denial (`true`, or the tool); one of the two."""

    call: Event | None = None
    denied: DeniedEvent | None = None
    ago_s: Seconds = Field(alias="ago")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.call is None) == (self.denied is None):
            raise ValueError("must have 'call' or 'denied', and not both")
        return self


class CallEntry(StrictModel):
    """What is asked for.  `size` is the body's, in bytes: that of the arguments alone unless it is given."""

    server: Annotated[str, AfterValidator(check_server_name)]
    method: Name = "tools/call"
    tool: ToolText | None = None
    args: FreeObject | None = None
    purpose: PurposeText = ""
    revision: Name = MODERN_REVISION
    size: int | None = Field(default=None, ge=0)
    annotations: FreeObject | None = None

    @model_validator(mode="after")
    def _tool_for_a_call(self) -> Self:
        if self.method == "tools/call" and self.tool is None:
            raise ValueError("needs a tool, because its method is tools/call")
        if self.method != "tools/call" and (self.tool is not None or self.args is not None):
            raise ValueError("has a tool or args, which only the method tools/call has")
        return self


class Situation(StrictModel):
    """All of it.  `at` is Unix seconds; None: DEFAULT_AT in tests, now for `callgate explain`."""

    who: Workload | None = None
    user: UserEntry | None = None
    at: Moment | None = None
    svid_age_s: Seconds = Field(default=DEFAULT_SVID_AGE_S, alias="svid_age")
    svid_left_s: Seconds = Field(default=DEFAULT_SVID_LEFT_S, alias="svid_left")
    history: Items[EventEntry] = Field(default=(), max_length=MAX_EVENTS)
    call: CallEntry | None = None


def call_of(situation: Situation, caller: SpiffeId, asked: CallEntry, now: float) -> Call:
    """The call to decide on, at `now` in Unix seconds."""
    arguments = asked.args or {} if asked.method == "tools/call" else None
    return Call(
        caller=caller,
        server=asked.server,
        method=asked.method,
        tool=asked.tool,
        arguments=arguments,
        now=now,
        svid_not_before=now - situation.svid_age_s,
        svid_not_after=now + situation.svid_left_s,
        revision=asked.revision,
        size_bytes=len(dumps(arguments or {})) if asked.size is None else asked.size,
        purpose=asked.purpose,
        user=situation.user.made() if situation.user else None,
        annotations=asked.annotations,
        history=_remembered(situation.history, caller, now),
    )


def as_list(call: Call) -> Call:
    """The `tools/list` that the same workload would send in the same situation.

    The tool's annotations stay: the gate asks of each tool in a list with those that this tool has.
    """
    return replace(call, method="tools/list", tool=None, arguments=None)


def _remembered(events: Iterable[EventEntry], caller: SpiffeId, now: float) -> WorkloadHistory:
    history = History()
    for event in sorted(events, key=lambda event: event.ago_s, reverse=True):
        if event.call is not None:
            history.record_call(caller, *event.call, now - event.ago_s)
        if event.denied is not None:
            history.record_denial(caller, *event.denied, now - event.ago_s)
    return history.of(caller)


def read_free(text: str, filename: str, model: type[M]) -> Written[M] | tuple[Problem, ...]:
    """`read_written`, but for `null`, which may stand within arguments, annotations and claims."""
    return read_written(text, filename, model, free=_FREE)
