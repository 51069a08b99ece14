"""callgate.yaml: where things are.  Who may do what stands in the policy file that it names.

Pure: it reads text.  The whole file is refused for one mistake in it, and all of them are told at once.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, WithJsonSchema, field_validator

from callgate.addresses import Address, Url, check_authority, parse_address
from callgate.identity.endpoint import InvalidEndpoint, parse_endpoint
from callgate.identity.spiffe_id import InvalidSpiffeId, SpiffeId
from callgate.limits.admission import DEFAULT_MAX_CONCURRENT, ServerLimits
from callgate.limits.breaker import DEFAULT_FAILURES, DEFAULT_OPEN_S, BreakerLimits
from callgate.limits.rates import Rate
from callgate.policy.model import ServerName, TokenSeconds, WindowSeconds
from callgate.tokens.claims import DEFAULT_TTL_S
from callgate.users.discovery import DEFAULT_MAX_STALE_S, IssuerSettings, check_key_url
from callgate.users.key_set import KEY_KINDS
from callgate.users.user_token import DEFAULT_ALGORITHMS, DEFAULT_LEEWAY_S, MAX_LEEWAY_S, TokenRules, TokenTypes
from callgate.yaml_model import Items, Seconds, StrictModel, read_model, text_form
from callgate.yaml_strict import Document, Problem, load

MAX_SERVERS: Final = 1_000
# SPIFFE Workload API: hints of more than 1024 bytes SHOULD NOT be supported.
MAX_HINT_CHARACTERS: Final = 1_024
# Each is asked for its keys every five minutes; an organisation has one or two, and one for each partner.
MAX_USER_ISSUERS: Final = 16
MAX_USER_CLAIMS: Final = 32
# More than an organisation has teams that each write a part; all of them are looked at ten times a second.
MAX_POLICY_FILES: Final = 100
# PATH_MAX of Linux.
_MAX_PATH_CHARACTERS: Final = 4_096

# RFC 8707, section 2: "an absolute URI [...] MUST NOT include a fragment component".
_USER_AUDIENCE: Final = re.compile(r"[!-~]{1,1000}")
_AUDIENCE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-\"$-~]{1,2000}")


def _address(value: object) -> Address:
    if not isinstance(value, str):
        raise ValueError("must be an address and a port, as in 0.0.0.0:8443 or '[::]:8443'")  # noqa: TRY004  # pydantic's
    return parse_address(value)


def _check_url(text: str) -> Url:
    url = Url.parse(text)
    if url.scheme == "http" and not url.is_loopback:
        raise ValueError("must start with https://; http is for this machine alone (127.0.0.1, [::1], localhost)")
    return url


def _check_issuer(text: str) -> str:
    # RFC 8414, section 2: "using the https scheme with no query or fragment components"; section 3 puts the metadata
    # of an issuer with a path elsewhere than where it is served here.
    if _check_url(text).path:
        raise ValueError("must end with its host or port: no path, no '/' at the end")
    return text


def _check_server_url(text: str) -> str:
    return _check_url(text).text


def _check_origin(text: str) -> str:
    # RFC 6454, section 6.2: scheme "://" host [ ":" port ], the port only where it is not the scheme's own.
    url = Url.parse(text)
    if text != f"{url.scheme}://{url.authority}":
        raise ValueError(f"must be an origin as browsers send it, such as {url.scheme}://{url.authority}")
    return text


def _check_collector(text: str) -> str:
    return Url.parse(text).text


def _check_workload_api(text: str) -> str:
    try:
        return parse_endpoint(text).address
    except InvalidEndpoint as error:
        raise ValueError(f"cannot be used: {error}") from error


def _check_audience(text: str) -> str:
    if _AUDIENCE.fullmatch(text) is None:
        raise ValueError("must be an absolute URI without a fragment (RFC 8707)")
    return text


def _check_user_audience(text: str) -> str:
    if _USER_AUDIENCE.fullmatch(text) is None:
        raise ValueError("must be 1 to 1000 printable ASCII characters without spaces")
    return text


def _check_algorithm(text: str) -> str:
    if text not in KEY_KINDS:
        raise ValueError(f"must be one of {', '.join(KEY_KINDS)}")
    return text


def _spiffe_id(value: object) -> SpiffeId:
    try:
        found = SpiffeId.parse(value if isinstance(value, str) else "")
    except InvalidSpiffeId as error:
        raise ValueError("must be a SPIFFE ID, such as spiffe://acme.test/tools/ledger") from error
    if not found.path:
        raise ValueError("must be a workload's SPIFFE ID; this one names a whole trust domain")
    return found


def _policy_paths(value: object) -> tuple[str, ...]:
    paths = value if isinstance(value, list) else [value]
    texts = tuple(path for path in paths if isinstance(path, str))
    if len(texts) != len(paths) or len(paths) > MAX_POLICY_FILES:
        raise ValueError(f"must be a path, or a list of no more than {MAX_POLICY_FILES} paths")
    if not paths or not all(texts):
        raise ValueError("must not be empty")
    if any(len(text) > _MAX_PATH_CHARACTERS for text in texts):
        raise ValueError(f"has a path of more than {_MAX_PATH_CHARACTERS} characters")
    return texts


# One text or a list of texts in the file; always a tuple in Python.
PolicyPaths = Annotated[tuple[str, ...], BeforeValidator(_policy_paths, json_schema_input_type=str | list[str])]
_HOST_FORM: Final = r"(?:\[[0-9a-f:.]+\]|[a-z0-9.-]+)"
_URL_FORM: Final = text_form("https?://[^/?#@ ]+(?:/[^?# ]*)?", "https://ledger.acme.test/mcp")
_ORIGIN_FORM: Final = text_form("https?://[^/?#@ ]+", "https://gate.acme.test")

ListenAddress = Annotated[
    Address, BeforeValidator(_address), text_form(f"{_HOST_FORM}:[0-9]{{1,5}}", "0.0.0.0:8443", "[::]:8443")
]
ServerUrl = Annotated[str, AfterValidator(_check_server_url), _URL_FORM]
KeyUrl = Annotated[str, AfterValidator(check_key_url), text_form("https?://[^/?#@ ]+(?:[/?][^# ]*)?")]
Issuer = Annotated[str, AfterValidator(_check_issuer), _ORIGIN_FORM]
Origin = Annotated[str, AfterValidator(_check_origin), _ORIGIN_FORM]
Collector = Annotated[str, AfterValidator(_check_collector), text_form("https?://[^/?#@ ]+(?:/[^?# ]*)?")]
# OpenID Connect, section 2: `aud` is a case-sensitive string, or several; some providers write a bare identifier there.
UserAudience = Annotated[
    str, AfterValidator(_check_user_audience), text_form(_USER_AUDIENCE.pattern, "https://gate.acme.test")
]
Audience = Annotated[str, AfterValidator(_check_audience), text_form(_AUDIENCE.pattern, "https://ledger.acme.test/mcp")]
Authority = Annotated[
    str, AfterValidator(check_authority), text_form(f"{_HOST_FORM}(?::[0-9]{{1,5}})?", "gate.acme.test:8443")
]
WorkloadApi = Annotated[
    str,
    AfterValidator(_check_workload_api),
    text_form("unix:(?://)?/.+|tcp://.+:[0-9]{1,5}", "unix:///run/spire/agent.sock"),
]
ServerIdentity = Annotated[
    SpiffeId | None,
    BeforeValidator(_spiffe_id),
    text_form(r"spiffe://[a-z0-9._-]{1,255}(?:/[A-Za-z0-9._-]+)+", "spiffe://acme.test/tools/ledger"),
]
Algorithm = Annotated[
    str, AfterValidator(_check_algorithm), WithJsonSchema({"type": "string", "enum": list(KEY_KINDS)})
]
Text = Annotated[str, Field(min_length=1, max_length=4096)]
ClaimName = Annotated[str, Field(min_length=1, max_length=256)]
Bytes = Annotated[int, Field(ge=1024, le=1024**3)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
LimitSeconds = Annotated[float, Field(gt=0, le=7 * 24 * 3600, allow_inf_nan=False)]
ListScopes = Literal["minimal", "granted"]


class TokenConfig(StrictModel):
    """What a tool server expects of its tokens; `tokens.claims.TokenTarget` says more.

    `audience`: the server's `url` unless it is given.
    """

    audience: Audience = ""
    ttl_s: TokenSeconds = Field(default=DEFAULT_TTL_S, alias="ttl")
    typ: Literal["at+jwt", "JWT"] = "at+jwt"
    list_scopes: ListScopes = "minimal"


class TimeoutsConfig(StrictModel):
    """How long a tool server may take, in seconds; written as durations (`5s`, `2m`)."""

    connect_s: Seconds = Field(default=5, alias="connect", le=60, description="TCP and TLS on one network take 1 s")
    first_byte_s: Seconds = Field(default=60, alias="first_byte", le=3600, description="until the answer begins")
    total_s: Seconds = Field(default=300, alias="total", le=86_400, description="until it ends, streams included")


class RateConfig(StrictModel):
    """`calls` in `per`, evenly spread, of which `burst` may come at once; `limits.rates.Rate` says more."""

    calls: Count
    per_s: WindowSeconds = Field(alias="per")
    burst: Count | None = None

    def rate(self) -> Rate:
        """What is counted; all of `calls` may come at once unless `burst` says otherwise."""
        return Rate(self.calls, self.per_s, self.calls if self.burst is None else self.burst)


class BreakerConfig(StrictModel):
    """When a tool server that keeps failing is left alone, and for how long."""

    failures: Count = Field(default=DEFAULT_FAILURES, description="in a row; what fails so often fails for everybody")
    open_s: Seconds = Field(
        default=DEFAULT_OPEN_S, alias="open", le=3600, description="a process restarts in that time"
    )


class ServerConfig(StrictModel):
    """One tool server.

    `identity` is the SPIFFE ID that its SVID must have; without it the server's certificate is checked by Web PKI.
    """

    url: ServerUrl
    identity: ServerIdentity = None
    token: TokenConfig = Field(default_factory=TokenConfig, validate_default=True)
    timeouts: TimeoutsConfig = Field(default_factory=TimeoutsConfig)
    rate: RateConfig | None = None
    rate_per_workload: RateConfig | None = None
    max_concurrent: Count = Field(
        default=DEFAULT_MAX_CONCURRENT, description="one server that hangs cannot take all of the gate"
    )
    max_concurrent_per_workload: Count | None = None
    breaker: BreakerConfig = Field(default_factory=BreakerConfig)

    def limits(self) -> ServerLimits:
        """What `limits.admission.Admission` counts for this server."""
        return ServerLimits(
            rate=self.rate.rate() if self.rate else None,
            rate_per_workload=self.rate_per_workload.rate() if self.rate_per_workload else None,
            max_concurrent=self.max_concurrent,
            # There is always a place that one workload cannot take.
            max_concurrent_per_workload=self.max_concurrent_per_workload or max(1, self.max_concurrent * 3 // 4),
            breaker=BreakerLimits(self.breaker.failures, self.breaker.open_s),
        )

    @field_validator("identity")
    @classmethod
    def _identity_needs_tls(cls, identity: SpiffeId | None, info: ValidationInfo) -> SpiffeId | None:
        if str(info.data.get("url", "")).startswith("http:"):
            raise ValueError("cannot be checked over http: a server proves its identity in TLS")
        return identity

    @field_validator("token")
    @classmethod
    def _audience_is_the_url(cls, token: TokenConfig, info: ValidationInfo) -> TokenConfig:
        # RFC 8707, section 2: the resource is named by the URI at which it is reached.
        return token if token.audience else token.model_copy(update={"audience": info.data.get("url", "")})


def _tls_by_place(found: dict[str, Any]) -> Literal["svid", "off"]:
    return "off" if found["listen"].is_loopback else "svid"


class AdminConfig(StrictModel):
    """The second listener: JWKS, metadata, health and readiness, without client certificates.

    `tls`: "svid" serves it with the gate's own SVID; "off" is the default on loopback alone.
    """

    listen: ListenAddress = Address("127.0.0.1", 8444)
    tls: Literal["svid", "off"] = Field(default_factory=_tls_by_place)


class TelemetryConfig(StrictModel):
    """`otlp`: the base URL of an OTLP/HTTP collector; without it the environment is asked, and else nothing is sent."""

    otlp: Collector | None = None
    service_name: Text = "callgate"


class LimitsConfig(StrictModel):
    """How much the gate takes on, and how long it waits.  Seconds may have fractions."""

    max_connections: Count = Field(default=1_000, description="34 KiB each; one more is closed after its handshake")
    max_handshakes: Count = Field(default=256, description="beyond it the oldest gives way; an honest one takes ms")
    max_connections_per_workload: Count = Field(default=64, description="one workload cannot use up all of them")
    max_head_bytes: Bytes = Field(default=16 * 1024, description="every MCP client's head many times over")
    max_body_bytes: Bytes = Field(default=1024**2, description="a call with a document as an argument")
    max_answer_bytes: Bytes = Field(default=4 * 1024**2, description="an answer with images in base64")
    max_event_bytes: Bytes = Field(default=1024**2, description="one event of a stream is held as a whole")
    handshake_s: LimitSeconds = Field(default=10, description="a handshake takes 1 ms and two round trips")
    head_s: LimitSeconds = Field(default=10, description="a head that trickles holds a connection (slowloris)")
    body_s: LimitSeconds = Field(default=30, description="1 MiB at 35 KiB/s")
    idle_s: LimitSeconds = Field(default=15, description="between two requests of a connection that is kept alive")
    write_stall_s: LimitSeconds = Field(default=30, description="a reader that takes nothing for so long is gone")
    requests_per_connection: Count = Field(default=1_000, description="then a new handshake spreads load anew")
    drain_s: LimitSeconds = Field(default=10, description="within the 30 s that Kubernetes waits after SIGTERM")
    session_max_age_s: LimitSeconds = Field(default=24 * 3600, description="a legacy session; clients then start anew")


class UserIssuerConfig(StrictModel):
    """Who vouches for users; `users.user_token.TokenRules` and `users.discovery.IssuerSettings` say more."""

    issuer: ServerUrl
    jwks_uri: KeyUrl | None = None
    algorithms: Items[Algorithm] = Field(default=DEFAULT_ALGORITHMS, min_length=1, max_length=len(KEY_KINDS))
    typ: TokenTypes = "at+jwt"
    groups_claim: ClaimName = "groups"
    claims: Items[ClaimName] = Field(default=(), max_length=MAX_USER_CLAIMS)
    ca_file: Text | None = None
    max_stale_s: Seconds = Field(
        default=DEFAULT_MAX_STALE_S,
        alias="max_stale",
        ge=300,
        le=86_400,
        description="how long keys count while the issuer cannot be asked; longer than most outages last",
    )


class UsersConfig(StrictModel):
    """Users' access tokens, sent by agents as `Authorization: Bearer`; without this part they are not looked at."""

    audience: UserAudience = ""
    leeway_s: Seconds = Field(
        default=DEFAULT_LEEWAY_S, alias="leeway", le=MAX_LEEWAY_S, description="clocks differ by seconds"
    )
    issuers: Items[UserIssuerConfig] = Field(min_length=1, max_length=MAX_USER_ISSUERS)

    @field_validator("issuers")
    @classmethod
    def _named_once(cls, issuers: tuple[UserIssuerConfig, ...]) -> tuple[UserIssuerConfig, ...]:
        names = [entry.issuer for entry in issuers]
        if len(set(names)) < len(names):
            raise ValueError("must name each issuer once")
        return issuers


