"""One exchange with an issuer, made with suspicion: no redirect, no proxy, no compression, a bounded size and time."""

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from types import MappingProxyType
from typing import Final

import httpx2
import trio

from callgate.users.unusable import Unusable

_HEADERS: Final = {
    "Accept": "application/json, application/jwk-set+json",
    # A compressed answer could be a thousand times as large as what came over the network.
    "Accept-Encoding": "identity",
    "User-Agent": "callgate",
}
# RFC 9111, section 5.2.2.1.
_MAX_AGE: Final = re.compile(r"(?:^|[\s,])max-age=\"?([0-9]{1,9})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: GET without a `form`, else POST with it.  `headers` come in addition and are never told of.

    `statuses` are those whose answers are read.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    form: Mapping[str, str] | None = field(default=None, repr=False)
    statuses: frozenset[int] = frozenset({200})


@dataclass(frozen=True, slots=True)
class Fetched:
    """A document, and for how long its server says that it is fresh (None where it does not say)."""

    octets: bytes = field(repr=False)
    max_age_s: int | None
    status: int = 200
    media_type: str = ""


async def fetch(url: str, tls: ssl.SSLContext, max_bytes: int, timeout_s: float) -> Fetched | Unusable:
    """GET one document.  Raises nothing but what cancels it."""
    return await ask(Question(url), tls, max_bytes, timeout_s)


async def ask(question: Question, tls: ssl.SSLContext, max_bytes: int, timeout_s: float) -> Fetched | Unusable:
    """One question and its answer.  Raises nothing but what cancels it.

    Redirects are not followed: only what is configured, or what the metadata name and `discovery` lets through, is
    ever asked.  A proxy that the environment names is not used, because it would stand between the gate and its trust.
    """
    with trio.move_on_after(timeout_s):
        try:
            return await _ask(question, tls, max_bytes)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            return Unusable(f"{question.url}: {type(error).__name__} {error}"[:300].rstrip())
    return Unusable(f"{question.url}: not done within {timeout_s:g} s")


async def _ask(question: Question, tls: ssl.SSLContext, max_bytes: int) -> Fetched | Unusable:
    # `ask` has the one timeout: httpx2's own are for each read, and a server that trickles never meets one.
    client = httpx2.AsyncClient(verify=tls, trust_env=False, follow_redirects=False, timeout=None)
    method = "GET" if question.form is None else "POST"
    headers = {**_HEADERS, **question.headers}
    async with client, client.stream(method, question.url, headers=headers, data=question.form) as response:
        if why := _refuse_answer(response, question.statuses):
            return Unusable(f"{question.url}: {why}")
        octets = bytearray()
        async for piece in response.aiter_raw():
            octets += piece
            if len(octets) > max_bytes:
                return Unusable(f"{question.url}: more than {max_bytes} bytes")
        media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        max_age_s = _max_age_s(response.headers.get("cache-control", ""))
        return Fetched(bytes(octets), max_age_s, response.status_code, media_type)


def _refuse_answer(response: httpx2.Response, statuses: frozenset[int]) -> str:
    if response.is_redirect:
        return f"status {response.status_code}, and redirects are not followed"
    if response.status_code not in statuses:
        return f"status {response.status_code}"
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        return "compressed, though that was not asked for"
    # `localhost` may lead elsewhere, and without TLS nothing tells who answered.
    if response.url.scheme == "http" and not _is_from_loopback(response):
        return "plain http from an address that is not loopback"
    return ""


def _is_from_loopback(response: httpx2.Response) -> bool:
    address = response.extensions["network_stream"].get_extra_info("server_addr")
    return bool(ip_address(address[0]).is_loopback)


def _max_age_s(cache_control: str) -> int | None:
    found = _MAX_AGE.search(cache_control)
    return int(found[1]) if found else None
