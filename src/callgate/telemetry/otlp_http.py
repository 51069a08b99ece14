"""A client for OTLP over HTTP: one connection kept alive, one request at a time, on the thread that calls it.

By the standard library's `http.client`: what it costs is paid for by calls, as long as it holds the interpreter's lock.
"""

import base64
import gzip
import random
import socket
import threading
import time
import urllib.request
from contextlib import suppress
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from callgate.telemetry.otlp import CannotExport, Target

# "All other 4xx or 5xx response status codes MUST NOT be retried" (OTLP 1.10, OTLP/HTTP).
_RETRYABLE = frozenset({429, 502, 503, 504})
# "an exponential backoff strategy between retries", from here on; the target's timeout ends it.
_BACKOFF_S = 0.5
_JITTER = 0.2
# A request of a few spans fits into one packet as it is.
_GZIP_FROM_BYTES = 1024
# The fastest level: spans of one kind repeat themselves, and shrink by nine tenths at any level.
_GZIP_LEVEL = 1
_WOKEN_WITHIN_S = 0.2
# An answer is an empty message, or a sentence.
_ANSWER_MAX_BYTES = 64 * 1024


class Receipt(NamedTuple):
    """What became of a request: `rejected` spans (or log records) of an accepted one were refused.

    `why` is for people, "" if fine.  `status`: of an HTTP answer that refuses, else 0.
    """

    accepted: bool
    rejected: int = 0
    why: str = ""
    status: int = 0


class _Attempt(NamedTuple):
    receipt: Receipt
    # None: there is no use in another attempt.  Otherwise when, as the collector says; 0 where it does not say.
    again_in_s: float | None = None


