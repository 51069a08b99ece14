"""The SPIFFE Workload API's FetchX509SVID stream, from bytes on a socket to an `X509Context`.

The only module that imports the `spiffe` package, whose generated messages are private to it (docs/adr/0003); the
development Workload API takes them from here.  Messages arrive as bytes and are decoded here, not by gRPC: one that
cannot be decoded is then a message to discard and not the end of the stream.

W is SPIFFE Workload API, E is SPIFFE Workload Endpoint.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

import grpc
from google.protobuf.message import DecodeError
from spiffe._proto.workload_pb2 import X509SVID, X509BundlesResponse, X509SVIDRequest, X509SVIDResponse

from callgate.errors import GatewayError
from callgate.identity.endpoint import Endpoint
from callgate.identity.spiffe_id import InvalidSpiffeId, SpiffeId, TrustDomain
from callgate.identity.trust import X509Bundle, X509Context, parse_bundle
from callgate.identity.x509_svid import X509Svid, parse_x509_svid

__all__ = [
    "FETCH_X509_BUNDLES",
    "FETCH_X509_SVID",
    "SECURITY_METADATA",
    "SERVICE",
    "X509SVID",
    "Malformed",
    "MessageLimits",
    "StreamEnd",
    "StreamEnding",
    "Update",
    "X509BundlesResponse",
    "X509SVIDResponse",
    "X509Stream",
    "read_x509_message",
]

# workload.proto of the standard has no package, hence no dot.
SERVICE = "SpiffeWorkloadAPI"
FETCH_X509_SVID = "FetchX509SVID"
FETCH_X509_BUNDLES = "FetchX509Bundles"
# E 3: "every client request [...] MUST include the static gRPC metadata key `workload.spiffe.io` with a value of `true`
# (case sensitive)".
SECURITY_METADATA = ("workload.spiffe.io", "true")
# What an agent writes about a failure goes into logs: this much of it.
_MAX_DETAIL_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class MessageLimits:
    """How much one message may hold.  The agent is trusted, but passes on what foreign trust domains publish.

    `max_message_bytes` is gRPC's own default, with which every other client of the same agent lives.  A workload has
    one or a few SVIDs.  A bundle has a few roots, and 256 KiB hold some 300 of them.  What one SVID may be, and its
    hint, `x509_svid` limits.
    """

    max_message_bytes: int = 4 * 1024 * 1024
    max_svids: int = 64
    max_federated_bundles: int = 1024
    max_bundle_bytes: int = 256 * 1024


@dataclass(frozen=True, slots=True)
class Update:
    """A message that was taken: the whole state, and what an operator should hear about it all the same."""

    context: X509Context
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Malformed:
    """A message to discard, and what is wrong with it.  Never holds key material."""

    detail: str


class _MessageError(GatewayError):
    """Inside this module: why a message is malformed."""


class StreamEnding(StrEnum):
    """Why a stream ended, as far as it makes a difference."""

    CLOSED = "closed"
    """By the server, without an error."""
    CANCELLED = "cancelled"
    """By `X509Stream.close`."""
    UNAVAILABLE = "unavailable"
    """The server cannot be reached or failed; every status without a line of its own."""
    PERMISSION_DENIED = "permission_denied"
    """The server has no identity for this workload (any longer)."""
    MISUSED = "misused"
    """InvalidArgument or Unimplemented: what answers there is not a Workload API that we can talk to."""


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """How a stream ended; `detail` is for operators."""

    ending: StreamEnding
    detail: str = ""


_ENDINGS: Mapping[grpc.StatusCode, StreamEnding] = MappingProxyType(
    {
        grpc.StatusCode.CANCELLED: StreamEnding.CANCELLED,
        grpc.StatusCode.PERMISSION_DENIED: StreamEnding.PERMISSION_DENIED,
        grpc.StatusCode.INVALID_ARGUMENT: StreamEnding.MISUSED,
        grpc.StatusCode.UNIMPLEMENTED: StreamEnding.MISUSED,
    }
)


class X509Stream:
    """One FetchX509SVID stream on a connection of its own.

    Opening it does not block.  `read` blocks and belongs on a thread; `close` may be called from any other thread, at
    any time and more than once, and makes `read` return at once.
    """

    def __init__(self, endpoint: Endpoint, limits: MessageLimits) -> None:
        self._endpoint = endpoint
        self._limits = limits
        self._closed = False
        self._channel = grpc.insecure_channel(endpoint.grpc_target, options=_channel_options(limits))
        fetch = self._channel.unary_stream(
            f"/{SERVICE}/{FETCH_X509_SVID}",
            request_serializer=X509SVIDRequest.SerializeToString,
            response_deserializer=bytes,
        )
        self._call = fetch(X509SVIDRequest(), metadata=(SECURITY_METADATA,))

    def read(self, deliver: Callable[[Update | Malformed], None]) -> StreamEnd:
        """Give every message to `deliver`, in order and on this thread, until the stream ends."""
        try:
            for raw in self._call:
                deliver(read_x509_message(raw, self._limits))
        except grpc.RpcError as error:
            return self._end(error)
        return StreamEnd(StreamEnding.CLOSED, "the server ended the stream")

    def close(self) -> None:
        """End the stream and its connection."""
        self._closed = True
        self._channel.close()

    def _end(self, error: grpc.RpcError) -> StreamEnd:
        code = error.code()
        ending = _ENDINGS.get(code, StreamEnding.UNAVAILABLE)
        if ending is StreamEnding.CANCELLED and not self._closed:
            # A server that is shut down hard cancels its calls: that is its doing, not ours.
            ending = StreamEnding.UNAVAILABLE
        detail = _missing_socket(self._endpoint) or f"{code.name}: {error.details() or 'no detail'}"
        return StreamEnd(ending, detail[:_MAX_DETAIL_CHARACTERS])


def _missing_socket(endpoint: Endpoint) -> str:
    """The commonest reason for not reaching an agent, which gRPC hides in a long sentence."""
    try:
        if endpoint.socket_path:
            Path(endpoint.socket_path).stat()
    except FileNotFoundError:
        return f"there is no socket at {endpoint.socket_path}"
    except OSError as error:
        return f"{endpoint.socket_path}: {error.strerror}"
    return ""


def _channel_options(limits: MessageLimits) -> tuple[tuple[str, int], ...]:
    return (
        ("grpc.max_receive_message_length", limits.max_message_bytes),
        # Retrying is the source's business; gRPC's own connection backoff (1 s to 2 min) would stand in its way, and
        # is shared between channels unless the pool is local.
        ("grpc.enable_retries", 0),
        ("grpc.use_local_subchannel_pool", 1),
        # A key must not travel through whatever http_proxy names.
        ("grpc.enable_http_proxy", 0),
    )


def read_x509_message(raw: bytes, limits: MessageLimits) -> Update | Malformed:
    """Read one serialised X509SVIDResponse.

    `Malformed` for anything that the standard does not allow, with two exceptions of scope: what is wrong with a
    *federated* bundle takes trust away from that trust domain alone, so that a partner cannot keep us from renewing
    our own identity; and an empty one is legal and means exactly that.
    """
    try:
        message = X509SVIDResponse.FromString(raw)
        _check_counts(message, limits)
        own = [_read_svid(entry, limits) for entry in message.svids]
        foreign, warnings = _read_federated(message.federated_bundles, limits)
        bundles = _one_bundle_each([bundle for _, bundle in own] + foreign)
    except (DecodeError, InvalidSpiffeId, GatewayError) as error:
        return Malformed(str(error)[:_MAX_DETAIL_CHARACTERS])
    if message.crl:
        warnings.append("the message holds revocation lists, and they are not honoured")
    return Update(X509Context(_first_of_each_hint(svid for svid, _ in own), bundles), tuple(warnings))


def _check_counts(message: X509SVIDResponse, limits: MessageLimits) -> None:
    # W 5.2.1: "a mandatory `svids` field, which MUST contain one or more `X509SVID` messages".
    if not message.svids:
        raise _MessageError("svids is empty")
    if len(message.svids) > limits.max_svids:
        raise _MessageError(f"{len(message.svids)} SVIDs; at most {limits.max_svids} are taken")
    if len(message.federated_bundles) > limits.max_federated_bundles:
        found = len(message.federated_bundles)
        raise _MessageError(f"{found} federated bundles; at most {limits.max_federated_bundles} are taken")


def _read_svid(entry: X509SVID, limits: MessageLimits) -> tuple[X509Svid, X509Bundle]:
    # W 5.2.1: "All fields in the `X509SVID` message are mandatory, with the exception of the `hint` field"; W 4.5:
    # "Clients receiving a message in which a mandatory field has a default value SHOULD report an error and discard".
    for field in ("spiffe_id", "x509_svid", "x509_svid_key", "bundle"):
        if not getattr(entry, field):
            raise _MessageError(f"{field} is empty")
    _check_bundle_size(entry.bundle, limits)
    svid = parse_x509_svid(entry.spiffe_id, entry.x509_svid, entry.x509_svid_key, entry.hint)
    return svid, parse_bundle(svid.id.trust_domain, entry.bundle)


def _check_bundle_size(der: bytes, limits: MessageLimits) -> None:
    if len(der) > limits.max_bundle_bytes:
        raise _MessageError(f"a bundle has {len(der)} bytes; at most {limits.max_bundle_bytes} are taken")


def _read_federated(federated: Mapping[str, bytes], limits: MessageLimits) -> tuple[list[X509Bundle], list[str]]:
    bundles: list[X509Bundle] = []
    warnings: list[str] = []
    for key, der in federated.items():
        trust_domain = _read_trust_domain_id(key)
        try:
            _check_bundle_size(der, limits)
            bundles.append(parse_bundle(trust_domain, der))
        except GatewayError as error:
            # B 4.1.3: a bundle without a usable key makes all SVIDs of its trust domain invalid.
            bundles.append(parse_bundle(trust_domain, b""))
            warnings.append(f"nobody of {trust_domain} is trusted: {error}"[:_MAX_DETAIL_CHARACTERS])
    return bundles, warnings


def _read_trust_domain_id(key: str) -> TrustDomain:
    # W 5.1: `federated_bundles` is "keyed by the SPIFFE ID of the foreign trust domain".
    found = SpiffeId.parse(key)
    if found.path:
        raise _MessageError(f"{key[:100]!r} is not the SPIFFE ID of a trust domain")
    return found.trust_domain


def _one_bundle_each(bundles: Iterable[X509Bundle]) -> Mapping[TrustDomain, X509Bundle]:
    """Two entries may name the same trust domain; which of two different bundles were meant, nobody can say."""
    chosen: dict[TrustDomain, X509Bundle] = {}
    for bundle in bundles:
        if chosen.setdefault(bundle.trust_domain, bundle).digest != bundle.digest:
            raise _MessageError(f"two different bundles for {bundle.trust_domain}")
    return MappingProxyType(chosen)


def _first_of_each_hint(svids: Iterable[X509Svid]) -> tuple[X509Svid, ...]:
    # W 5.2.1: "In the event that a [...] client encounters more than one `X509SVID` message with the same `hint` value
    # set, then the first message in the list SHOULD be selected."
    chosen: list[X509Svid] = []
    for svid in svids:
        if not svid.hint or all(svid.hint != other.hint for other in chosen):
            chosen.append(svid)
    return tuple(chosen)
