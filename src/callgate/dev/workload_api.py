"""A SPIFFE Workload API for development: one socket a workload, real gRPC, short-lived SVIDs that rotate.

Any SPIFFE client can use it.  Who may open a workload's socket is that workload: there is no attestation, and that is
why it is for development alone.  Synchronous, on threads of its own; every method may be called from any thread.

W is SPIFFE Workload API, E is SPIFFE Workload Endpoint.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc

from callgate.dev.authority import DAY_S, DevAuthority
from callgate.dev.issuance import DevWorkloadApiError, Issuance
from callgate.dev.sockets import address_of, prepare_directory, remove_stale_socket, socket_path_of
from callgate.identity.endpoint import parse_endpoint
from callgate.identity.spiffe_id import SpiffeId
from callgate.identity.workload_api import (
    FETCH_X509_BUNDLES,
    FETCH_X509_SVID,
    SECURITY_METADATA,
    SERVICE,
    X509SVIDResponse,
)

# Each open stream holds a thread.  A workload has one or two; a test may have a few more.
MAX_STREAMS_PER_WORKLOAD = 16
# How long `stop` waits for the streams that it ended to be gone.
STOP_GRACE_S = 1.0


@dataclass(frozen=True, slots=True)
class _Refused:
    """What a stream is answered instead of messages."""

    code: grpc.StatusCode
    detail: str


@dataclass(frozen=True, slots=True)
class _Offer:
    """What a workload is given at this moment, serialised."""

    x509_svid: bytes | _Refused
    x509_bundles: bytes | _Refused


_STOPPED = _Offer(*2 * (_Refused(grpc.StatusCode.UNAVAILABLE, "the development Workload API is stopping"),))


class _Desk:
    """Where the streams of one workload wait for the next offer.  Only the latest matters: W 4.3, each is complete."""

    def __init__(self, socket_path: Path) -> None:
        self.socket_path = socket_path
        self._turn = threading.Condition()
        self._offer = _STOPPED
        self._number = 0
        self._round = 0
        self.streams_opened = 0

    def put(self, offer: _Offer) -> None:
        """Give this to every stream that is open and to every one that comes."""
        with self._turn:
            self._offer = offer
            self._number += 1
            self._turn.notify_all()

    def end_streams(self) -> None:
        """End every open stream cleanly."""
        with self._turn:
            self._round += 1
            self._turn.notify_all()

    def x509_svids(self, _request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        """FetchX509SVID."""
        return self._follow(context, lambda offer: offer.x509_svid)

    def x509_bundles(self, _request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        """FetchX509Bundles."""
        return self._follow(context, lambda offer: offer.x509_bundles)

    def _follow(self, context: grpc.ServicerContext, pick: Callable[[_Offer], bytes | _Refused]) -> Iterator[bytes]:
        _require_security_metadata(context)
        context.add_callback(self._wake)
        with self._turn:
            self.streams_opened += 1
            opened_in, seen = self._round, -1
        while True:
            with self._turn:
                while self._number == seen and self._round == opened_in and context.is_active():
                    self._turn.wait()
                if self._round != opened_in or not context.is_active():
                    return
                seen, offered = self._number, pick(self._offer)
            if isinstance(offered, _Refused):
                context.abort(offered.code, offered.detail)
            yield offered

    def _wake(self) -> None:
        with self._turn:
            self._turn.notify_all()


def _require_security_metadata(context: grpc.ServicerContext) -> None:
    # E 6: "Implementations receiving a client request that does not contain the mandatory security header MUST respond
    # with gRPC status code "InvalidArgument"".
    if SECURITY_METADATA not in {(key, value) for key, value in context.invocation_metadata()}:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "security header missing from request")


class DevWorkloadApi:
    """Serves `<directory>/<name>.sock` for each workload: its SVID, its trust domain's bundle, and all the others'.

    Use it as a context manager, or `start` and `stop` it; it may be started again, with the same authorities.
    Each SVID is replaced at half its life and each authority at half of its own, until `stop`.
    """

    def __init__(
        self,
        directory: Path | str,
        workloads: Mapping[str, str],
        *,
        ttl_s: float = 300.0,
        authority_lifetime_s: float = DAY_S,
        dns_names: Mapping[str, Sequence[str]] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Nothing is served before `start`.  Raises `DevWorkloadApiError` or `InvalidEndpoint`.

        `workloads`: name of the socket to SPIFFE ID.  `dns_names`: name of the socket to further names in its SVID.
        `now`: Unix seconds.
        """
        self.directory = Path(directory).absolute()
        self._now = now
        self._issuance = Issuance(
            workloads, dns_names or {}, ttl_s=ttl_s, authority_lifetime_s=authority_lifetime_s, now=now()
        )
        self._desks = {name: _Desk(socket_path_of(self.directory, name)) for name in workloads}
        self._refused: dict[str, _Refused] = {}
        self._lock = threading.Lock()
        self._servers: list[tuple[grpc.Server, ThreadPoolExecutor]] = []
        self._stopping = threading.Event()
        self._renewing: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def workloads(self) -> Mapping[str, SpiffeId]:
        """Name to SPIFFE ID."""
        return self._issuance.ids

    def endpoint(self, name: str) -> str:
        """The value of SPIFFE_ENDPOINT_SOCKET for that workload."""
        return address_of(self._desk(name).socket_path)

    def authority(self, trust_domain: str) -> DevAuthority:
        """The CA of a trust domain, for certificates that this API would not issue."""
        return self._issuance.authority(trust_domain)

    def streams_opened(self, name: str) -> int:
        """How many streams this workload's socket has been asked for."""
        return self._desk(name).streams_opened

    def start(self) -> None:
        """Issue fresh SVIDs, make the sockets and serve them.  Raises `DevWorkloadApiError`, leaving nothing behind."""
        prepare_directory(self.directory)
        for desk in self._desks.values():
            remove_stale_socket(desk.socket_path)
        with self._changing():
            for name in self._desks:
                self._issuance.issue(name, now=self._now())
        try:
            for desk in self._desks.values():
                self._servers.append(_serve(desk))
        except BaseException:
            self.stop()
            raise
        self._stopping.clear()
        self._renewing = threading.Thread(target=self._renew_until_stopped, name="callgate-dev-renew", daemon=True)
        self._renewing.start()

    def stop(self) -> None:
        """End all streams (Unavailable), and remove the sockets.  Takes `STOP_GRACE_S` at most; may be called twice."""
        self._stopping.set()
        if self._renewing is not None:
            self._renewing.join()
            self._renewing = None
        for desk in self._desks.values():
            desk.put(_STOPPED)
        stopped = [(server.stop(STOP_GRACE_S), executor) for server, executor in self._servers]
        self._servers.clear()
        for gone, executor in stopped:
            gone.wait()
            executor.shutdown()

    def rotate(self, name: str) -> None:
        """Give the workload a new SVID."""
        with self._changing():
            self._issuance.issue(name, now=self._now())

    def rotate_authority(self, trust_domain: str) -> None:
        """A new root for the trust domain, beside the old ones in its bundle, and new SVIDs for its workloads."""
        with self._changing():
            self._issuance.rotate_authority(trust_domain, now=self._now())

    def drop_old_roots(self, trust_domain: str) -> None:
        """Leave the newest root alone in the trust domain's bundle."""
        with self._changing():
            self._issuance.authority(trust_domain).drop_old_roots()

    def withdraw(self, name: str) -> None:
        """Take the identity away, as SPIRE does when a registration entry is deleted: PermissionDenied."""
        self.refuse(name, grpc.StatusCode.PERMISSION_DENIED, "no identity issued")

    def refuse(self, name: str, code: grpc.StatusCode, detail: str) -> None:
        """Answer every stream of the workload with this status, until `restore`."""
        self._desk(name)
        with self._changing():
            self._refused[name] = _Refused(code, detail)

    def restore(self, name: str) -> None:
        """The end of `refuse` or `withdraw`."""
        with self._changing():
            self._refused.pop(name, None)

    def remove_bundle(self, trust_domain: str) -> None:
        """End the federation of all other trust domains with this one, until `restore_bundle`."""
        with self._changing():
            self._issuance.replace_bundle_for_others(trust_domain, None)

    def empty_bundle(self, trust_domain: str) -> None:
        """Hand the other trust domains an empty bundle for this one, until `restore_bundle`.

        SPIRE does so for a federated trust domain that publishes no X.509 keys.
        """
        with self._changing():
            self._issuance.replace_bundle_for_others(trust_domain, b"")

    def restore_bundle(self, trust_domain: str) -> None:
        """The end of `remove_bundle` or `empty_bundle`."""
        with self._changing():
            self._issuance.restore_bundle_for_others(trust_domain)

    def end_streams(self, name: str) -> None:
        """End the workload's open streams without an error."""
        self._desk(name).end_streams()

    def message(self, name: str) -> X509SVIDResponse:
        """A copy of the workload's present FetchX509SVID message, to spoil and `send`."""
        with self._lock:
            return self._issuance.x509_svid_response(name)

    def send(self, name: str, raw: bytes) -> None:
        """Answer the workload's FetchX509SVID streams with these very bytes, until anything else changes."""
        with self._lock:
            bundles = self._issuance.x509_bundles_response(name).SerializeToString()
            self._desk(name).put(_Offer(raw, bundles))

    def _desk(self, name: str) -> _Desk:
        if name not in self._desks:
            raise DevWorkloadApiError(f"there is no workload {name!r}; there are {', '.join(self._desks)}")
        return self._desks[name]

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Change what is issued, then tell every workload."""
        with self._lock:
            yield
            for name, desk in self._desks.items():
                desk.put(self._offer(name))

    def _offer(self, name: str) -> _Offer:
        refused = self._refused.get(name)
        if refused is not None:
            return _Offer(refused, refused)
        return _Offer(
            self._issuance.x509_svid_response(name).SerializeToString(),
            self._issuance.x509_bundles_response(name).SerializeToString(),
        )

    def _renew_until_stopped(self) -> None:
        # Once a minute at least: the machine may have slept, or the clock been set.
        while not self._stopping.wait(min(self._issuance.until_due_s(now=self._now()), 60.0)):
            if self._issuance.until_due_s(now=self._now()) <= 0:
                with self._changing():
                    self._issuance.renew_due(now=self._now())


def _serve(desk: _Desk) -> tuple[grpc.Server, ThreadPoolExecutor]:
    executor = ThreadPoolExecutor(MAX_STREAMS_PER_WORKLOAD, thread_name_prefix=f"callgate-dev-{desk.socket_path.stem}")
    # Messages are bytes already.  The methods of the JWT profile are not there: gRPC answers them Unimplemented.
    methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        FETCH_X509_SVID: grpc.unary_stream_rpc_method_handler(desk.x509_svids),
        FETCH_X509_BUNDLES: grpc.unary_stream_rpc_method_handler(desk.x509_bundles),
    }
    server = grpc.server(
        executor,
        handlers=[grpc.method_handlers_generic_handler(SERVICE, methods)],
        maximum_concurrent_rpcs=MAX_STREAMS_PER_WORKLOAD,
    )
    try:
        server.add_insecure_port(parse_endpoint(address_of(desk.socket_path)).grpc_target)
    except RuntimeError as error:
        executor.shutdown()
        raise DevWorkloadApiError(f"cannot make the socket {desk.socket_path}: {error}") from error
    server.start()
    desk.socket_path.chmod(0o600)
    return server, executor
