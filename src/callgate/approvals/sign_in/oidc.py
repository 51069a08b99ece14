"""Signing in by OpenID Connect: the authorization code flow with PKCE, state, nonce and the provider's name.

async with trio.open_nursery() as nursery:
    await nursery.start(sign_in.run)
    begun = await sign_in.begin(parts, Visit(after="/approvals", fresh=False, browser=None))
    ...                                             # the browser goes to begun.url and comes back
    found = await sign_in.finish(parts, query, browser=begun.browser)

OpenID Connect Core 1.0, RFC 7636, RFC 9207, RFC 9700.  Nothing of the provider's is kept but who the person is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from callgate.approvals.model import Person
from callgate.approvals.sign_in.exchange import Line, Tokens, redeem, userinfo
from callgate.approvals.sign_in.id_token import Expected, IdToken, verify_id_token
from callgate.approvals.sign_in.person import has_all, person_of
from callgate.approvals.sign_in.provider import Provider, ProviderSource
from callgate.approvals.sign_in.refused import SignInReason, SignInRefused
from callgate.approvals.sign_in.settings import SignInSettings
from callgate.approvals.sign_in.under_way import (
    FRESH_S,
    KIND,
    LONGEST_AGO_S,
    UnderWay,
    authorization_url,
    digest_of,
    kept,
    random_text,
    read_under_way,
)
from callgate.users.discovery import IssuerSettings
from callgate.users.key_source import KeyLimits, KeysEvent, KeySource, trusting
from callgate.users.unusable import Unusable
from callgate.users.user_token import DEFAULT_LEEWAY_S, NeedsKeys, TokenRules
from callgate.yaml_strict import shown

if TYPE_CHECKING:
    from callgate.approvals.site.parts import SiteParts

# Longer than any provider's code or error; a state of ours has 43 characters.
_MAX_VALUE_CHARACTERS: Final = 4_096
_MAX_PARAMETERS: Final = 32


@dataclass(frozen=True, slots=True)
class Visit:
    """Who comes to sign in: where to go in the end, anew or not, and what the browser has from a sign-in before."""

    after: str
    fresh: bool
    browser: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Begun:
    """Where to send the browser, and the cookie to send with it."""

    url: str = field(repr=False)
    browser: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Who it is, and which page to show them."""

    person: Person
    after: str


