"""A running gate: its listeners, its identity, its connections, and how it stops."""

import logging
import os
import random
import socket
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from cryptography.hazmat.primitives.asymmetric import ec

from callgate.addresses import Address
from callgate.admin_service import AdminService, HttpTerms, admin_site
from callgate.approvals.asking_user import user_of_peer
from callgate.approvals.model import UNKNOWN_USER
from callgate.approvals.past import Past
from callgate.audit.activity import Activity
from callgate.audit.log import AuditLog
from callgate.config import Config, ServerConfig
from callgate.drift_log import DriftLog
from callgate.errors import GatewayError, Reason, Refusal, place_of
from callgate.evidence import Evidence
from callgate.gateway import Gateway, Visit
from callgate.identity.source import SourceEvent, X509Source
from callgate.identity.trust import Peer, X509Context, verify_peer
from callgate.limits.admission import Admission
from callgate.lock_files import LockSource
from callgate.net.admin import Readiness
from callgate.net.connection import Connection, ConnectionLimits
from callgate.net.handshakes import Handshakes
from callgate.net.listener import Listener
from callgate.net.local_listener import Credentials
from callgate.net.tls_context import agent_facing_context
from callgate.net.tls_stream import TlsStream
from callgate.net.upstream import ToolServer, Upstream, UpstreamLimits
from callgate.parts import Clock, GateLimits, Parts, Route
from callgate.policy.annotations import Annotations
from callgate.policy.compile import Policy
from callgate.policy.history import History
from callgate.policy_source import PolicySource, in_force
from callgate.record_keeping import RecordKeeping
from callgate.screening.definitions import Definitions
from callgate.telemetry import names
from callgate.telemetry.approval_metrics import ApprovalTelling
from callgate.telemetry.log_events import CheckpointEvents
from callgate.telemetry.pending import waiting_span
from callgate.tokens.claims import TokenTarget
from callgate.tokens.keys import SigningKey
from callgate.tool_listing import ToolListing
from callgate.trace import AttributeValue, DecisionTrace, Outcome, Stage, StageRecord
from callgate.users.issuers import UserVerifier
from callgate.users.key_source import KeysEvent
from callgate.wire.http1 import RESPONSE_LIMITS, HttpLimits
from callgate.wire.http1_server import ServerConnection
from callgate.wire.json_strict import JsonLimits
from callgate.wire.session import SessionSealer

if TYPE_CHECKING:
    from callgate.approval_keeping import ApprovalKeeping

