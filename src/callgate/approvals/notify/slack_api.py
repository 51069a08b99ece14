"""Two methods of Slack's Web API, by its own SDK, in a thread of its own."""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from typing import TYPE_CHECKING, Final

import trio

from callgate.approvals.notify.signing import read_lines
from callgate.approvals.notify.slack_blocks import Block
from callgate.approvals.notify.slack_settings import SlackSettings
from callgate.approvals.notify.target import Failed, UnusableTarget

if TYPE_CHECKING:
    from slack_sdk.errors import SlackApiError
    from slack_sdk.web import SlackResponse

# The SDK logs what it sends and gets: that is for nobody here, and `Failed` tells what is wrong.
_SILENT: Final = logging.getLogger("callgate.slack-sdk")
_SILENT.setLevel(logging.CRITICAL + 1)
# For one read or write of a socket, and for a whole call: Slack answers within a second.
_SOCKET_S: Final = 10
_CALL_S: Final = 15.0
# "1 message per second per channel": after a 429 without Retry-After.
_PAUSE_S: Final = 5.0
_MAX_DELAY_DIGITS: Final = 9
# The codes of Slack's errors ("channel_not_found"); anything else is not repeated in a log line.
_CODE: Final = re.compile(r"[a-z_]{1,60}")
_TOKEN: Final = re.compile(r"xox[a-z]-[A-Za-z0-9-]{8,500}")
# Chat messages that cannot be changed any more; nothing is lost by that.
_PAST: Final = frozenset({"message_not_found", "cant_update_message", "edit_window_closed"})


@dataclass(frozen=True, slots=True)
class Posted:
    """Where a message is."""

    channel: str
    ts: str


@dataclass(frozen=True, slots=True)
class Past:
    """The message is no more."""


class SlackApi:
    """Calls of one workspace.  HTTPS_PROXY is honoured, as the SDK does: TLS ends at Slack all the same."""

    def __init__(self, settings: SlackSettings) -> None:
        """Raises UnusableTarget."""
        # The SDK takes 0.2 s to load: not for gates without Slack.
        from slack_sdk import WebClient  # noqa: PLC0415

        from callgate.approvals.notify.posting import check_url, trusting  # noqa: PLC0415

        check_url(settings.api_url)
        lines = read_lines(settings.token_file)
        if len(lines) != 1 or _TOKEN.fullmatch(lines[0]) is None:
            raise UnusableTarget(f"{settings.token_file}: must hold one line, the app's bot token (xoxb-…)")
        self._client = WebClient(
            token=lines[0],
            base_url=settings.api_url,
            timeout=_SOCKET_S,
            ssl=trusting(settings.ca_file),
            logger=_SILENT,
            # The outbox tries again; the SDK on its own would hold the thread.
            retry_handlers=[],
        )
        self._limiter = trio.CapacityLimiter(1)

    async def post(self, channel: str, text: str, blocks: list[Block]) -> Posted | Failed:
        """chat.postMessage.  A message that was posted, and whose answer was lost, is posted again."""
        client = self._client
        found = await self._call(
            lambda: client.chat_postMessage(
                channel=channel, text=text, blocks=blocks, unfurl_links=False, unfurl_media=False
            )
        )
        return Failed("Slack does not want it") if isinstance(found, Past) else found

    async def update(self, posted: Posted, text: str, blocks: list[Block]) -> Posted | Past | Failed:
        """chat.update: the whole message anew."""
        client = self._client
        return await self._call(
            lambda: client.chat_update(channel=posted.channel, ts=posted.ts, text=text, blocks=blocks)
        )

    async def _call(self, call: "Callable[[], SlackResponse]") -> Posted | Past | Failed:
        with trio.move_on_after(_CALL_S):
            return await trio.to_thread.run_sync(_guarded, call, limiter=self._limiter, abandon_on_cancel=True)
        return Failed(f"no answer within {_CALL_S:g} s")


def _guarded(call: "Callable[[], SlackResponse]") -> Posted | Past | Failed:
    """Runs in the thread.  The SDK's own words can hold the answer, and so are not repeated."""
    from slack_sdk.errors import SlackApiError, SlackClientError  # noqa: PLC0415

    from callgate.approvals.notify.posting import said_of  # noqa: PLC0415

    try:
        answer = call()
        channel, ts = answer["channel"], answer["ts"]
    except SlackApiError as error:
        return _failed(error)
    except (OSError, HTTPException) as error:
        return Failed(said_of(error))
    except (SlackClientError, ValueError, KeyError, TypeError, AttributeError):
        return Failed("Slack's answer is not understood")
    if not isinstance(channel, str) or not isinstance(ts, str):
        return Failed("Slack's answer is not understood")
    return Posted(channel, ts)


def _failed(error: "SlackApiError") -> Past | Failed:
    response = error.response
    status = response.status_code
    # The SDK takes any JSON for an object.
    code = response.data.get("error") if isinstance(response.data, dict) else None
    known = code if isinstance(code, str) and _CODE.fullmatch(code) else ""
    if known in _PAST:
        return Past()
    said = f"Slack says {known}" if known else f"HTTP {status} and an answer that is not understood"
    if status != 429:
        return Failed(said)
    after = str(response.headers.get("retry-after", ""))
    return Failed(said, float(after[:_MAX_DELAY_DIGITS]) if after.isascii() and after.isdigit() else _PAUSE_S)