class SignIn:
    """The gate as a client of one provider.  All of it belongs to trio's thread."""

    def __init__(
        self,
        settings: SignInSettings,
        folder: Path,
        on_event: Callable[[KeysEvent, str], None],
        limits: KeyLimits | None = None,
    ) -> None:
        """Nothing is fetched before `run`.  Raises UnusableAuthorities.

        `folder` is where a relative `ca_file` is.  `on_event` hears of the provider's keys; it must neither block nor
        raise.
        """
        self._settings = settings
        self._limits = limits or KeyLimits()
        tls = trusting(None if settings.ca_file is None else folder / settings.ca_file)
        self._line = Line(tls, self._limits.fetch_s)
        self._provider = ProviderSource(settings.issuer, tls, self._limits.fetch_s)
        rules = TokenRules(settings.issuer, settings.client_id)
        self._keys = KeySource(IssuerSettings(rules, ca_file=settings.ca_file), folder, self._limits, on_event)

    @property
    def issuer(self) -> str:
        """Whose word counts."""
        return self._settings.issuer

    @property
    def problem(self) -> str:
        """Why nobody could sign in now, "" where the provider was reached the last time."""
        return f"sign-in at {self._settings.issuer}: {self._keys.problem}" if self._keys.problem else ""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the provider's keys current until cancelled.  Started at once: the first may be a while in coming."""
        task_status.started()
        await self._keys.run()

    async def begin(self, parts: "SiteParts", visit: Visit) -> Begun | SignInRefused:
        """Begin a sign-in.  Raises StoreFault.

        A browser that began one before keeps its cookie, so that two tabs do not spoil each other's.
        """
        provider = await self._provider.current()
        if isinstance(provider, Unusable):
            return SignInRefused(SignInReason.PROVIDER_UNAVAILABLE, provider.why)
        state, nonce, verifier = (random_text(parts.secret) for _ in range(3))
        browser = visit.browser or random_text(parts.secret)
        now = parts.moment()
        going = UnderWay(nonce, verifier, visit.after, visit.fresh, now.wall)
        secret = kept(going, state, browser, now)
        await parts.store.do(lambda store: store.keep_secret(secret))
        return Begun(authorization_url(self._settings, provider, state, going), browser)

    async def finish(
        self, parts: "SiteParts", query: Sequence[tuple[str, str]], browser: str | None
    ) -> SignedIn | SignInRefused:
        """What comes of the browser's return with `query`.  Raises StoreFault.

        Whatever it is, this sign-in is over: its `state` counts once.
        """
        said = dict(query[:_MAX_PARAMETERS])
        # RFC 6749, section 3.1: "Request and response parameters MUST NOT be included more than once".
        if len(said) < len(query) or any(len(value) > _MAX_VALUE_CHARACTERS for value in said.values()):
            return SignInRefused(SignInReason.CALLBACK_MALFORMED, "a parameter comes twice, or is too long")
        going = await self._taken(parts, said.get("state"), browser)
        if going is None:
            return SignInRefused(SignInReason.UNKNOWN)
        provider = await self._provider.current()
        if isinstance(provider, Unusable):
            return SignInRefused(SignInReason.PROVIDER_UNAVAILABLE, provider.why)
        refused = self._refuse_answer(said, provider)
        if refused is not None:
            return refused
        person = await self._person(provider, said["code"], going, parts)
        return person if isinstance(person, SignInRefused) else SignedIn(person, going.after)

    async def _taken(self, parts: "SiteParts", state: str | None, browser: str | None) -> UnderWay | None:
        if state is None or browser is None:
            return None
        digest, now = digest_of(state, browser), parts.moment()
        body = await parts.store.do(lambda store: store.take_secret(digest, KIND, now))
        return None if body is None else read_under_way(body)

    def _refuse_answer(self, said: dict[str, str], provider: Provider) -> SignInRefused | None:
        # RFC 9207, section 2.4: "Clients MUST then compare the result to the issuer identifier of the authorization
        # server where the authorization request was sent to"; "if the value does not match [...] MUST reject".
        if said.get("iss", None if provider.says_issuer else self._settings.issuer) != self._settings.issuer:
            return SignInRefused(SignInReason.ISSUER_MISMATCH)
        if "error" in said:
            # Its description is whatever somebody wrote, and is told nowhere.
            is_denied = said["error"] == "access_denied"
            reason = SignInReason.ACCESS_DENIED if is_denied else SignInReason.PROVIDER_ERROR
            return SignInRefused(reason, ascii(shown(said["error"])))
        return None if said.get("code") else SignInRefused(SignInReason.CALLBACK_MALFORMED, "there is no code")

    async def _person(
        self, provider: Provider, code: str, going: UnderWay, parts: "SiteParts"
    ) -> Person | SignInRefused:
        tokens = await redeem(self._settings, provider, code, going.verifier, self._line)
        if isinstance(tokens, SignInRefused):
            return tokens
        id_token = await self._believed(tokens, going, parts)
        if isinstance(id_token, SignInRefused):
            return id_token
        signed_in = _signed_in(id_token, going, parts.moment().wall)
        if isinstance(signed_in, SignInRefused):
            return signed_in
        if not provider.userinfo_endpoint or has_all(id_token.claims, self._settings):
            return person_of(id_token, None, self._settings, signed_in)
        more = await userinfo(provider, tokens, id_token.subject, self._line)
        return more if isinstance(more, SignInRefused) else person_of(id_token, more, self._settings, signed_in)

    async def _believed(self, tokens: Tokens, going: UnderWay, parts: "SiteParts") -> IdToken | SignInRefused:
        """Answers at once where the key is known; else waits for a fetch, and for a second (`users.issuers` says why)."""
        expected = Expected(self._settings.issuer, self._settings.client_id, going.nonce, tokens.access_token)

        def judge() -> IdToken | SignInRefused | NeedsKeys:
            return verify_id_token(tokens.id_token, expected, self._keys.current, parts.moment().wall)

        found = judge()
        with trio.move_on_after(self._limits.patience_s):
            for _ in range(2):
                if not isinstance(found, NeedsKeys) or not await self._keys.look_again():
                    break
                found = judge()
        if not isinstance(found, NeedsKeys):
            return found
        if self._keys.problem or self._keys.current is None:
            return SignInRefused(SignInReason.KEYS_UNAVAILABLE, self._keys.problem)
        return SignInRefused(SignInReason.ID_TOKEN_SIGNATURE, "the provider publishes no key of that name")


def _signed_in(id_token: IdToken, going: UnderWay, now: float) -> float | SignInRefused:
    """When the person proved who they are, in Unix seconds.

    A provider that does not say it although it was asked may have let in whoever sat there, on a sign-in of the morning:
    then it counts as long ago as the gate asked for, and as fresh it does not count at all.
    """
    if not going.fresh:
        return going.began - LONGEST_AGO_S if id_token.auth_time is None else id_token.auth_time
    if id_token.auth_time is None:
        return SignInRefused(SignInReason.AUTH_TIME_MISSING)
    if now - id_token.auth_time > FRESH_S + DEFAULT_LEEWAY_S:
        return SignInRefused(SignInReason.NOT_FRESH, f"{now - id_token.auth_time:.0f} s ago")
    return id_token.auth_time
