"""Webhooks by the Standard Webhooks specification, version 1.0 (standardwebhooks.com)."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from callgate.approvals.happened import Happening
from callgate.approvals.model import Moment
from callgate.approvals.notify.signing import read_secrets, signatures
from callgate.approvals.notify.target import Delivered, Failed, Gone, Outcome
from callgate.approvals.store import Notice

# "A recommended request timeout value for webhooks is somewhere between 15 and 30s."
TIMEOUT_S: Final = 15.0
# One slow receiver needs no more, and a storm does not open a thousand connections to it.
AT_ONCE: Final = 4
# "throttle the requests", where the answer names no time: as long as until the first retry.
_PAUSE_S: Final = 5.0
_THROTTLING: Final = frozenset({429, 502, 503, 504})
_GONE: Final = 410
DEFAULT_EVENTS: Final = frozenset({Happening.ASKED, Happening.APPROVED, Happening.DENIED, Happening.EXPIRED})


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """One receiver.  `ca_file`: the authorities that vouch for it, None for the system's.  `timeout_s`: for one try."""

    name: str
    url: str
    secret_file: Path
    events: frozenset[Happening] = DEFAULT_EVENTS
    ca_file: Path | None = None
    timeout_s: float = TIMEOUT_S


class Webhook:
    """A `Target`.  The secret is read once, when it is made."""

    def __init__(self, settings: WebhookSettings, moment: Callable[[], Moment]) -> None:
        """Raises UnusableTarget."""
        # The HTTP client takes 0.1 s to load: not for gates that have no webhooks.
        from callgate.approvals.notify.posting import check_url, post, trusting  # noqa: PLC0415

        check_url(settings.url)
        self._post = post
        self._settings = settings
        self._moment = moment
        self._secrets = read_secrets(settings.secret_file)
        self._tls = trusting(settings.ca_file)

    @property
    def name(self) -> str:
        """As configured."""
        return self._settings.name

    @property
    def events(self) -> frozenset[Happening]:
        """As configured."""
        return self._settings.events

    @property
    def at_once(self) -> int:
        """The same for all receivers."""
        return AT_ONCE

    async def deliver(self, notice: Notice) -> Outcome:
        """One try.  "Every attempt is retried [with] the timestamp of the attempt", and the same id."""
        settings, now = self._settings, self._moment().wall
        headers = {
            "Content-Type": "application/json",
            "webhook-id": notice.id,
            "webhook-timestamp": str(int(now)),
            "webhook-signature": signatures(self._secrets, notice.id, int(now), notice.body),
        }
        answer = await self._post(settings.url, self._tls, headers, notice.body, settings.timeout_s)
        if isinstance(answer, str):
            return Failed(answer)
        if 200 <= answer.status < 300:
            return Delivered()
        if answer.status == _GONE:
            # "Sender should disable the webhook endpoint, and stop sending it messages."
            return Gone("It answered 410 Gone")
        if answer.status in _THROTTLING:
            return Failed(f"HTTP {answer.status}", answer.pause_s(now) or _PAUSE_S)
        redirected = ", and redirects are not followed" if 300 <= answer.status < 400 else ""
        return Failed(f"HTTP {answer.status}{redirected}")
