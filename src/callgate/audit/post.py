"""A checkpoint to whoever keeps it at a URL: no redirect, no proxy, and nothing of the answer but its status."""

import ssl
from typing import Final

import httpx2

_HEADERS: Final = {"Content-Type": "text/plain; charset=utf-8", "User-Agent": "callgate"}


async def post(url: str, tls: ssl.SSLContext, note: str) -> str:
    """POST a signed note.  Returns "" where it was taken, else why not; raises nothing but what cancels it.

    The caller bounds the time.  A proxy that the environment names is not used, as with all that the gate trusts.
    """
    try:
        # A client for each: connections that wait between two checkpoints are what servers and firewalls drop.
        client = httpx2.AsyncClient(verify=tls, trust_env=False, follow_redirects=False, timeout=None)
        async with client, client.stream("POST", url, content=note.encode(), headers=_HEADERS) as response:
            if response.is_success:
                return ""
            return f"HTTP {response.status_code}{', and redirects are not followed' * response.is_redirect}"
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        return _said_of(error)


def _said_of(error: Exception) -> str:
    """In the words of the system: those of the HTTP client can hold the URL, and that a credential."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    kind = type(error).__name__
    return kind if cause is None else f"{kind}: {cause.strerror or cause}"
