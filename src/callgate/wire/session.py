"""Legacy session handles: what `Mcp-Session-Id` says to an agent.

The gate keeps no sessions.  The handle is the tool server's own session id, sealed with a key of the gate and bound to
the workload that opened the session and to the server, so that in anyone else's hands, or at another server, it does
not exist.  2025-11-25, basic/transports, "Session Management" asks for ids that are hard to guess and says nothing
about who presents them.
"""

import re
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from callgate.errors import Reason, Refusal
from callgate.identity.spiffe_id import SpiffeId

# The id of a tool server: 2025-11-25: "The session ID MUST only contain visible ASCII characters (ranging from 0x21
# to 0x7E)"; it sets no length.  SDKs send 32 to 36 characters.
MAX_UPSTREAM_ID_CHARS: Final = 1024
# The handle of one that long: 12 + 9 + 1024 + 16 bytes in base64.
MAX_HANDLE_CHARS: Final = 1415

NONCE_BYTES: Final = 12
_VISIBLE: Final = re.compile(r"[!-~]+")
# Milliseconds since 1970, and whether an upstream id follows ("" is not the same as none).
_OPENED: Final = struct.Struct(">Q?")
# Gates that share a key need not share a clock to the millisecond.
_CLOCK_SKEW_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Session:
    """A legacy session.

    `upstream_id`: the tool server's id, None for one that has no sessions.  `opened`: Unix s.  `nonce`: what the handle
    was sealed with, which tells this session from all others.
    """

    upstream_id: str | None
    opened: float
    nonce: bytes


def is_session_id(text: str) -> bool:
    """Whether a tool server's session id is one that the gate can seal: visible ASCII, at most 1024 characters."""
    return len(text) <= MAX_UPSTREAM_ID_CHARS and _VISIBLE.fullmatch(text) is not None


class SessionSealer:
    """Seals and opens handles with AES-256-GCM.

    `key`: 32 random bytes.  NIST SP 800-38D, 8.3 allows 2^32 random nonces for one key: a thousand sessions a second
    for 50 days, and the gate makes a new key at each start.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != 32:
            raise ValueError("a sealing key has 32 bytes")
        self._aead = AESGCM(key)

    def seal(self, upstream_id: str | None, caller: SpiffeId, server: str, nonce: bytes, now: float) -> str:
        """The handle of a session that `caller` opened at `server` at `now` (Unix seconds).

        `nonce`: 12 random bytes, never used again.  ValueError for another length, or for an upstream id that is none
        (`is_session_id`).
        """
        if len(nonce) != NONCE_BYTES or not (upstream_id is None or is_session_id(upstream_id)):
            raise ValueError("not a nonce of 12 bytes, or no session id")
        opened = _OPENED.pack(int(now * 1000), upstream_id is not None)
        sealed = self._aead.encrypt(nonce, opened + (upstream_id or "").encode(), _bound_to(caller, server))
        return urlsafe_b64encode(nonce + sealed).rstrip(b"=").decode()

    def open(self, handle: str, caller: SpiffeId, server: str, now: float, max_age_s: float) -> Session | Refusal:
        """The session behind a handle.

        SESSION_UNKNOWN for everything that is not a handle of this caller at this server, or is older than `max_age_s`:
        whoever tries one learns nothing about why.
        """
        session = self._opened(handle, caller, server)
        if session is None or not -_CLOCK_SKEW_S <= now - session.opened <= max_age_s:
            return Refusal(Reason.SESSION_UNKNOWN)
        return session

    def _opened(self, handle: str, caller: SpiffeId, server: str) -> Session | None:
        sealed = _decode(handle)
        if sealed is None:
            return None
        try:
            content = self._aead.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], _bound_to(caller, server))
        except (InvalidTag, ValueError):
            return None
        opened_ms, has_id = _OPENED.unpack_from(content)
        return Session(content[_OPENED.size :].decode() if has_id else None, opened_ms / 1000, sealed[:NONCE_BYTES])


def _bound_to(caller: SpiffeId, server: str) -> bytes:
    """The associated data.  Lengths come first, so that no two pairs of caller and server give the same bytes."""
    parts = (b"callgate session 1", str(caller).encode(), server.encode())
    return b"".join([struct.pack(">I", len(part)) + part for part in parts])


def _decode(handle: str) -> bytes | None:
    if len(handle) > MAX_HANDLE_CHARS or not handle.isascii():
        return None
    try:
        sealed = urlsafe_b64decode(handle + "=" * (-len(handle) % 4))
    except (Base64Error, ValueError):
        return None
    # The decoder skips what is not base64 and ignores spare bits; one session has one handle.
    return sealed if urlsafe_b64encode(sealed).rstrip(b"=").decode() == handle else None
