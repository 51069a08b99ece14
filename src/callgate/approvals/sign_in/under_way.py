"""A sign-in under way: what the gate has to remember between sending a browser away and seeing it again.

It is kept in the store, because the answer may come to another worker, and is found only by what the provider sends back
(`state`) together with what this one browser has (a cookie).  So a callback that somebody else began is worth nothing in
this browser, and one that was stolen is worth nothing in another (RFC 9700, sections 2.1 and 4.7).
"""

import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Final
from urllib.parse import urlencode

from callgate.approvals.model import Moment
from callgate.approvals.sign_in.provider import Provider
from callgate.approvals.sign_in.settings import SignInSettings
from callgate.approvals.store import Secret
from callgate.wire.json_strict import JsonLimits, dumps, loads

KIND: Final = "sign-in"
# Somebody has to find their second factor meanwhile.
UNDER_WAY_S: Final = 600
# A sign-in counts as fresh for as long as it takes to come back from the provider, and to read what it asks.
FRESH_S: Final = 60
# A working day.  Above all, asking for some limit makes providers say when it was (OpenID Connect Core 1.0, section
# 3.1.2.1: "When max_age is used, the ID Token returned MUST include an auth_time Claim Value").
LONGEST_AGO_S: Final = 12 * 3600
HOME: Final = "/approvals"
_MAX_PATH_CHARACTERS: Final = 300
_MAX_BODY_BYTES: Final = 2_000
# A path of this site and nothing else: no scheme, no host ("//"), no backslash, no dot segments, nothing encoded.
_PATH: Final = re.compile(r"/approvals(?:/r/[A-Za-z0-9_-]{1,64})?(?:\?[A-Za-z0-9_=&-]*)?")
_SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class UnderWay:
    """`after`: the page to show in the end.  `began`: Unix seconds.  `fresh`: the person has to prove anew who they are."""

    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    after: str
    fresh: bool
    began: float


def safe_path(text: str | None) -> str:
    """Where to go in the end: a page that shows approvals; the list of them for whatever is none."""
    if text is None or len(text) > _MAX_PATH_CHARACTERS or _PATH.fullmatch(text) is None:
        return HOME
    return text


def random_text(secret: Callable[[int], bytes]) -> str:
    """256 bits in base64url: 43 characters, as many as RFC 7636, section 4.1, wants of a verifier."""
    return urlsafe_b64encode(secret(_SECRET_BYTES)).rstrip(b"=").decode()


def authorization_url(settings: SignInSettings, provider: Provider, state: str, going: UnderWay) -> str:
    """Where the browser is sent (OpenID Connect Core 1.0, section 3.1.2.1; RFC 7636, section 4.3)."""
    asked = {
        "response_type": "code",
        "client_id": settings.client_id,
        "redirect_uri": settings.redirect_uri,
        "scope": " ".join(settings.scopes),
        "state": state,
        "nonce": going.nonce,
        "code_challenge": urlsafe_b64encode(sha256(going.verifier.encode()).digest()).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
        # Not 0 for a fresh one: a provider that looks again after it asked for the password would ask for ever.
        "max_age": str(FRESH_S if going.fresh else LONGEST_AGO_S),
        **({"prompt": "login"} if going.fresh else {}),
    }
    endpoint = provider.authorization_endpoint
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}"


def digest_of(state: str, browser: str) -> str:
    """What the store finds it by."""
    return sha256(f"{state}.{browser}".encode()).hexdigest()


def kept(going: UnderWay, state: str, browser: str, now: Moment) -> Secret:
    """As the store keeps it."""
    return Secret(digest_of(state, browser), KIND, dumps(asdict(going)), now, UNDER_WAY_S)


def read_under_way(body: bytes) -> UnderWay | None:
    """What was kept; None for what this gate did not write."""
    found = loads(body, JsonLimits(max_bytes=_MAX_BODY_BYTES, max_depth=2, safe_integers=False))
    if not isinstance(found, dict):
        return None
    match found:
        case {"nonce": str(nonce), "verifier": str(verifier), "after": str(after), "fresh": bool(fresh), **more}:
            began = more.get("began")
            return UnderWay(nonce, verifier, safe_path(after), fresh, began) if isinstance(began, float) else None
        case _:
            return None