class Config(StrictModel):
    """The whole file."""

    listen: ListenAddress
    workload_api: WorkloadApi | None = None
    svid_hint: Annotated[str, Field(min_length=1, max_length=MAX_HINT_CHARACTERS)] | None = None
    issuer: Issuer
    policy: Annotated[
        PolicyPaths, Field(description="a file, a folder or a list of them, relative to this file's folder")
    ]
    shadow_policy: PolicyPaths = ()
    authorities: Items[Authority] | None = Field(default=None, min_length=1)
    allowed_origins: Items[Origin] = ()
    admin: AdminConfig = Field(default_factory=AdminConfig)
    servers: Mapping[ServerName, ServerConfig] = Field(min_length=1, max_length=MAX_SERVERS)
    users: UsersConfig | None = None
    telemetry: TelemetryConfig = Field(default_factory=TelemetryConfig)
    limits: LimitsConfig = Field(default_factory=LimitsConfig)

    @field_validator("admin")
    @classmethod
    def _two_listeners(cls, admin: AdminConfig, info: ValidationInfo) -> AdminConfig:
        if admin.listen.port and admin.listen == info.data.get("listen"):
            raise ValueError("must listen elsewhere than the gate itself: it asks for no client certificate")
        return admin

    @field_validator("servers")
    @classmethod
    def _frozen(cls, servers: Mapping[str, ServerConfig]) -> Mapping[str, ServerConfig]:
        return MappingProxyType(servers)

    def user_issuers(self) -> tuple[IssuerSettings, ...]:
        """Who vouches for users, for `users.issuers.UserVerifier`; none where users' tokens are not looked at."""
        users = self.users
        if users is None:
            return ()
        # RFC 9068, section 4: the audience is "a resource indicator value corresponding to an identifier the resource
        # server expects for itself", and the gate's own name is its issuer.
        audience = users.audience or self.issuer
        return tuple(_issuer_settings(entry, audience, users.leeway_s) for entry in users.issuers)

    def authorities_at(self, port: int) -> frozenset[str]:
        """What the Host header may say when the gate listens on `port`, in lower case.

        `authorities` as they are, or else the issuer's, with its own port and with this one; and on loopback or all
        addresses this machine's own names, so that a trial run needs no configuration.
        """
        if self.authorities is not None:
            return frozenset(self.authorities)
        issuer = Url.parse(self.issuer)
        hosts = [issuer.host]
        if self.listen.is_loopback or self.listen.is_wildcard:
            hosts += ["localhost", "127.0.0.1", "::1"]
        found = {issuer.authority, *(str(Address(host, port)) for host in hosts)}
        # RFC 9110, section 4.2.2: without a port, https means 443, and clients leave it out.
        return frozenset(found | {Url("", "https", host, port, "").authority for host in hosts})


