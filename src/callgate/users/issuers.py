"""Users' tokens verified against running issuers: `user_token` decides, and `key_source` fetches what it needs."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import trio

from callgate.errors import Refusal
from callgate.identity.user import User
from callgate.users.discovery import IssuerSettings
from callgate.users.key_source import KeyLimits, KeysEvent, KeySource
from callgate.users.user_token import NeedsKeys, TrustedIssuer, verify_user_token


class UserVerifier:
    """All configured issuers.  `run` it in a nursery; `verify` may be called before their keys are there."""

    def __init__(
        self,
        issuers: Iterable[IssuerSettings],
        folder: Path,
        on_event: Callable[[KeysEvent, str], None],
        limits: KeyLimits | None = None,
    ) -> None:
        """Nothing is fetched before `run`.  Raises UnusableAuthorities.

        `folder` is where relative `ca_file`s are.  `on_event` is called in trio's thread and must neither block nor
        raise.
        """
        self._limits = limits or KeyLimits()
        self._settings = {settings.rules.issuer: settings for settings in issuers}
        self._sources = {
            issuer: KeySource(settings, folder, self._limits, on_event) for issuer, settings in self._settings.items()
        }

    @property
    def problems(self) -> Mapping[str, str]:
        """Of the issuers whose keys could not be fetched the last time: why."""
        return {issuer: source.problem for issuer, source in self._sources.items() if source.problem}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep all keys current until cancelled.  Started at once: the first keys may be a while in coming."""
        async with trio.open_nursery() as nursery:
            for source in self._sources.values():
                nursery.start_soon(source.run)
            task_status.started()

    async def verify(self, token: str, peer_leaf_sha256: bytes, now: float) -> User | Refusal:
        """The user whom `token` names, to a caller with this certificate, at `now` (Unix seconds).

        Answers at once where the keys are known.  Else it waits for a fetch, for no longer than `patience_s`; one that
        was under way may have begun before the key was published, and then there is a second.
        """
        found = self._judge(token, peer_leaf_sha256, now)
        with trio.move_on_after(self._limits.patience_s):
            for _ in range(2):
                if not isinstance(found, NeedsKeys) or not await self._sources[found.issuer].look_again():
                    break
                found = self._judge(token, peer_leaf_sha256, now)
        return self._sources[found.issuer].refusal() if isinstance(found, NeedsKeys) else found

    def _judge(self, token: str, peer_leaf_sha256: bytes, now: float) -> User | Refusal | NeedsKeys:
        trusted = {
            issuer: TrustedIssuer(settings.rules, self._sources[issuer].current)
            for issuer, settings in self._settings.items()
        }
        return verify_user_token(token, trusted, peer_leaf_sha256, now)
