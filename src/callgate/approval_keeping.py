"""All that a gate asks people with: the desk and its store, the site where they answer, and who is told of it."""

import logging
import os
import pwd
import socket
import stat
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import trio

from callgate.approvals.desk import Desk, DeskLimits
from callgate.approvals.happened import Happened, Happening
from callgate.approvals.model import Moment
from callgate.approvals.moments import moment
from callgate.approvals.notify.notifiers import Notifiers
from callgate.approvals.notify.slack import SlackClicks
from callgate.approvals.notify.slack_channel import SlackChannel
from callgate.approvals.notify.slack_settings import SlackPerson, SlackSettings
from callgate.approvals.notify.target import Target
from callgate.approvals.notify.webhooks import Webhook, WebhookSettings
from callgate.approvals.on_record import fields_of
from callgate.approvals.on_trace import count
from callgate.approvals.sign_in.settings import SignInSettings, read_client_secret
from callgate.approvals.site.app import ApprovalsSite, make_site
from callgate.approvals.site.parts import SiteParts
from callgate.approvals.sqlite_store import SqliteStore
from callgate.approvals.store_thread import StoreThread
from callgate.audit.chain import Kind
from callgate.audit.log import AuditLog
from callgate.config_approvals import ApprovalsConfig, SignInConfig, SlackConfig
from callgate.errors import GatewayError
from callgate.net.local_listener import Credentials, LocalListener
from callgate.policy.compile import Policy
from callgate.telemetry.approval_metrics import ApprovalTelling
from callgate.users.key_source import KeysEvent

if TYPE_CHECKING:
    from callgate.approvals.sign_in.oidc import SignIn

_LOG: Final = logging.getLogger(__name__)
# Without people who sign in there are those who come by a one-time link.
_LOCAL_IDLE_S: Final = 15 * 60
_LOCAL_LONGEST_S: Final = 3600
# For users of the socket who are not the gate's own: through its folder, without seeing what is in it.
_THROUGH: Final = 0o011

WelcomeLocal: TypeAlias = Callable[[socket.socket, Credentials], Awaitable[None]]


class UnusableApprovals(GatewayError):  # noqa: N818  # says what cannot be used
    """The part `approvals` of callgate.yaml names what is not there."""


