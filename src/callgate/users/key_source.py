"""One issuer's keys, kept current: fetched in the background, and at once where a token names a key that is unknown.

Nothing here gives up, and nothing that an issuer serves ends it: whatever cannot be used is told of and tried again,
and the last good keys count meanwhile, for a bounded time.
"""

import logging
import math
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import trio

from callgate.errors import GatewayError, Reason, Refusal, place_of
from callgate.identity.source import Backoff, jittered_s
from callgate.users.discovery import MAX_METADATA_BYTES, IssuerSettings, metadata_urls, read_metadata
from callgate.users.key_set import MAX_KEY_SET_BYTES, KeySet, read_key_set
from callgate.users.unusable import Unusable

if TYPE_CHECKING:
    from callgate.users.fetch import Fetched

_LOG: Final = logging.getLogger(__name__)


class UnusableAuthorities(GatewayError):  # noqa: N818  # says what the file holds
    """A `ca_file` that cannot be read, or that holds no certificates."""


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """How often keys are fetched, and how long anybody waits for them.

    `refresh_s`: where the issuer names no max-age; a key that was withdrawn counts so long.  `refresh_least_s`: for
    issuers that name a shorter one.  `on_demand_s`: tokens with made-up key names cause a fetch that often and no
    oftener.  `patience_s`: how long a call waits for one.  `fetch_s`: for one document.  `retry_first_s` to
    `retry_max_s`: after a failure, doubling.
    """

    refresh_s: float = 300.0
    refresh_least_s: float = 60.0
    on_demand_s: float = 10.0
    patience_s: float = 3.0
    fetch_s: float = 5.0
    retry_first_s: float = 1.0
    retry_max_s: float = 60.0


class KeysEvent(StrEnum):
    """What `on_event` hears of."""

    UPDATED = "updated"
    """An issuer's keys are not what they were, or can be fetched again."""
    UNAVAILABLE = "unavailable"
    """They could not be fetched, or what was fetched is of no use; what we had stays for `max_stale_s`."""


_Found: TypeAlias = "tuple[Fetched, KeySet] | Unusable"