_LOG = logging.getLogger(__name__)
# How long a peer that was refused at the handshake has for the request that is answered with the reason.
REFUSED_S = 1.0
# Reading and digesting so many takes some 30 ms of everybody's time, and no tool's arguments come near it.
_MAX_REQUEST_VALUES = 20_000
# They share the interpreter with the loop: more of them would only take more of it.
_SCREENERS = 2
Welcome = Callable[[socket.socket, Address], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a running gate listens."""

    agents: Address
    admin: Address


class CannotListen(GatewayError):  # noqa: N818  # says what cannot be done
    """An address of the configuration is taken, or is not this machine's."""


class Service:
    """One gate.  `run` it in a nursery; `stop` ends it in good order."""

    def __init__(  # noqa: PLR0913  # all that a gate is started with
        self,
        config: Config,
        policy: Policy | PolicySource,
        record: Callable[[DecisionTrace], None],
        clock: Clock | None = None,
        *,
        shadow: Policy | PolicySource | None = None,
        folder: Path | None = None,
        events: CheckpointEvents | None = None,
        approvals: ApprovalTelling | None = None,
    ) -> None:
        """A policy that is a source is followed while the service runs.  `shadow` is evaluated and never enforced.

        `folder` is where relative paths of the configuration begin; None: where the process runs.  `events` sends
        checkpoints to a collector, and `approvals` hears of calls that wait for people.  Raises UnusableAuthorities where a
        `ca_file` cannot be used, CannotOpenLog where the log has no key, BadLock for a lock file that cannot be used,
        UnusableCertificate for the admin listener's own, and StoreFault or UnusableApprovals where people cannot be asked.
        """
        self._config = config
        self._policy = in_force(policy)
        self._shadow: Callable[[], Policy | None] = in_force(shadow) if shadow else lambda: None
        self._policy_sources = tuple(given for given in (policy, shadow) if isinstance(given, PolicySource))
        self._clock = clock or Clock(time.time_ns)
        issuers = config.user_issuers()
        self._users = UserVerifier(issuers, folder or Path(), _log_keys) if issuers else None
        self._source = X509Source(config.workload_api, hint=config.svid_hint, on_event=_log_identity)
        self._key = SigningKey(ec.generate_private_key(ec.SECP256R1()))
        self._records = RecordKeeping(config, folder or Path(), self._clock, events)
        self._telling = approvals or ApprovalTelling()
        self._approvals = self._asking(folder or Path())
        self._locks = {
            name: LockSource((folder or Path()) / server.lock, name)
            for name, server in config.servers.items()
            if server.lock is not None
        }
        self._routes = {name: self._route(name, server) for name, server in config.servers.items()}
        self._definitions, self._drifts = Definitions(), DriftLog()
        parts = self._parts(record)
        self._gateway = Gateway(parts)
        self._listing = ToolListing(parts, Evidence(parts))
        self._stopping = trio.Event()
        self._tls: tuple[X509Context, ssl.SSLContext] | None = None
        self._open: set[Connection] = set()
        self._callers: Counter[str] = Counter()
        # Handshakes under way and connections that are served.
        self._connections = 0
        self._handshakes = Handshakes(config.limits.max_handshakes, config.limits.handshake_s)
        self._authorities: frozenset[str] = frozenset()
        self._http_limits = HttpLimits(
            max_head_bytes=config.limits.max_head_bytes, max_body_bytes=config.limits.max_body_bytes
        )
        self._patience = ConnectionLimits(
            idle_s=config.limits.idle_s,
            head_s=config.limits.head_s,
            body_s=config.limits.body_s,
            write_stall_s=config.limits.write_stall_s,
            requests=config.limits.requests_per_connection,
        )
        http = HttpTerms(self._http_limits, self._patience)
        self._admin = AdminService(config, folder or Path(), lambda: self._source.current, http)

    @property
    def identity(self) -> X509Context | None:
        """The gate's own SVID and trust bundles as of now."""
        return self._source.current

    @property
    def svid_expires(self) -> float | None:
        """When the gate's own SVID ends, in Unix seconds."""
        current = self._source.current
        return current.svid.not_after if current else None

    async def wait_ready(self) -> None:
        """Until the gate has an identity and can serve calls."""
        await self._source.wait_ready()

    def readiness(self) -> Readiness:
        """What is missing before calls can be served."""
        missing = []
        identity = self._source.current
        if identity is None:
            missing.append(self._source.problem or "no identity from the SPIFFE Workload API yet")
        elif isinstance(refused := self._agent_facing(identity), Refusal):
            missing.append(refused.detail)
        if self._stopping.is_set():
            missing.append("shutting down")
        records = self._records.state
        missing += records.missing
        notes = records.notes + tuple(source.note for source in self._policy_sources if source.problem)
        notes += tuple(lock.problem for lock in self._locks.values() if lock.problem)
        problems = self._users.problems if self._users else {}
        notes += tuple(f"keys of {issuer}: {problem}" for issuer, problem in problems.items())
        notes += self._approvals.problems if self._approvals else ()
        notes += (self._admin.problem,) if self._admin.problem else ()
        return Readiness(tuple(missing), notes)

    def stop(self) -> None:
        """Stop accepting, finish what is under way within `limits.drain_s`, and let `run` return."""
        self._stopping.set()

    @property
    def approvals(self) -> "ApprovalKeeping | None":
        """Where people are asked."""
        return self._approvals

    @property
    def log(self) -> AuditLog:
        """Where every request goes on record."""
        return self._records.log

    async def run(self, *, task_status: trio.TaskStatus[Addresses] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until `stop`.

        Raises CannotListen where an address is taken, CannotOpenLog where the log cannot be written to.
        """
        agents = await _listener_at(self._config.listen)
        try:
            admin = await _listener_at(self._config.admin.listen)
        except BaseException:
            agents.close()
            raise
        self._authorities = frozenset(self._config.authorities_at(agents.address.port))
        try:
            async with trio.open_nursery() as background:
                await background.start(self._records.run, self._start_told)
                self._records.under(self._policy())
                background.start_soon(self._source.run)
                if self._users is not None:
                    background.start_soon(self._users.run)
                for policy_source in self._policy_sources:
                    background.start_soon(policy_source.run)
                for name, lock in self._locks.items():
                    background.start_soon(lock.run, partial(self._approved_anew, name))
                await self._ask_people(background, admin.address.port)
                site = admin_site(self._config.issuer, self._key, self.readiness)
                welcome = partial(self._guarded, lambda sock, address: self._admin.welcome(sock, address, site))
                background.start_soon(admin.serve, background, welcome)
                task_status.started(Addresses(agents.address, admin.address))
                await self._serve_agents(agents)
                background.cancel_scope.cancel()
        finally:
            agents.close()
            admin.close()
            for route in self._routes.values():
                route.upstream.close()

    def _asking(self, folder: Path) -> "ApprovalKeeping | None":
        if self._config.approvals is None:
            return None
        # The site takes 0.3 s to load: not for gates that ask nobody.
        from callgate.approval_keeping import ApprovalKeeping  # noqa: PLC0415

        return ApprovalKeeping(
            self._config.approvals,
            folder,
            self._records.approvals_key,
            self._records.log,
            self._policy,
            self._clock.now_ns,
            self._telling,
        )

    async def _ask_people(self, background: trio.Nursery, port: int) -> None:
        if self._approvals is not None:
            url = self._config.approvals_url(port)
            self._admin.people = await background.start(self._approvals.run, url, self._welcome_local)

    async def _welcome_local(self, sock: socket.socket, peer: Credentials) -> None:
        """The border of one connection of the admin socket."""
        try:
            await self._admin.welcome_local(sock, peer)
        except Exception as fault:  # noqa: BLE001  # the border of a task
            _LOG.error("a connection failed inside the gate: %s", place_of(fault))
        finally:
            sock.close()

    def _approved_anew(self, server: str) -> None:
        """Another lock file is in force: what was approved may be what the server says only since a moment ago."""
        self._definitions.stale(server)
        self._drifts.forget(server)

    def _start_told(self) -> Mapping[str, object]:
        """What the record of the gate's start says."""
        return {
            "version": version("callgate"),
            "instance": os.urandom(8).hex(),
            "issuer": self._config.issuer,
            "key": self._records.vkey,
            "policy": self._policy().digest,
        }

    async def _serve_agents(self, agents: Listener) -> None:
        async with trio.open_nursery() as acceptor, trio.open_nursery() as connections:
            acceptor.start_soon(agents.serve, connections, partial(self._guarded, self._welcome))
            await self._stopping.wait()
            agents.close()
            self._handshakes.hurry()
            if self._approvals is not None:
                self._approvals.desk.close()
            for connection in tuple(self._open):
                connection.drain()
            connections.cancel_scope.deadline = trio.current_time() + self._config.limits.drain_s

    async def _guarded(self, welcome: Welcome, sock: socket.socket, address: Address) -> None:
        """The border of one connection: a fault in it must not end the others."""
        try:
            await welcome(sock, address)
        except Exception as fault:  # noqa: BLE001  # the border of a task
            # Not the message: it could hold what a caller sent.
            _LOG.error("a connection failed inside the gate: %s", place_of(fault))
        finally:
            sock.close()

    async def _welcome(self, sock: socket.socket, address: Address) -> None:
        """accept: is there room, and is this TLS 1.3 with a client certificate?"""
        started = self._clock.now_ns()
        self._connections += 1
        try:
            stream = self._wrapped(sock)
            refusal = stream if isinstance(stream, Refusal) else await self._handshakes.shake(stream)
            if isinstance(stream, Refusal) or refusal is not None:
                self._turn_away(address, started, refusal or Refusal(Reason.INTERNAL))
            elif len(self._open) >= self._config.limits.max_connections:
                self._turn_away(address, started, Refusal(Reason.TOO_MANY_CONNECTIONS))
                await stream.aclose()
            else:
                await self._serve(stream, address, started, self._uid_of(sock))
        finally:
            self._connections -= 1

    def _uid_of(self, sock: socket.socket) -> int | None:
        """Which user of this machine connected, where that counts: who runs an agent does not answer for it."""
        if self._approvals is None or self._approvals.agents_share_user:
            return None
        try:
            return user_of_peer(sock.getsockname(), sock.getpeername())
        except OSError:
            return UNKNOWN_USER

    def _wrapped(self, sock: socket.socket) -> TlsStream | Refusal:
        identity = self._source.current
        if identity is None:
            return Refusal(Reason.GATE_NOT_READY, self._source.problem)
        context = self._agent_facing(identity)
        if isinstance(context, Refusal):
            return context
        try:
            return TlsStream.server(sock, context)
        except OSError as error:
            return Refusal(Reason.TLS_HANDSHAKE_FAILED, type(error).__name__)

    def _agent_facing(self, identity: X509Context) -> ssl.SSLContext | Refusal:
        if self._tls is None or self._tls[0] is not identity:
            try:
                self._tls = (identity, agent_facing_context(identity))
            except (OSError, ValueError) as error:
                return Refusal(Reason.GATE_NOT_READY, f"OpenSSL refuses the gate's own SVID: {error}")
        return self._tls[1]

    def _turn_away(self, address: Address, started_ns: int, refusal: Refusal) -> None:
        path = self._gateway.begin(self._accepted(address, started_ns, {}, refusal), started_ns)
        self._gateway.finish(path)

    def _accepted(
        self, address: Address, started_ns: int, attributes: Mapping[str, AttributeValue], refusal: Refusal | None
    ) -> StageRecord:
        found = {names.CLIENT_ADDRESS: address.host, names.CLIENT_PORT: address.port, **attributes}
        outcome = Outcome.REFUSED if refusal else Outcome.OK
        reason, detail = (refusal.reason, refusal.detail) if refusal else ("", "")
        return StageRecord(Stage.ACCEPT, outcome, started_ns, self._clock.now_ns(), reason, detail, found)

    async def _serve(self, stream: TlsStream, address: Address, started_ns: int, uid: int | None) -> None:
        version, cipher = stream.tls_attributes()
        tls: dict[str, AttributeValue] = {names.TLS_PROTOCOL_VERSION: version, names.TLS_CIPHER: cipher}
        took = {names.TLS_HANDSHAKE_DURATION: (self._clock.now_ns() - started_ns) / 1e9}
        peer = self._authenticate(stream)
        visit = Visit(
            accepted=self._accepted(address, started_ns, tls | took, None),
            accepted_before=self._accepted(address, started_ns, tls, None),
            peer=peer,
            attributes=_workload(peer) if isinstance(peer, Peer) else {},
            uid=uid,
        )
        caller = str(peer.id) if isinstance(peer, Peer) else ""
        self._callers[caller] += 1
        if caller and self._callers[caller] > self._config.limits.max_connections_per_workload:
            visit.peer = Refusal(Reason.TOO_MANY_CONNECTIONS_OF_WORKLOAD)
        patience = self._patience_with(visit.peer)
        connection = Connection(stream, ServerConnection(self._http_limits, self._authorities), patience)
        self._open.add(connection)
        if self._stopping.is_set():
            # It shook hands while the others were told.
            connection.drain()
        try:
            await connection.run(lambda found: self._gateway.answer(visit, found, connection))
        finally:
            self._callers[caller] -= 1
            if not self._callers[caller]:
                del self._callers[caller]
            self._open.discard(connection)
            self._gateway.leave(visit)

    def _patience_with(self, peer: Peer | Refusal) -> ConnectionLimits:
        """Who was refused already is told so if it asks soon, and holds none of the gate's connections meanwhile."""
        if isinstance(peer, Peer):
            return self._patience
        usual = self._patience
        return replace(
            usual,
            idle_s=min(usual.idle_s, REFUSED_S),
            head_s=min(usual.head_s, REFUSED_S),
            body_s=min(usual.body_s, REFUSED_S),
        )

    def _authenticate(self, stream: TlsStream) -> Peer | Refusal:
        """authenticate: which workload is this, under its own trust domain's bundle?"""
        identity = self._source.current
        if identity is None:
            return Refusal(Reason.IDENTITY_UNAVAILABLE, self._source.problem)
        return verify_peer(stream.peer_chain(), identity.bundles, self._clock.now())

    def _tell_waiting(self, path: DecisionTrace, approval: str, started_ns: int, expires_ns: int) -> None:
        self._telling.waiting(waiting_span(path, approval, started_ns, expires_ns))

    def _route(self, name: str, server: ServerConfig) -> Route:
        limits = self._config.limits
        tool_server = ToolServer(
            name,
            server.url,
            server.identity,
            UpstreamLimits(connect_s=server.timeouts.connect_s),
            replace(RESPONSE_LIMITS, max_body_bytes=limits.max_answer_bytes),
        )
        return Route(
            upstream=Upstream(tool_server, lambda: self._source.current, self._clock.now),
            target=TokenTarget(server.token.audience, server.token.ttl_s, server.token.typ, server.token.list_scopes),
            first_byte_s=server.timeouts.first_byte_s,
            total_s=server.timeouts.total_s,
            record=self._config.record_level(name),
            lock=self._locks[name].current if name in self._locks else lambda: None,
        )

    def _parts(self, record: Callable[[DecisionTrace], None]) -> Parts:
        limits = self._config.limits
        return Parts(
            issuer_url=self._config.issuer,
            key=self._key,
            routes=self._routes,
            identity=lambda: self._source.current,
            policy=self._policy,
            shadow_policy=self._shadow,
            verify_user=self._users.verify if self._users else None,
            history=History(),
            annotations=Annotations(),
            definitions=self._definitions,
            drifts=self._drifts,
            listed=lambda server: self._listing.listed(server),  # noqa: PLW0108  # which is made with these parts
            pseudonym_key=self._records.pseudonym_key,
            screeners=trio.CapacityLimiter(_SCREENERS),
            desk=self._approvals.desk if self._approvals else None,
            people_url=lambda: self._approvals.url if self._approvals else "",
            past=Past(),
            waiting=self._tell_waiting,
            admission=Admission({name: server.limits() for name, server in self._config.servers.items()}),
            sealer=SessionSealer(os.urandom(32)),
            audit=self._records.log,
            activity=Activity(os.urandom(16)),
            content=self._records.content,
            under=self._records.under,
            record=record,
            clock=self._clock,
            limits=GateLimits(
                request=JsonLimits(max_bytes=limits.max_body_bytes, max_values=_MAX_REQUEST_VALUES),
                answer=JsonLimits(max_bytes=limits.max_answer_bytes, safe_integers=False),
                max_event_bytes=limits.max_event_bytes,
                session_max_age_s=limits.session_max_age_s,
                allowed_origins=frozenset(self._config.allowed_origins),
            ),
            chance=random.Random(os.urandom(32)),  # noqa: S311  # span ids, which are no secret
            secret_bytes=os.urandom,
        )


def _log_identity(event: SourceEvent, detail: str) -> None:
    level = logging.INFO if event is SourceEvent.UPDATED else logging.WARNING
    _LOG.log(level, "identity: %s %s", event, detail)


def _log_keys(event: KeysEvent, detail: str) -> None:
    level = logging.INFO if event is KeysEvent.UPDATED else logging.WARNING
    _LOG.log(level, "users' keys: %s %s", event, detail)


async def _listener_at(address: Address) -> Listener:
    try:
        return await Listener.open(*address)
    except OSError as error:
        raise CannotListen(f"cannot listen on {address}: {error.strerror or error}") from error


def _workload(peer: Peer) -> dict[str, AttributeValue]:
    return {
        names.WORKLOAD_SPIFFE_ID: str(peer.id),
        # "SHOULD be formatted as an uppercase hash" (OpenTelemetry, TLS attributes).
        names.TLS_CLIENT_HASH_SHA256: peer.leaf_sha256.hex().upper(),
    }
