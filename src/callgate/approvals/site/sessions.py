"""Who is there: a signed-in browser, or a user of this machine at the admin socket.

A browser has a cookie of 32 random bytes, of which the store keeps the digest alone.  Nothing that a browser says makes a
session: each sign-in begins a new one and ends the one before, so that a cookie that was planted is worth nothing.

Browsers tell a cookie to every port of a host (RFC 6265, 8.5): on this machine also to a page that an agent serves.  So a
session that began on this machine is good for the same user of it alone, as the kernel tells.
"""

import pwd
import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final

from starlette.requests import Request

from callgate.approvals.model import LOCAL_GROUP, LOCAL_PREFIX, Deadline, Means, Moment, Person
from callgate.approvals.site.parts import SiteParts, parts_of
from callgate.approvals.store import Session, Store
from callgate.net.local_listener import Credentials

_SECRET_BYTES: Final = 32
# 32 bytes in base64url without padding (RFC 4648, 5).
_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{43}")
# How exactly it is kept when a session was last used: not each request is worth a write.
_LAST_USED_STEP_S: Final = 20.0
PEER: Final = "callgate.peer"
# Which user of this machine made the TCP connection; None where it came from another one.
USER: Final = "callgate.user"


@dataclass(frozen=True, slots=True)
class Signed:
    """Who is there.  `csrf`: what this browser's requests that change something have to say; "" by the socket.

    `session`: None for whoever came by the admin socket.
    """

    person: Person
    csrf: str
    session: Session | None


async def signed_in(request: Request) -> Signed | None:
    """Who sent this request; None for nobody that we know.  Raises StoreFault."""
    parts = parts_of(request)
    peer = peer_of(request)
    if peer is not None:
        return Signed(_local_person(peer.uid, parts.moment()), "", None) if peer.uid in parts.uids else None
    session = await _session_of(request, parts)
    if session is None:
        return None
    now = parts.moment()
    if not _is_by_itself(request):
        session = await _used(session, now, parts)
    return Signed(session.person, session.csrf, session) if session is not None else None


async def still_signed_in(request: Request) -> bool:
    """Whether the same session holds, without taking this for a use of it.  Raises StoreFault."""
    parts = parts_of(request)
    if peer_of(request) is not None:
        return True
    return await _session_of(request, parts) is not None


async def begin_session(request: Request, person: Person) -> tuple[Session, str]:
    """A new session for whoever proved to be `person`, and the value of Set-Cookie.  Ends the browser's one before.

    Raises StoreFault.
    """
    parts = parts_of(request)
    before = await _session_of(request, parts)
    cookie, csrf, now = _random(parts), _random(parts), parts.moment()
    session = Session(_digest(request, cookie), person, csrf, now, now)
    if before is not None:
        parts.recent.drop(before.person.name, before.digest)
    over = (*parts.recent.add(person.name, session.digest), *((before.digest,) if before else ()))

    def step(store: Store) -> None:
        for digest in over:
            store.drop_session(digest)
        store.keep_session(session)

    await parts.store.do(step)
    return session, _set_cookie(parts, cookie)


async def end_session(request: Request) -> str:
    """Sign out: the session is no more, whoever has its cookie.  The value of Set-Cookie.  Raises StoreFault."""
    parts = parts_of(request)
    session = await _session_of(request, parts)
    if session is not None:
        await parts.store.do(lambda store: store.drop_session(session.digest))
        parts.recent.drop(session.person.name, session.digest)
    return _set_cookie(parts, "") + "; Max-Age=0"


def peer_of(request: Request) -> Credentials | None:
    """Who is at the other end of the admin socket; None where the request came another way."""
    peer = request.scope.get("extensions", {}).get(PEER)
    return peer if isinstance(peer, Credentials) else None


def cookie_name(url: str) -> str:
    """RFC 6265bis, 4.1.3.2: what begins with `__Host-` came from this very host, by TLS, for all paths."""
    return "__Host-callgate" if url.startswith("https:") else "callgate"


def user_name(uid: int) -> str:
    """What policies call this user of the machine: `local:ada`; by number, `local:#1000`, where it has no name."""
    try:
        return LOCAL_PREFIX + pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"{LOCAL_PREFIX}#{uid}"


def _local_person(uid: int, now: Moment) -> Person:
    return Person(user_name(uid), frozenset({LOCAL_GROUP}), Means.SOCKET, now.wall, uid=uid)


async def _session_of(request: Request, parts: SiteParts) -> Session | None:
    cookie = _cookie(request, cookie_name(parts.url))
    if cookie is None:
        return None
    digest = _digest(request, cookie)
    session: Session | None = await parts.store.do(lambda store: store.session(digest))
    return session if session is not None and _holds(session, parts.moment(), parts) else None


def _holds(session: Session, now: Moment, parts: SiteParts) -> bool:
    idle, longest = Deadline(session.last, parts.session_idle_s), Deadline(session.began, parts.session_max_s)
    return _may_come(session.person, parts) and not idle.passed(now) and not longest.passed(now)


def _may_come(person: Person, parts: SiteParts) -> bool:
    """By what is configured now: a session outlives the gate, and so the provider or the user that it began with."""
    return person.uid in parts.uids if person.uid is not None else person.issuer == parts.issuer


def _is_by_itself(request: Request) -> bool:
    """Whether a page's script may have asked this: that nobody closed a page is no sign that somebody is there.

    Fetch Metadata: Sec-Fetch-Mode is `navigate` where a person went to a page.  Browsers that do not say it are believed.
    """
    if request.method == "POST":
        return False
    return request.url.path.startswith("/api/") or request.headers.get("sec-fetch-mode", "navigate") != "navigate"


async def _used(session: Session, now: Moment, parts: SiteParts) -> Session | None:
    """The session, used at `now`; None where it was signed out meanwhile."""
    if not Deadline(session.last, _LAST_USED_STEP_S).passed(now):
        return session
    after = replace(session, last=now)

    def step(store: Store) -> Session | None:
        # What was dropped a moment ago must not come back by being used.
        if store.session(session.digest) is None:
            return None
        store.keep_session(after)
        return after

    return await parts.store.do(step)


def _cookie(request: Request, name: str) -> str | None:
    """The only cookie of that name: of two, one was planted, and nobody can tell which (RFC 6265, 8.6)."""
    pairs = (pair.strip(" \t").partition("=") for line in request.headers.getlist("cookie") for pair in line.split(";"))
    values = [value for key, _, value in pairs if key == name]
    return values[0] if len(values) == 1 and _SECRET.fullmatch(values[0]) else None


def _set_cookie(parts: SiteParts, value: str) -> str:
    secure = "; Secure" if parts.url.startswith("https:") else ""
    return f"{cookie_name(parts.url)}={value}; Path=/; HttpOnly; SameSite=Lax{secure}"


def _random(parts: SiteParts) -> str:
    return urlsafe_b64encode(parts.secret(_SECRET_BYTES)).rstrip(b"=").decode()


def _digest(request: Request, cookie: str) -> str:
    user = request.scope.get("extensions", {}).get(USER)
    return sha256((cookie if user is None else f"{cookie} {user}").encode()).hexdigest()