class ApprovalKeeping:
    """Asks people on behalf of one gate.  `desk` is what the path of a call asks for."""

    def __init__(
        self,
        config: ApprovalsConfig,
        folder: Path,
        key: bytes,
        log: AuditLog,
        policy: Callable[[], Policy],
        now_ns: Callable[[], int],
        telling: ApprovalTelling,
    ) -> None:
        """Relative paths begin in `folder`; `key`: 32 bytes, by which what is kept is sealed.

        Raises StoreFault where the store cannot be opened, and UnusableApprovals for users whom this machine lacks.
        """
        self._config = config
        self._folder = folder
        self._policy = policy
        self._log = log
        self._telling = telling
        self._moment: Callable[[], Moment] = partial(moment, now_ns)
        self._uids = _uids_of(config)
        self._kept = SqliteStore(folder / config.database, key)
        self._store = StoreThread(self._kept)
        self._sign_in: SignIn | None = None
        self._notifiers: Notifiers | None = None
        self.url = config.url
        self.desk = Desk(
            self._store,
            self._moment,
            lambda: policy().digest,
            self._noted,
            self._told,
            lambda: os.urandom(16).hex(),
            DeskLimits(config.max_waiting, config.max_waiting_per_workload, config.cool_down_s, config.keep_s),
        )

    @property
    def agents_share_user(self) -> bool:
        """Whether the user who runs an agent may answer by the socket all the same."""
        return self._config.socket is not None and self._config.socket.agents_share_user

    @property
    def problems(self) -> tuple[str, ...]:
        """For readiness: what is wrong although calls that ask nobody can be served."""
        found = [f"approvals: {self._store.problem}"] if self._store.problem else []
        if self._kept.unreadable:
            found.append(f"approvals: {self._kept.unreadable} requests in the store cannot be read")
        if self._sign_in is not None and self._sign_in.problem:
            found.append(self._sign_in.problem)
        if self._notifiers is not None:
            found += [f"approvals: {name}: {why}" for name, why in self._notifiers.problems.items()]
        return tuple(found)

    async def run(
        self,
        url: str,
        welcome: WelcomeLocal,
        *,
        task_status: trio.TaskStatus[ApprovalsSite] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Ask people until cancelled.  `url`: where they reach the site, with no slash at the end.

        Raises UnusableTarget, UnusableSecret, UnusableAuthorities and CannotListenLocally before it has started.
        """
        self.url = url
        async with trio.open_nursery() as nursery:
            await nursery.start(self._store.run)
            slack = self._clicks(nursery)
            self._notifiers = Notifiers(self._store, self._targets(), url, self._moment, self._telling.unreached)
            self._telling.watch(lambda: self.desk.waiting)
            await nursery.start(self.desk.run)
            nursery.start_soon(self._notifiers.run)
            if self._config.sign_in is not None:
                self._sign_in = self._provider(self._config.sign_in)
                await nursery.start(self._sign_in.run)
            site = make_site(self._site_parts(slack))
            listener = self._listener()
            try:
                if listener is not None:
                    nursery.start_soon(listener.serve, nursery, welcome)
                task_status.started(site)
                await trio.sleep_forever()
            finally:
                if listener is not None:
                    listener.close()

    def _site_parts(self, slack: SlackClicks | None) -> SiteParts:
        sign_in = self._config.sign_in
        return SiteParts(
            desk=self.desk,
            store=self._store,
            moment=self._moment,
            policy=self._policy,
            url=self.url,
            session_idle_s=sign_in.idle_s if sign_in else _LOCAL_IDLE_S,
            session_max_s=sign_in.longest_s if sign_in else _LOCAL_LONGEST_S,
            sign_in=self._sign_in,
            slack=slack,
            secret=os.urandom,
            uids=self._uids,
            issuer=sign_in.issuer if sign_in else "",
        )

    def _listener(self) -> LocalListener | None:
        path, socket_config = self._config.socket_path, self._config.socket
        if path is None or socket_config is None:
            return None
        is_shared = self._uids != {os.geteuid()}
        if is_shared and socket_config.path is None:
            # They have to go through it; what else is there stays closed to them.
            kept = self._folder / self._config.folder
            kept.chmod(stat.S_IMODE(kept.stat().st_mode) | _THROUGH)
        return LocalListener.open(self._folder / path, shared=is_shared)

    def _provider(self, config: SignInConfig) -> "SignIn":
        # The HTTP client takes 0.2 s to load: not for gates without sign-in.
        from callgate.approvals.sign_in.oidc import SignIn  # noqa: PLC0415

        secret = config.client_secret_file
        settings = SignInSettings(
            issuer=config.issuer,
            client_id=config.client_id,
            site=self.url,
            client_secret=read_client_secret(self._folder / secret) if secret else None,
            scopes=config.scopes,
            name_claim=config.name_claim,
            groups_claim=config.groups_claim,
            ca_file=config.ca_file,
        )
        return SignIn(settings, self._folder, _log_keys)

    def _clicks(self, nursery: trio.Nursery) -> SlackClicks | None:
        if self._config.slack is None:
            return None
        clicks = SlackClicks(self._slack(self._config.slack), self.desk, self._moment)
        nursery.start_soon(clicks.run)
        return clicks

    def _targets(self) -> list[Target]:
        targets: list[Target] = [
            Webhook(
                WebhookSettings(
                    name=each.name,
                    url=each.url,
                    secret_file=self._folder / each.secret_file,
                    events=frozenset(map(Happening, each.events)),
                    ca_file=self._folder / each.ca_file if each.ca_file else None,
                ),
                self._moment,
            )
            for each in self._config.webhooks
        ]
        if self._config.slack is not None:
            targets.append(SlackChannel(self._slack(self._config.slack), self._store, self.url, self._moment))
        return targets

    def _slack(self, config: SlackConfig) -> SlackSettings:
        return SlackSettings(
            channel=config.channel,
            token_file=self._folder / config.token_file,
            signing_secret_file=self._folder / config.signing_secret_file,
            people={member: SlackPerson(who.name, frozenset(who.groups)) for member, who in config.people.items()},
            approve_in_slack=config.approve_in_slack,
            api_url=config.api.rstrip("/") + "/",
        )

    async def _noted(self, happened: Happened) -> bool:
        """Put on record; whether that was done."""
        return await self._log.noted(Kind.APPROVAL, fields_of(happened))

    async def _told(self, happened: Happened) -> None:
        """Count it, and tell whoever wants to know."""
        count(happened, self._telling)
        if self._notifiers is not None:
            await self._notifiers.tell(happened)


def _uids_of(config: ApprovalsConfig) -> frozenset[int]:
    """Who may come by the socket: the gate's own user, or those who are named."""
    if config.socket is None or not config.socket.users:
        return frozenset({os.geteuid()})
    return frozenset(map(_uid_of, config.socket.users))


def _uid_of(name: str) -> int:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise UnusableApprovals(f"approvals.socket.users: this machine has no user {name}") from None


def _log_keys(event: KeysEvent, detail: str) -> None:
    level = logging.INFO if event is KeysEvent.UPDATED else logging.WARNING
    _LOG.log(level, "sign-in: keys: %s %s", event, detail)