def _issuer_settings(entry: UserIssuerConfig, audience: str, leeway_s: int) -> IssuerSettings:
    rules = TokenRules(
        issuer=entry.issuer,
        audience=audience,
        algorithms=frozenset(entry.algorithms),
        typ=entry.typ,
        groups_claim=entry.groups_claim,
        claims=entry.claims,
        leeway_s=leeway_s,
    )
    return IssuerSettings(rules, entry.jwks_uri, entry.ca_file, entry.max_stale_s)


def load_config(text: str, filename: str) -> Config | tuple[Problem, ...]:
    """Read callgate.yaml, or say all that is wrong with it."""
    return read_model(text, filename, Config)


class Outline(NamedTuple):
    """What a refused file still tells: its policies' paths, () without any, and the servers' names, None without."""

    policy: tuple[str, ...] = ()
    shadow_policy: tuple[str, ...] = ()
    servers: frozenset[str] | None = None


def outline(text: str, filename: str) -> Outline:
    """For telling people of the mistakes in all files at once; nothing is served with it."""
    document = load(text, filename)
    value = document.value if isinstance(document, Document) else None
    if not isinstance(value, dict):
        return Outline()
    servers = value.get("servers")
    return Outline(
        _paths_if_good(value.get("policy")),
        _paths_if_good(value.get("shadow_policy")),
        frozenset(servers) if isinstance(servers, dict) else None,
    )


def _paths_if_good(value: object) -> tuple[str, ...]:
    try:
        return _policy_paths(value)
    except ValueError:
        return ()
