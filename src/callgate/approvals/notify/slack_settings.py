"""What is configured for Slack."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from callgate.addresses import Url
from callgate.approvals.model import Request

API_URL: Final = "https://slack.com/api"


@dataclass(frozen=True, slots=True)
class SlackPerson:
    """Whom policies mean when this Slack user clicks."""

    name: str
    groups: frozenset[str]


@dataclass(frozen=True, slots=True)
class SlackSettings:
    """One channel of one workspace.

    `people`: by Slack user id; nobody else's click counts.  `approve_in_slack`: a click there approves, though the
    message shows no arguments; otherwise the button leads to the page.  `api_url`: https, or http on this machine.
    """

    channel: str
    token_file: Path
    signing_secret_file: Path
    people: Mapping[str, SlackPerson]
    approve_in_slack: bool = False
    api_url: str = API_URL
    ca_file: Path | None = None

    @property
    def reply_url(self) -> str:
        """What the `response_url` of a click begins with: hooks.slack.com, as hooks.slack-gov.com for slack-gov.com.

        ValueError where `api_url` is no URL.
        """
        found = Url.parse(self.api_url)
        return f"{found.scheme}://{'' if found.is_loopback else 'hooks.'}{found.authority}/"


def can_be_approved_by_click(request: Request) -> bool:
    """A click gives no reason, and does not tell how long ago somebody signed in."""
    return not any(each.needs_reason or each.sign_in_s is not None for each in request.ask.approvals)
