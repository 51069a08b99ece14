"""One message in a Slack channel for each request, kept up to date until the request has ended."""

from collections.abc import Callable
from hashlib import sha256
from typing import Final

import orjson
import trio

from callgate.approvals.happened import Happening
from callgate.approvals.model import Moment, Request
from callgate.approvals.notify.notices import page_of, subject_of
from callgate.approvals.notify.slack_api import Past, Posted, SlackApi
from callgate.approvals.notify.slack_blocks import message_of, text_of
from callgate.approvals.notify.slack_settings import SlackSettings
from callgate.approvals.notify.target import Delivered, Failed, Outcome, Pointless
from callgate.approvals.store import Notice, Secret, Store
from callgate.approvals.store_thread import StoreThread

# Webhooks have names in lower case.
NAME: Final = "Slack"
_EVENTS: Final = frozenset(Happening) - {Happening.SEEN, Happening.USED}
_KIND: Final = "slack-message"
# A request stands for 7 days at most, and its last notice is tried for 4.
_KEPT_S: Final = 11 * 86_400.0
# A change between reading a request and showing it is shown by showing it again; more often it changes not at once.
_MAX_UPDATES: Final = 3
# Slack docs, "Rate limits": chat.postMessage takes "1 message per second per channel", and chat.update "50+ per minute".
PACE_S: Final = 1.2


class SlackChannel:
    """A `Target`: posts what is asked, and changes the message with whatever happens to the request."""

    def __init__(
        self,
        settings: SlackSettings,
        store: StoreThread,
        url: str,
        moment: Callable[[], Moment],
        pace_s: float = PACE_S,
    ) -> None:
        """`url`: the site's.  `pace_s`: the least time between two calls of Slack's.  Raises UnusableTarget."""
        self._api = SlackApi(settings)
        self._settings = settings
        self._store = store
        self._url = url
        self._moment = moment
        self._pace_s = pace_s
        self._free_at = 0.0

    @property
    def name(self) -> str:
        """There is one."""
        return NAME

    @property
    def events(self) -> frozenset[Happening]:
        """Whatever changes the message."""
        return _EVENTS

    @property
    def at_once(self) -> int:
        """Slack takes one message a second in a channel."""
        return 1

    async def deliver(self, notice: Notice) -> Outcome:
        """Post the message, or bring it up to date."""
        subject = subject_of(notice)
        if subject is None:
            return Pointless()
        request, posted = await self._read(subject.request)
        if request is None:
            return Pointless()
        if posted is not None:
            return await self._update(posted, request)
        return await self._post(request) if subject.happening is Happening.ASKED else Pointless()

    async def _post(self, request: Request) -> Outcome:
        await self._paced()
        posted = await self._api.post(self._settings.channel, text_of(request), self._blocks(request))
        if isinstance(posted, Failed):
            return posted
        secret = Secret(_digest(request.id), _KIND, orjson.dumps([posted.channel, posted.ts]), self._moment(), _KEPT_S)

        def step(store: Store) -> Request | None:
            store.take_secret(secret.digest, _KIND, secret.since)
            store.keep_secret(secret)
            return store.load(request.id)

        # What happened meanwhile found no message to change.
        after = await self._store.do(step)
        return Delivered() if after is None or _is_shown(request, after) else await self._update(posted, after)

    async def _update(self, posted: Posted, request: Request) -> Outcome:
        for _ in range(_MAX_UPDATES):
            await self._paced()
            found = await self._api.update(posted, text_of(request), self._blocks(request))
            if isinstance(found, Past):
                return Pointless()
            if isinstance(found, Failed):
                return found
            after, _ = await self._read(request.id)
            if after is None or _is_shown(request, after):
                break
            request = after
        return Delivered()

    async def _read(self, id_: str) -> tuple[Request | None, Posted | None]:
        """The request as it is now, and where its message is."""
        now, digest = self._moment(), _digest(id_)

        def step(store: Store) -> tuple[Request | None, bytes | None]:
            body = store.take_secret(digest, _KIND, now)
            if body is not None:
                store.keep_secret(Secret(digest, _KIND, body, now, _KEPT_S))
            return store.load(id_), body

        request, body = await self._store.do(step)
        return request, None if body is None else Posted(*orjson.loads(body))

    async def _paced(self) -> None:
        """One call after another, no faster than Slack takes them; a storm comes in as it can be read."""
        await trio.sleep_until(self._free_at)
        self._free_at = trio.current_time() + self._pace_s

    def _blocks(self, request: Request) -> list[dict[str, object]]:
        return message_of(request, page_of(self._url, request.id), self._settings)


def _digest(id_: str) -> str:
    return sha256(f"{_KIND}\0{id_}".encode()).hexdigest()


def _is_shown(shown: Request, now: Request) -> bool:
    """Whether the message says what is so now."""
    return (shown.state, shown.votes) == (now.state, now.votes)
