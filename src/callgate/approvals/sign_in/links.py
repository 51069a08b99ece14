"""One-time links: a user of this machine, whom the kernel vouches for, opens the page signed in.

The link holds 32 random bytes, and after a dot the name of whoever it signs in, for the page that asks before it does.
The store's digest is over both: a link whose name was changed is no link.
"""

import re
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from callgate.approvals.model import LOCAL_GROUP, Means, Person
from callgate.approvals.sign_in.under_way import random_text
from callgate.approvals.store import Secret
from callgate.users.base64url import decode
from callgate.wire.json_strict import JsonLimits, dumps, loads

if TYPE_CHECKING:
    from callgate.approvals.site.parts import SiteParts

KIND: Final = "link"
ENTER_PATH: Final = "/approvals/enter"
# As long as it takes to copy it from a terminal into a browser.
LINK_S: Final = 60
# User names have at most 32 characters (useradd(8)), and `local:` stands before them.
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43}\.([A-Za-z0-9_-]{1,400})")
_MAX_BODY_BYTES: Final = 1_000


async def make_link(parts: "SiteParts", person: Person) -> str:
    """A URL that signs `person` in once, within LINK_S seconds.  Raises StoreFault.

    ValueError for anybody but a user of this machine: nobody else is known to be there without a sign-in.
    """
    if person.means is not Means.SOCKET or person.uid is None:
        raise ValueError("a link is for whoever came by the admin socket")
    name = urlsafe_b64encode(person.name.encode()).rstrip(b"=").decode()
    token = f"{random_text(parts.secret)}.{name}"
    body = dumps({"name": person.name, "uid": person.uid, "signed_in": person.signed_in})
    secret = Secret(_digest(token), KIND, body, parts.moment(), LINK_S)
    await parts.store.do(lambda store: store.keep_secret(secret))
    return f"{parts.url}{ENTER_PATH}?token={token}"


def name_in(token: str) -> str | None:
    """Whom a link says that it signs in, without using it; None for what is no link.  Nothing of it is checked yet."""
    found = _TOKEN.fullmatch(token)
    octets = decode(found[1]) if found else None
    try:
        name = (octets or b"").decode()
    except UnicodeDecodeError:
        return None
    return name if name and name.isprintable() else None


async def use_link(parts: "SiteParts", token: str) -> Person | None:
    """Whom it signs in, once; None where it was used, is too old or was never made.  Raises StoreFault."""
    if name_in(token) is None:
        return None
    digest, now = _digest(token), parts.moment()
    body = await parts.store.do(lambda store: store.take_secret(digest, KIND, now))
    return None if body is None else _read(body)


def _read(body: bytes) -> Person | None:
    found = loads(body, JsonLimits(max_bytes=_MAX_BODY_BYTES, max_depth=2, safe_integers=False))
    if not isinstance(found, dict):
        return None
    match found:
        case {"name": str(name), "uid": int(uid), "signed_in": float(signed_in)}:
            return Person(name, frozenset({LOCAL_GROUP}), Means.SOCKET, signed_in, uid=uid)
        case _:
            return None


def _digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()
