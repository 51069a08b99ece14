"""The part `approvals` of callgate.yaml: where people are asked, who they are, and how they learn of it.

Pure: it looks at the form of addresses and paths and opens nothing.  Secrets stand in files of their own, named here.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from callgate.addresses import Address, Url
from callgate.config_values import ClaimName, Issuer, ServerUrl, Text
from callgate.policy.approval_entries import LOCAL_GROUP, LOCAL_PREFIX, MAX_PEOPLE, Group, Person
from callgate.yaml_model import Items, LongSeconds, Seconds, StrictModel, seconds_from_zero, text_form

# RFC 6749, appendix A.4: scope-token = 1*NQCHAR.
_SCOPE: Final = re.compile(r"[!#-\[\]-~]{1,128}")
# useradd(8): "usernames [...] may only be up to 32 characters long"; and what directories put behind a '+' or '@'.
_USER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.@+-]{0,63}\$?")
# Also a label in metrics.
_WEBHOOK_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
# Slack's IDs begin with a letter for what they are of: C and G conversations, D direct messages, U and W people.
_CHANNEL: Final = re.compile("[CDG][A-Z0-9]{2,31}")
_MEMBER: Final = re.compile("[UW][A-Z0-9]{2,31}")
MAX_CLIENT_ID_CHARACTERS: Final = 256
MAX_SCOPES: Final = 32
# People who sit at the machine itself.
MAX_SOCKET_USERS: Final = 100
# Each is told of every event; they are rooms, not people.
MAX_WEBHOOKS: Final = 16
MAX_SLACK_PEOPLE: Final = 1_000
_DAY_S: Final = 24 * 3600
_DATABASE: Final = "approvals.db"
_SOCKET: Final = "admin.sock"
SLACK_API: Final = "https://slack.com/api"

Event = Literal["asked", "seen", "agreed", "approved", "denied", "used", "expired", "void"]


def _check_scope(text: str) -> str:
    if _SCOPE.fullmatch(text) is None:
        raise ValueError("must be a scope: printable ASCII characters without spaces, '\"' and '\\'")
    return text


def _check_scopes(scopes: tuple[str, ...]) -> tuple[str, ...]:
    # OpenID Connect Core, section 3.1.2.1: "OpenID Connect requests MUST contain the openid scope value."
    if "openid" not in scopes:
        raise ValueError("must hold 'openid': without it a provider does not say who signed in")
    return scopes


def _check_user(text: str) -> str:
    if _USER.fullmatch(text) is None:
        raise ValueError("must be the name of a user of this machine, such as ada")
    return text


def _check_webhook_name(text: str) -> str:
    if _WEBHOOK_NAME.fullmatch(text) is None:
        raise ValueError("must be 1 to 63 of a-z, 0-9 and '-', and start with a letter or digit")
    return text


def _check_channel(text: str) -> str:
    if _CHANNEL.fullmatch(text) is None:
        raise ValueError("must be a channel's ID, such as C0123456789: Slack shows it below the channel's details")
    return text


def _check_member(text: str) -> str:
    if _MEMBER.fullmatch(text) is None:
        raise ValueError("must be a member's ID, such as U0123456789: Slack shows it in the member's profile")
    return text


def _check_signed_in(name: str) -> str:
    if name.startswith(LOCAL_PREFIX):
        raise ValueError(f"must not start with '{LOCAL_PREFIX}': so are those called who come by the admin socket")
    return name


def _check_groups(groups: tuple[str, ...]) -> tuple[str, ...]:
    if LOCAL_GROUP in groups:
        raise ValueError(
            f"must not hold '{LOCAL_GROUP}': in that group is who comes by the admin socket, and nobody else"
        )
    return groups


def _off_is_none(value: object) -> object:
    if isinstance(value, str):
        if value != "off":
            raise ValueError("must be a mapping of keys to values, or off")
        return None
    return value


Scope = Annotated[str, AfterValidator(_check_scope), text_form(_SCOPE.pattern, "openid")]
LocalUser = Annotated[str, AfterValidator(_check_user), text_form(_USER.pattern, "ada")]
WebhookName = Annotated[str, AfterValidator(_check_webhook_name), text_form(_WEBHOOK_NAME.pattern, "ops")]
Channel = Annotated[str, AfterValidator(_check_channel), text_form(_CHANNEL.pattern, "C0123456789")]
Member = Annotated[str, AfterValidator(_check_member), text_form(_MEMBER.pattern, "U0123456789")]
SignedIn = Annotated[Person, AfterValidator(_check_signed_in)]
SecondsFromZero = Annotated[int, BeforeValidator(seconds_from_zero), text_form("0s|[1-9][0-9]{0,6}[smh]", "5m", "0s")]


class SocketConfig(StrictModel):
    """The socket by which users of this machine list, approve and deny; the kernel tells who is there.

    `path`: `ApprovalsConfig.socket_path` says where it is.  No `users`: the gate's own user alone.
    """

    path: Text | None = None
    users: Items[LocalUser] = Field(default=(), max_length=MAX_SOCKET_USERS)
    agents_share_user: bool = False


class SignInConfig(StrictModel):
    """An OpenID Connect provider.  Without `client_secret_file` the gate is a public client, and PKCE alone binds."""

    issuer: ServerUrl
    client_id: Annotated[str, Field(min_length=1, max_length=MAX_CLIENT_ID_CHARACTERS)]
    client_secret_file: Text | None = None
    scopes: Annotated[Items[Scope], Field(min_length=1, max_length=MAX_SCOPES), AfterValidator(_check_scopes)] = (
        "openid",
        "profile",
        "email",
        "groups",
    )
    name_claim: ClaimName = "email"
    groups_claim: ClaimName = "groups"
    ca_file: Text | None = None
    idle_s: Seconds = Field(
        default=15 * 60,
        alias="idle",
        ge=60,
        le=_DAY_S,
        description="a screen that is left unlocked, and the next reader",
    )
    longest_s: Seconds = Field(
        default=3600,
        alias="longest",
        ge=60,
        le=_DAY_S,
        description="who left a team cannot answer for longer than this",
    )

    @model_validator(mode="after")
    def _idle_within_longest(self) -> Self:
        if self.idle_s > self.longest_s:
            raise ValueError("must not have an 'idle' that is longer than 'longest'")
        return self


class WebhookConfig(StrictModel):
    """An address that is told what happens, signed by the Standard Webhooks specification."""

    name: WebhookName
    url: ServerUrl
    secret_file: Text
    events: Items[Event] = Field(default=("asked", "approved", "denied", "expired"), min_length=1)
    ca_file: Text | None = None


class SlackPersonConfig(StrictModel):
    """Who a member of a Slack workspace is to policies."""

    name: SignedIn
    groups: Annotated[Items[Group], Field(max_length=MAX_PEOPLE), AfterValidator(_check_groups)] = ()


class SlackConfig(StrictModel):
    """A channel that is told of each request.  `people`: whose clicks count; with `approve_in_slack` they may approve, too."""

    channel: Channel
    token_file: Text
    signing_secret_file: Text
    people: Mapping[Member, SlackPersonConfig] = Field(
        default_factory=lambda: MappingProxyType({}), max_length=MAX_SLACK_PEOPLE
    )
    approve_in_slack: bool = False
    api: ServerUrl = SLACK_API

    @field_validator("people")
    @classmethod
    def _frozen(cls, people: Mapping[str, SlackPersonConfig]) -> Mapping[str, SlackPersonConfig]:
        return MappingProxyType(people)


class ApprovalsConfig(StrictModel):
    """Where people are asked.  Paths are relative to the folder of callgate.yaml.

    `url`: what `Config` makes of the admin listener unless it is given; "" where the system chooses its port.
    `socket`: None where there is none.
    """

    folder: Text = "approvals"
    url: Issuer = ""
    keep_s: LongSeconds = Field(
        default=_DAY_S,
        alias="keep",
        ge=60,
        le=90 * _DAY_S,
        description="the log keeps it for ever; this is for the page",
    )
    max_waiting: int = Field(
        default=10_000, ge=1, le=100_000, description="2 KiB each without arguments, and more than people can look over"
    )
    max_waiting_per_workload: int = Field(
        default=20, ge=1, le=100_000, description="one agent that asks without end hides nobody else's request"
    )
    cool_down_s: SecondsFromZero = Field(
        default=5 * 60, alias="cool_down", le=_DAY_S, description="an agent that tries again at once meets nobody"
    )
    socket: Annotated[
        SocketConfig | None, BeforeValidator(_off_is_none, json_schema_input_type=SocketConfig | Literal["off"])
    ] = Field(default_factory=SocketConfig)
    sign_in: SignInConfig | None = None
    webhooks: Items[WebhookConfig] = Field(default=(), max_length=MAX_WEBHOOKS)
    slack: SlackConfig | None = None

    @field_validator("webhooks")
    @classmethod
    def _named_once(cls, webhooks: tuple[WebhookConfig, ...]) -> tuple[WebhookConfig, ...]:
        names = [entry.name for entry in webhooks]
        if len(set(names)) < len(names):
            raise ValueError("must name each webhook once")
        return webhooks

    @model_validator(mode="after")
    def _somebody_can_answer(self) -> Self:
        by_slack = self.slack is not None and self.slack.approve_in_slack
        if self.socket is None and self.sign_in is None and not by_slack:
            raise ValueError("must have 'sign_in', or a 'socket' that is not off: nobody could answer")
        return self

    @property
    def database(self) -> str:
        """The file that keeps requests."""
        return _within(self.folder, _DATABASE)

    @property
    def socket_path(self) -> str | None:
        """Where the admin socket is; None where there is none."""
        if self.socket is None:
            return None
        return self.socket.path or _within(self.folder, _SOCKET)


def _within(folder: str, name: str) -> str:
    return f"{folder.rstrip('/')}/{name}"


def site_url(listen: Address, *, is_tls: bool) -> str:
    """Where people reach what an admin listener serves; raises ValueError where its address does not tell."""
    if listen.is_wildcard:
        raise ValueError(f"needs a 'url', at which people's browsers reach it: admin.listen {listen} names no host")
    if not listen.is_loopback and not is_tls:
        raise ValueError(
            "needs a 'url' that starts with https://: admin.tls is off, and people must not sign in over http"
        )
    if listen.port == 0 and not listen.is_loopback:
        raise ValueError(
            "needs a 'url', at which people's browsers reach it: admin.listen lets the system choose its port"
        )
    scheme = "https" if is_tls else "http"
    return f"{scheme}://{Url('', scheme, listen.host, listen.port, '').authority}"