class KeySource:
    """The keys of one issuer, as of now.  All attributes and methods belong to trio's thread."""

    def __init__(
        self, settings: IssuerSettings, folder: Path, limits: KeyLimits, on_event: Callable[[KeysEvent, str], None]
    ) -> None:
        """Nothing is fetched before `run`.  Raises UnusableAuthorities.

        `folder` is where a relative `ca_file` is.  `on_event` must neither block nor raise.
        """
        # The HTTP client takes 0.2 s to load: not for gates that know no users.
        from callgate.users.fetch import fetch  # noqa: PLC0415

        self._get = fetch
        self._settings = settings
        self._limits = limits
        self._on_event = on_event
        self._tls = trusting(None if settings.ca_file is None else folder / settings.ca_file)
        self._jwks_uri = settings.jwks_uri
        self._fetched: Fetched | None = None
        self._keys: KeySet | None = None
        self._fetched_at = -math.inf
        self._asked_at = -math.inf
        self._problem = "not fetched yet"
        self._wanted = trio.Event()
        # The first fetch is the background's own: whoever comes before it waits for it, as for any that is under way.
        self._fetching = True
        self._done = trio.Event()

    @property
    def current(self) -> KeySet | None:
        """The last good keys, None where there are none, or where they were fetched too long ago."""
        age_s = trio.current_time() - self._fetched_at
        return self._keys if age_s <= self._settings.max_stale_s else None

    @property
    def problem(self) -> str:
        """Why the keys could not be fetched the last time; "" when they could."""
        return self._problem

    def refusal(self) -> Refusal:
        """What to tell of a token whose key is not among these."""
        if self._problem or self._wanted.is_set() or self._fetching or self.current is None:
            return Refusal(Reason.USER_KEYS_UNAVAILABLE, self._problem or "they are still being fetched")
        return Refusal(Reason.USER_TOKEN_UNTRUSTED, "its issuer publishes no key of that name")

    async def look_again(self) -> bool:
        """Fetch the keys once more, or wait for the fetch that is under way; False where it is too soon for one.

        Cancelling this leaves the fetch to those who wait for it too.
        """
        if not self._fetching and not self._wanted.is_set():
            now = trio.current_time()
            if now - self._asked_at < self._limits.on_demand_s:
                return False
            self._asked_at = now
            self._wanted.set()
        await self._done.wait()
        return True

    async def run(self) -> None:
        """Fetch, now and from time to time, until cancelled."""
        backoff = Backoff(self._limits.retry_first_s, self._limits.retry_max_s)
        while True:
            started = trio.current_time()
            found = await self._fetch_guarded(on_demand=self._wanted.is_set())
            self._take(found)
            pause_s = backoff.pause_s(trio.current_time() - started) if self._problem else self._fresh_s(found)
            if not self._problem:
                backoff = Backoff(self._limits.retry_first_s, self._limits.retry_max_s)
            with trio.move_on_after(pause_s):
                await self._wanted.wait()

    async def _fetch_guarded(self, *, on_demand: bool) -> _Found:
        self._fetching = True
        try:
            return await self._fetch(on_demand=on_demand)
        except Exception as fault:  # noqa: BLE001  # the border of a task: what an issuer serves must not end the gate
            _LOG.error("fetching keys failed inside the gate: %s", place_of(fault))
            return Unusable(f"a fault of the gate: {place_of(fault)}")
        finally:
            self._fetching = False

    async def _fetch(self, *, on_demand: bool) -> _Found:
        # For an unknown key the metadata are not asked again: that would double what a made-up name costs the issuer.
        if self._settings.jwks_uri is None and (self._jwks_uri is None or not on_demand):
            found = await self._discover()
            if isinstance(found, str):
                self._jwks_uri = found
            elif self._jwks_uri is None:
                return found
        return await self._fetch_keys(self._jwks_uri or "")

    async def _discover(self) -> str | Unusable:
        problems = []
        for url in metadata_urls(self._settings.rules.issuer):
            fetched = await self._get(url, self._tls, MAX_METADATA_BYTES, self._limits.fetch_s)
            if isinstance(fetched, Unusable):
                problems.append(fetched.why)
                continue
            found = read_metadata(fetched.octets, self._settings.rules.issuer)
            if isinstance(found, str):
                return found
            problems.append(f"{url}: {found.why}")
        return Unusable("; ".join(problems))

    async def _fetch_keys(self, url: str) -> _Found:
        fetched = await self._get(url, self._tls, MAX_KEY_SET_BYTES, self._limits.fetch_s)
        if isinstance(fetched, Unusable):
            return fetched
        keys = read_key_set(fetched.octets)
        return Unusable(f"{url}: {keys.why}") if isinstance(keys, Unusable) else (fetched, keys)

    def _take(self, found: _Found) -> None:
        issuer = self._settings.rules.issuer
        if isinstance(found, Unusable):
            self._problem = found.why
            self._on_event(KeysEvent.UNAVAILABLE, f"{issuer}: {found.why}")
        else:
            fetched, keys = found
            is_news = bool(self._problem) or self._fetched is None or self._fetched.octets != fetched.octets
            self._fetched, self._keys, self._problem = fetched, keys, ""
            self._fetched_at = trio.current_time()
            if is_news:
                self._on_event(KeysEvent.UPDATED, f"{issuer}: {len(keys.keys)} keys, {keys.skipped} of no use")
        self._wanted = trio.Event()
        self._done.set()
        self._done = trio.Event()

    def _fresh_s(self, found: _Found) -> float:
        """Until the next fetch: at least four before the keys are too old, so that one that fails does no harm."""
        max_age_s = found[0].max_age_s if isinstance(found, tuple) else None
        wanted_s = self._limits.refresh_s if max_age_s is None else max(max_age_s, self._limits.refresh_least_s)
        return jittered_s(min(wanted_s, self._settings.max_stale_s / 4))


def trusting(authorities: Path | None) -> ssl.SSLContext:
    """TLS to an issuer, trusting these authorities (PEM), None for the system's.  Raises UnusableAuthorities."""
    try:
        context = ssl.create_default_context(cafile=authorities)
    except ssl.SSLError as error:
        # Its own words are OpenSSL's.
        raise UnusableAuthorities(f"{authorities}: holds no certificates of authorities in PEM") from error
    except OSError as error:
        raise UnusableAuthorities(f"{authorities}: authorities cannot be read: {error.strerror or error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
