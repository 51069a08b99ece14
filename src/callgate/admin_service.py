"""The gate's other doors: keys, metadata and health for everybody, and the site where people answer for those who may.

One TCP listener without client certificates, and a socket of this machine, where the kernel tells who is there.
"""

import socket
import ssl
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from callgate.addresses import Address
from callgate.approvals.asking_user import user_of_peer
from callgate.approvals.model import UNKNOWN_USER
from callgate.config import Config
from callgate.config_values import CertificateFiles
from callgate.errors import GatewayError, Refusal
from callgate.identity.trust import X509Context
from callgate.net.admin import AdminSite, Readiness
from callgate.net.connection import Connection, ConnectionLimits
from callgate.net.handshakes import Handshakes
from callgate.net.local_listener import Credentials
from callgate.net.tls_context import files_context, public_context
from callgate.net.tls_stream import PlainStream, TlsStream
from callgate.tokens.keys import SigningKey
from callgate.tokens.metadata import (
    AUTHORIZATION_SERVER_PATH,
    JWKS_PATH,
    OPENID_CONFIGURATION_PATH,
    authorization_server_metadata,
    jwks,
    openid_configuration,
)
from callgate.wire.http1 import HttpLimits, RawRequest
from callgate.wire.http1_server import ServerConnection

if TYPE_CHECKING:
    from callgate.approvals.site.app import ApprovalsSite

# Health checks, key fetches and the browsers of people who wait for news; without it, whoever reaches the listener could
# use up the file descriptors.
_MAX_CONNECTIONS: Final = 128
# Who is at this machine; a person has one or two.
_MAX_LOCAL_CONNECTIONS: Final = 64
# Of one user: a socket for several is open to agents, too, and they must not take the places of people.
_MAX_LOCAL_CONNECTIONS_OF_USER: Final = 16
# A probe asks at once; a connection that says nothing must not take the place of one that does.
_IDLE_S: Final = 5.0


class UnusableCertificate(GatewayError):  # noqa: N818  # says what cannot be used
    """The files of `admin.tls` are no certificate and its key."""


@dataclass(frozen=True, slots=True)
class HttpTerms:
    """How slow and how long the requests of a connection may be."""

    limits: HttpLimits
    patience: ConnectionLimits


class AdminService:
    """Answers those who come without a certificate."""

    def __init__(
        self, config: Config, folder: Path, identity: Callable[[], X509Context | None], http: HttpTerms
    ) -> None:
        """Relative paths begin in `folder`.  Raises UnusableCertificate."""
        self._tls_mode = config.admin.tls
        self._folder = folder
        self._identity = identity
        self._http = replace(http, patience=replace(http.patience, idle_s=min(http.patience.idle_s, _IDLE_S)))
        self._handshakes = Handshakes(_MAX_CONNECTIONS, config.limits.handshake_s)
        self._connections = 0
        self._local_connections: Counter[int] = Counter()
        self._public_tls: tuple[object, ssl.SSLContext] | None = None
        self.people: ApprovalsSite | None = None
        self.problem = ""
        if isinstance(self._tls_mode, CertificateFiles):
            self._from_files(self._tls_mode)
            if self.problem:
                raise UnusableCertificate(self.problem)

    async def welcome(self, sock: socket.socket, address: Address, site: AdminSite) -> None:
        """Serve one connection: no client certificate, and nothing here that needs one."""
        self._connections += 1
        try:
            stream = await self._stream(sock) if self._connections <= _MAX_CONNECTIONS else None
            if stream is not None:
                connection = self._connection(stream)
                user = _user_of(sock) if self.people is not None else None

                async def answer(found: RawRequest | Refusal) -> None:
                    if self.people is not None and isinstance(found, RawRequest) and self.people.serves(found):
                        await self.people.answer(found, connection, address, user)
                    else:
                        await site.answer(found, connection)

                await connection.run(answer)
        finally:
            self._connections -= 1

    async def welcome_local(self, sock: socket.socket, peer: Credentials) -> None:
        """Serve one connection of the admin socket."""
        self._local_connections[peer.uid] += 1
        try:
            people = self.people
            if people is not None and self._has_room_for(peer):
                connection = self._connection(PlainStream(sock))
                await connection.run(lambda found: people.answer_local(found, connection, peer))
        finally:
            self._local_connections[peer.uid] -= 1
            if not self._local_connections[peer.uid]:
                del self._local_connections[peer.uid]

    def _has_room_for(self, peer: Credentials) -> bool:
        of_user = self._local_connections[peer.uid] <= _MAX_LOCAL_CONNECTIONS_OF_USER
        return of_user and self._local_connections.total() <= _MAX_LOCAL_CONNECTIONS

    def _connection(self, stream: TlsStream | PlainStream) -> Connection:
        return Connection(stream, ServerConnection(self._http.limits, None), self._http.patience)

    async def _stream(self, sock: socket.socket) -> TlsStream | PlainStream | None:
        if self._tls_mode == "off":
            return PlainStream(sock)
        context = self._context()
        if context is None:
            return None
        try:
            stream = TlsStream.server(sock, context)
        except OSError:
            return None
        return stream if await self._handshakes.shake(stream) is None else None

    def _context(self) -> ssl.SSLContext | None:
        if isinstance(self._tls_mode, CertificateFiles):
            return self._from_files(self._tls_mode)
        identity = self._identity()
        if identity is None:
            return None
        if self._public_tls is None or self._public_tls[0] is not identity:
            self._public_tls = (identity, public_context(identity))
        return self._public_tls[1]

    def _from_files(self, files: CertificateFiles) -> ssl.SSLContext | None:
        """What the files hold now: a certificate is renewed while the gate runs.  The one before, where they are broken."""
        certificate, key = self._folder / files.certificate, self._folder / files.key
        try:
            told = tuple((path.stat().st_mtime_ns, path.stat().st_ino) for path in (certificate, key))
            if self._public_tls is None or self._public_tls[0] != told:
                self._public_tls = (told, files_context(certificate, key))
            self.problem = ""
        except (OSError, ValueError) as error:
            self.problem = f"admin.tls: {files.certificate} and {files.key} cannot be used: {_said_of(error)}"
        return self._public_tls[1] if self._public_tls else None


def _said_of(error: Exception) -> str:
    """OpenSSL's own words are for those who wrote it."""
    if not isinstance(error, OSError):
        return "the path is none"
    if not isinstance(error, ssl.SSLError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
    if error.reason == "KEY_VALUES_MISMATCH":
        return "the key is not that of the certificate"
    return "they must be a certificate with its chain and its key, in PEM and not encrypted"


def _user_of(sock: socket.socket) -> int | None:
    """Which user of this machine connected: a session that began with one is no good for another."""
    try:
        return user_of_peer(sock.getsockname(), sock.getpeername())
    except OSError:
        return UNKNOWN_USER


def admin_site(issuer: str, key: SigningKey, readiness: Callable[[], Readiness]) -> AdminSite:
    """What everybody may ask for."""
    documents: dict[str, Callable[[], Mapping[str, object]]] = {
        JWKS_PATH: lambda: jwks((key,)),
        AUTHORIZATION_SERVER_PATH: lambda: authorization_server_metadata(issuer),
        OPENID_CONFIGURATION_PATH: lambda: openid_configuration(issuer),
    }
    return AdminSite(documents, readiness)
