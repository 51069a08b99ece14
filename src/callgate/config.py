"""callgate.yaml: where things are.  Who may do what stands in the policy file that it names.

Pure: it reads text.  The whole file is refused for one mistake in it, and all of them are told at once.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import Field, ValidationInfo, field_validator

from callgate.addresses import Address, Url
from callgate.config_approvals import ApprovalsConfig, site_url
from callgate.config_audit import (
    MAX_ORIGIN_CHARACTERS,
    WITHOUT_AUDIT,
    AuditConfig,
    is_without_recipients,
    recordings_for_nobody,
)
from callgate.config_users import UsersConfig, issuer_settings
from callgate.config_values import (
    AdminTls,
    Audience,
    Authority,
    Bytes,
    Collector,
    Count,
    Issuer,
    LimitSeconds,
    ListenAddress,
    ListScopes,
    Origin,
    PolicyPaths,
    ServerIdentity,
    ServerUrl,
    Text,
    WorkloadApi,
    policy_paths,
)
from callgate.identity.spiffe_id import SpiffeId
from callgate.limits.admission import DEFAULT_MAX_CONCURRENT, ServerLimits
from callgate.limits.breaker import DEFAULT_FAILURES, DEFAULT_OPEN_S, BreakerLimits
from callgate.limits.rates import Rate
from callgate.policy.model import ServerName, TokenSeconds, WindowSeconds
from callgate.policy.record_level import RecordLevel
from callgate.tokens.claims import DEFAULT_TTL_S
from callgate.users.discovery import IssuerSettings
from callgate.yaml_model import IfMissing, Items, Seconds, StrictModel, read_model
from callgate.yaml_strict import Document, Problem, load

MAX_SERVERS: Final = 1_000
# SPIFFE Workload API: hints of more than 1024 bytes SHOULD NOT be supported.
MAX_HINT_CHARACTERS: Final = 1_024


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
    `lock`: its lock file, relative to the folder of callgate.yaml.
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
    record: RecordLevel | None = None
    lock: Text | None = None

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

    `tls`: "svid" serves it with the gate's own SVID, files with another certificate; "off" is the default on loopback
    alone.
    """

    listen: ListenAddress = Address("127.0.0.1", 8444)
    tls: AdminTls = Field(default_factory=_tls_by_place)


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
    audit: Annotated[AuditConfig, IfMissing(WITHOUT_AUDIT)]
    users: UsersConfig | None = None
    approvals: ApprovalsConfig | None = None
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

    @field_validator("audit")
    @classmethod
    def _origin_is_the_issuers(cls, audit: AuditConfig, info: ValidationInfo) -> AuditConfig:
        if audit.origin or "issuer" not in info.data:
            return audit
        origin = f"{Url.parse(info.data['issuer']).authority}/audit"
        if len(origin) > MAX_ORIGIN_CHARACTERS:
            raise ValueError("needs an 'origin' of its own: that of the issuer would be too long a name for the log")
        return audit.model_copy(update={"origin": origin})

    @field_validator("approvals")
    @classmethod
    def _people_reach_it(cls, approvals: ApprovalsConfig | None, info: ValidationInfo) -> ApprovalsConfig | None:
        admin = info.data.get("admin")
        if approvals is None or approvals.url or not isinstance(admin, AdminConfig):
            return approvals
        url = site_url(admin.listen, is_tls=admin.tls != "off")
        return approvals.model_copy(update={"url": url}) if admin.listen.port else approvals

    @property
    def has_approvals(self) -> bool:
        """Whether there is a place where people are asked, so that `approval` can be met."""
        return self.approvals is not None

    def approvals_url(self, port: int) -> str:
        """Where people reach the page of approvals when the admin listener is on `port`; no slash at its end."""
        if self.approvals is not None and self.approvals.url:
            return self.approvals.url
        return site_url(Address(self.admin.listen.host, port), is_tls=self.admin.tls != "off")

    @property
    def has_auditors(self) -> bool:
        """Whether there is somebody to whom content can be encrypted, so that `record: full` can be met."""
        return bool(self.audit.recipients)

    def record_level(self, server: str) -> RecordLevel:
        """How much of a call to `server` goes on record where no grant says."""
        found = self.servers[server].record
        return self.audit.record if found is None else found

    def user_issuers(self) -> tuple[IssuerSettings, ...]:
        """Who vouches for users, for `users.issuers.UserVerifier`; none where users' tokens are not looked at."""
        users = self.users
        if users is None:
            return ()
        # RFC 9068, section 4: the audience is "a resource indicator value corresponding to an identifier the resource
        # server expects for itself", and the gate's own name is its issuer.
        audience = users.audience or self.issuer
        return tuple(issuer_settings(entry, audience, users.leeway_s) for entry in users.issuers)

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


def load_config(text: str, filename: str) -> Config | tuple[Problem, ...]:
    """Read callgate.yaml, or say all that is wrong with it."""
    return read_model(text, filename, Config, recordings_for_nobody)


class Outline(NamedTuple):
    """What a refused file still tells: its policies' paths, () without any, and the servers' names, None without.

    `has_auditors` is False where it certainly names no recipients, `has_approvals` where it has no place to ask people.
    """

    policy: tuple[str, ...] = ()
    shadow_policy: tuple[str, ...] = ()
    servers: frozenset[str] | None = None
    has_auditors: bool = True
    has_approvals: bool = True


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
        not is_without_recipients(value),
        "approvals" in value,
    )


def _paths_if_good(value: object) -> tuple[str, ...]:
    try:
        return policy_paths(value)
    except ValueError:
        return ()