class OtlpClient:
    """Sends bodies to one target.  `send` is for one thread; `shutdown` may come from another."""

    def __init__(self, target: Target) -> None:
        """Reads the environment for a proxy.  Raises CannotExport where the target's files or the proxy cannot be used."""
        self._target = target
        self._tls = target.tls()
        self._proxy = _proxy_for(target.parts)
        self._headers = {"user-agent": "callgate", **target.headers, "content-type": "application/x-protobuf"}
        if self._proxy and not self._tls:
            self._headers |= _proxy_authorization(self._proxy)
        self._connection: HTTPConnection | None = None
        self._sending = threading.Lock()
        self._stopping = threading.Event()
        self._chance = random.Random()  # noqa: S311  # spreads retries, guards nothing

    def send(self, body: bytes) -> Receipt:
        """Deliver one request; retries, and waits between them, until the target's timeout is over."""
        with self._sending:
            return self._send(body)

    def shutdown(self) -> None:
        """Make a `send` that is under way, and each that comes, fail at once.  Blocks for `_WOKEN_WITHIN_S` at most."""
        self._stopping.set()
        connection = self._connection
        waiting = connection.sock if connection else None
        if waiting is not None:
            # Wakes the thread that reads from it; close() would not.
            with suppress(OSError):
                waiting.shutdown(socket.SHUT_RDWR)
        if self._sending.acquire(timeout=_WOKEN_WITHIN_S):
            self._disconnect()
            self._sending.release()

    def _send(self, body: bytes) -> Receipt:
        headers = dict(self._headers)
        if self._target.gzip and len(body) >= _GZIP_FROM_BYTES:
            body = gzip.compress(body, _GZIP_LEVEL)
            headers["content-encoding"] = "gzip"
        deadline = time.monotonic() + self._target.timeout_s
        backoff_s = _BACKOFF_S
        while True:
            attempt = self._attempt(body, headers, deadline)
            if attempt.again_in_s is None:
                return attempt.receipt
            pause_s = attempt.again_in_s or backoff_s * self._chance.uniform(1 - _JITTER, 1 + _JITTER)
            backoff_s *= 2
            if time.monotonic() + pause_s >= deadline or self._stopping.wait(pause_s):
                return attempt.receipt

    def _attempt(self, body: bytes, headers: dict[str, str], deadline: float) -> _Attempt:
        if self._stopping.is_set():
            return _Attempt(Receipt(accepted=False, why="shut down"))
        kept_alive = self._connection is not None and self._connection.sock is not None
        try:
            return self._exchange(body, headers, deadline)
        except (OSError, HTTPException) as error:
            self._disconnect()
            if kept_alive and not isinstance(error, TimeoutError):
                # It was closed while nothing was sent, as servers do: that says nothing about a new one.
                return self._attempt(body, headers, deadline)
            # "If the server disconnects without returning a response, the client SHOULD retry".
            return _Attempt(Receipt(accepted=False, why=_named(error)), again_in_s=0.0)

    def _exchange(self, body: bytes, headers: dict[str, str], deadline: float) -> _Attempt:
        connection = self._connected(max(deadline - time.monotonic(), 0.001))
        if connection.sock is None:
            connection.connect()
        if self._stopping.is_set():
            # `shutdown` came before there was a socket for it to wake us by.
            raise ConnectionAbortedError("shut down")
        connection.request("POST", self._request_target(), body, headers)
        response = connection.getresponse()
        content = response.read(_ANSWER_MAX_BYTES)
        if not response.isclosed():
            self._disconnect()
        if response.status in _RETRYABLE:
            return _Attempt(_refused(response), again_in_s=_retry_after_s(response))
        return _Attempt(_receipt(content) if 200 <= response.status < 300 else _refused(response))

    def _connected(self, timeout_s: float) -> HTTPConnection:
        if self._connection is None:
            self._connection = self._new_connection()
        self._connection.timeout = timeout_s
        if self._connection.sock is not None:
            self._connection.sock.settimeout(timeout_s)
        return self._connection

    def _new_connection(self) -> HTTPConnection:
        there = self._proxy or self._target.parts
        port = there.port or (443 if self._tls and not self._proxy else 80)
        host = there.hostname or ""
        connection = HTTPSConnection(host, port, context=self._tls) if self._tls else HTTPConnection(host, port)
        if self._proxy and self._tls:
            parts = self._target.parts
            connection.set_tunnel(parts.hostname or "", parts.port or 443, _proxy_authorization(self._proxy))
        return connection

    def _request_target(self) -> str:
        parts = self._target.parts
        if self._proxy and not self._tls:
            # RFC 9112, section 3.2.2: "When making a request to a proxy, … a client MUST send … in absolute-form".
            return parts._replace(fragment="").geturl()
        return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _receipt(content: bytes) -> Receipt:
    """Of an answer with a status of success: "if the request is only partially accepted", it is HTTP 200, too.

    The answers for traces and for logs have the same fields, by their numbers.
    """
    try:
        said = ExportTraceServiceResponse.FromString(content).partial_success
    except DecodeError:
        # It was accepted all the same; not every collector answers as it should.
        return Receipt(accepted=True)
    why = f"{said.rejected_spans} spans were rejected: {said.error_message}" if said.rejected_spans > 0 else ""
    return Receipt(accepted=True, rejected=max(said.rejected_spans, 0), why=why)


def _refused(response: HTTPResponse) -> Receipt:
    return Receipt(accepted=False, why=f"HTTP {response.status} {response.reason}".rstrip(), status=response.status)


def _retry_after_s(response: HTTPResponse) -> float:
    """RFC 9110, section 10.2.3: seconds, or a date; 0 where there is none that can be read."""
    text = (response.getheader("retry-after") or "").strip()
    if text.isdecimal():
        return float(text[:9])
    try:
        return max(parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except (TypeError, ValueError):
        return 0.0


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")


def _proxy_for(target: SplitResult) -> SplitResult | None:
    """The proxy that the environment names for this target (`HTTPS_PROXY`, `NO_PROXY` and so on)."""
    found = urllib.request.getproxies()
    url = found.get(target.scheme) or found.get("all")
    if not url or urllib.request.proxy_bypass(target.netloc):
        return None
    proxy = urlsplit(url if "://" in url else f"http://{url}")
    if proxy.scheme != "http" or not proxy.hostname:
        raise CannotExport(f"the proxy for {target.hostname} is not an http:// proxy; NO_PROXY leaves it out")
    return proxy


def _proxy_authorization(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    credentials = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
    return {"proxy-authorization": f"Basic {base64.b64encode(credentials).decode('ascii')}"}
