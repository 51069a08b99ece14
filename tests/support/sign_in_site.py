"""The approvals site with a provider to sign in at, and a browser that goes there and back.

    async with site_with(tmp_path, settings_of(provider)) as site, site.browser() as browser:
        response = await browser.signs_in()
        assert (await browser.who())["name"] == "alice@acme.test"

The site is the real application over a real store on disk; the browser keeps cookies by their rules and speaks to the
provider over its socket.  Whatever the pages do not need for signing in is not there.
"""

import os
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

import httpx2
import trio

from callgate.approvals.desk import Desk
from callgate.approvals.happened import Happened
from callgate.approvals.model import Means, Moment, Person
from callgate.approvals.sign_in.oidc import SignIn
from callgate.approvals.sign_in.settings import SignInSettings
from callgate.approvals.site.app import make_site
from callgate.approvals.site.parts import SiteParts
from callgate.approvals.sqlite_store import SqliteStore
from callgate.approvals.store_thread import StoreThread
from callgate.users.key_source import KeyLimits
from support.approval_site import policy_numbered
from support.key_endpoint import HERE, Told
from support.sign_in_provider import CLIENT_ID, CLIENT_SECRET, SignInProvider
from support.user_tokens import NOW

SITE: Final = "https://gate.acme.test:8444"
SESSION_COOKIE: Final = "__Host-callgate"
BROWSER_COOKIE: Final = "__Host-callgate-sign-in"
ADA: Final = Person("local:ada", frozenset({"local"}), Means.SOCKET, float(NOW), uid=1234)
# Every made-up key name may cause a fetch, and one answer may take half a second.
LIMITS: Final = KeyLimits(on_demand_s=0, fetch_s=0.5, patience_s=2)


def settings_of(provider: SignInProvider, **changes: object) -> SignInSettings:
    """The gate as that provider's client."""
    settings = SignInSettings(provider.issuer, CLIENT_ID, SITE, CLIENT_SECRET.encode())
    return replace(settings, **changes)  # type: ignore[arg-type]


def code_of(page: str) -> str:
    """The stable code that a page says, "" where it says none."""
    found = re.search(r"Code: ([a-z_]+)", page)
    return found[1] if found else ""


@dataclass
class Wall:
    """The gate's clocks, which a test moves."""

    now: float = float(NOW)

    def moment(self) -> Moment:
        return Moment(self.now, "this-boot", self.now - NOW + 1_000)


@dataclass
class Browser:
    """One person's browser: cookies, and one request after the other."""

    http: httpx2.AsyncClient
    url: str = SITE

    async def begins(self, query: str = "") -> httpx2.Response:
        """Ask for the sign-in: a redirect to the provider."""
        return await self.http.get(f"{self.url}/approvals/sign-in{query}")

    async def at_provider(self, query: str = "") -> str:
        """Be sent to the provider and back: the URL of the callback, which is not asked for yet."""
        begun = await self.begins(query)
        assert begun.status_code == 303, begun.text
        back = await self.http.get(begun.headers["location"])
        assert back.status_code == 303, back.text
        return str(back.headers["location"])

    async def signs_in(self, query: str = "") -> httpx2.Response:
        """All of it: what the site answers in the end."""
        return await self.http.get(await self.at_provider(query))

    async def who(self) -> dict[str, Any]:
        """Who the site takes the browser for; {} for nobody."""
        response = await self.http.get(f"{self.url}/api/v1/me")
        return dict(response.json()) if response.status_code == 200 else {}

    async def posts(self, path: str, fields: dict[str, str], **headers: str) -> httpx2.Response:
        """A form of the site's own page."""
        said = {"Origin": self.url, "Sec-Fetch-Site": "same-origin"}
        said |= {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.post(f"{self.url}{path}", data=fields, headers=said)


@dataclass
class Site:
    """One running site."""

    parts: SiteParts
    wall: Wall
    database: Path
    app: Any

    @asynccontextmanager
    async def browser(self) -> AsyncIterator[Browser]:
        transport = httpx2.ASGITransport(app=self.app)
        async with httpx2.AsyncClient(
            mounts={self.parts.url: transport}, trust_env=False, follow_redirects=False, timeout=30
        ) as http:
            yield Browser(http, self.parts.url)

    def sessions(self) -> int:
        """How many sessions the store holds."""
        return self._count("SELECT count(*) FROM sessions")

    def secrets(self) -> int:
        """How many links and sign-ins are under way."""
        return self._count("SELECT count(*) FROM secrets")

    def _count(self, query: str) -> int:
        with closing(sqlite3.connect(self.database)) as database:
            return int(database.execute(query).fetchone()[0])


@asynccontextmanager
async def site_with(
    folder: Path, settings: SignInSettings | None, *, wall: Wall | None = None, limits: KeyLimits = LIMITS
) -> AsyncIterator[Site]:
    """The site; without settings, with nobody to sign in at."""
    wall = wall or Wall()
    database = folder / "approvals.db"
    store = StoreThread(SqliteStore(database, bytes(32)))
    sign_in = None if settings is None else SignIn(settings, HERE, Told().hear, limits)
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        if sign_in is not None:
            await nursery.start(sign_in.run)
        parts = _parts(store, sign_in, wall, SITE if settings is None else settings.site)
        yield Site(parts, wall, database, make_site(parts).app)
        nursery.cancel_scope.cancel()


def _parts(store: StoreThread, sign_in: SignIn | None, wall: Wall, url: str) -> SiteParts:
    policy = policy_numbered(0)

    async def on_record(_: Happened) -> bool:
        return True

    async def told(_: Happened) -> None:
        return

    return SiteParts(
        desk=Desk(store, wall.moment, lambda: policy.digest, on_record, told, lambda: token_hex(16)),
        store=store,
        moment=wall.moment,
        policy=lambda: policy,
        url=url,
        session_idle_s=900,
        session_max_s=3600,
        sign_in=sign_in,
        slack=None,
        secret=os.urandom,
        uids=frozenset({ADA.uid or 0}),
        issuer="" if sign_in is None else sign_in.issuer,
    )
