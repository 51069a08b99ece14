"""One POST to a place outside: no redirect, no proxy, and nothing of the answer but its status and Retry-After."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

import httpx2
import trio

from callgate.addresses import Url
from callgate.approvals.notify.target import UnusableTarget

_USER_AGENT: Final = "callgate"
# RFC 9110, section 10.2.3: delay-seconds; nobody means more digits than these.
_MAX_DELAY_DIGITS: Final = 9


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.  `retry_after`: as the header has it, "" without one."""

    status: int
    retry_after: str

    def pause_s(self, now: float) -> float:
        """RFC 9110, section 10.2.3: Retry-After = HTTP-date / delay-seconds; 0 where it says neither."""
        text = self.retry_after.strip()
        if text.isascii() and text.isdigit():
            return float(text[:_MAX_DELAY_DIGITS])
        try:
            return max(0.0, parsedate_to_datetime(text).timestamp() - now)
        except (ValueError, OverflowError):
            return 0.0


def trusting(ca_file: Path | None) -> ssl.SSLContext:
    """What verifies the other side: the system's authorities, or those of the file.  Raises UnusableTarget."""
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError as error:
        # Its own words are OpenSSL's.
        raise UnusableTarget(f"{ca_file}: holds no certificates of authorities in PEM") from error
    except OSError as error:
        raise UnusableTarget(f"{ca_file}: authorities cannot be read: {error.strerror or error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def check_url(url: str) -> None:
    """Raises UnusableTarget for anything but https, and http on this machine."""
    try:
        found = Url.parse(url)
    except ValueError as error:
        raise UnusableTarget(f"the URL {error}") from error
    if found.scheme == "http" and not found.is_loopback:
        raise UnusableTarget("the URL must start with https://; http is for this machine alone")


async def post(
    url: str, tls: ssl.SSLContext, headers: Mapping[str, str], body: bytes, timeout_s: float
) -> Answer | str:
    """POST a body.  Returns why there is no answer, in words without anything secret; raises only what cancels it.

    The answer's body is not read at all, however long it is.
    """
    with trio.move_on_after(timeout_s):
        try:
            # Like `users.fetch`: httpx2's own timeouts are for each read, and a server that trickles never meets one.
            client = httpx2.AsyncClient(verify=tls, trust_env=False, follow_redirects=False, timeout=None)
            whole = {"User-Agent": _USER_AGENT, **headers}
            async with client, client.stream("POST", url, content=body, headers=whole) as response:
                return Answer(response.status_code, response.headers.get("retry-after", ""))
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            return said_of(error)
    return f"no answer within {timeout_s:g} s"


def said_of(error: BaseException) -> str:
    """In the words of the system: those of an HTTP client can hold the URL, and that a credential."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {cause.verify_message}"
    said = "" if cause is None or not cause.strerror else f": {cause.strerror}"
    return f"{type(error).__name__}{said}"
