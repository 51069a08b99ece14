"""The message in Slack, in Block Kit.  Pure.

Whatever an agent, a tool server or a person wrote stands in `plain_text`, where Slack reads no mentions and no links,
with what turns or hides text made visible.  No arguments: they are on the page.
"""

from typing import Final, TypeAlias

from callgate.approvals.model import Request, State, Verdict, missing
from callgate.approvals.notify.slack_settings import SlackSettings, can_be_approved_by_click
from callgate.telemetry.visible import without_credentials

Block: TypeAlias = dict[str, object]

APPROVE: Final = "callgate_approve"
DENY: Final = "callgate_deny"
LOOK: Final = "callgate_look"
APPROVE_ON_PAGE: Final = "callgate_approve_on_page"
# What notifications show; always the same words, since Slack reads mentions in them.
WAITS_TEXT: Final = "A call waits for a person."
ENDED_TEXT: Final = "A call that waited for a person."
# Slack takes 2000 in a field; more than this nobody reads in a channel.
_MAX_CHARACTERS: Final = 300
_MAX_NAMES: Final = 10


def message_of(request: Request, page: str, settings: SlackSettings) -> list[Block]:
    """What the channel shows of a request as it stands now."""
    elements = [_link(LOOK, "Look at it", page)]
    if request.state is State.WAITING:
        elements += _answers(request, page, settings)
    return [_facts(request), _standing(request), {"type": "actions", "elements": elements}]


def value_of(request: Request) -> str:
    """What a button says of its request: id and binding."""
    return f"{request.id}.{request.ask.binding.digest}"


def text_of(request: Request) -> str:
    """What a notification shows."""
    return WAITS_TEXT if request.state is State.WAITING else ENDED_TEXT


def _answers(request: Request, page: str, settings: SlackSettings) -> list[Block]:
    """What can be said, and where."""
    if not settings.people:
        # Nobody's click would count.
        return []
    by_click = settings.approve_in_slack and can_be_approved_by_click(request)
    approve = _approve(request) if by_click else _link(APPROVE_ON_PAGE, "Approve on the page", page)
    return [approve, _deny(request)]


def _facts(request: Request) -> Block:
    ask = request.ask
    rules = ", ".join(approval.rule for approval in ask.approvals)
    facts = {
        "Who asks": ask.binding.caller,
        "Tool": f"{ask.binding.server}/{ask.binding.tool}",
        "On behalf of": ask.user,
        "Rule that asks": rules,
    }
    return {"type": "section", "fields": [_plain(f"{name}\n{_shown(text)}") for name, text in facts.items() if text]}


def _standing(request: Request) -> Block:
    said = _plain(_said(request))
    if request.state is not State.WAITING:
        return {"type": "context", "elements": [said]}
    ends = int(request.deadline.ends)
    until = f"Until <!date^{ends}^{{date_short_pretty}}, {{time}}|Unix time {ends}>"
    return {"type": "context", "elements": [said, {"type": "mrkdwn", "text": until}]}


def _said(request: Request) -> str:
    """Where it stands, and who brought that about."""
    agreed = ", ".join(v.person.name for v in request.votes[:_MAX_NAMES] if v.verdict is Verdict.APPROVE)
    match request.state:
        case State.WAITING:
            lacking = f"{missing(request)} more needed to agree"
            return f"Agreed: {_shown(agreed)}; {lacking}" if agreed else f"Waits: {lacking}"
        case State.APPROVED | State.USED:
            return f"Approved by {_shown(agreed)}"
        case State.DENIED:
            return _denied(request)
        case State.EXPIRED:
            return (
                f"Over: approved by {_shown(agreed)}, not used in time" if _is_enough(request) else "Over: not decided"
            )
        case State.VOID:
            return "Void: the policy is another one now, or the clock was set back"


def _is_enough(request: Request) -> bool:
    return bool(request.votes) and missing(request) == 0


def _denied(request: Request) -> str:
    denial = request.denial
    if denial is None:
        return "Denied"
    reason = denial.reason.strip()
    return f"Denied by {_shown(denial.person.name)}" + (f": {_shown(reason)}" if reason else "")


def _approve(request: Request) -> Block:
    confirm = {
        "title": _plain("Approve unseen?"),
        "text": _plain("The call's arguments are not shown here. The page shows them."),
        "confirm": _plain("Approve"),
        "deny": _plain("Cancel"),
    }
    return _button(APPROVE, "Approve") | {"style": "primary", "value": value_of(request), "confirm": confirm}


def _deny(request: Request) -> Block:
    return _button(DENY, "Deny") | {"style": "danger", "value": value_of(request)}


def _link(action: str, text: str, page: str) -> Block:
    return _button(action, text) | {"url": page}


def _button(action: str, text: str) -> Block:
    return {"type": "button", "action_id": action, "text": _plain(text)}


def _plain(text: str) -> Block:
    return {"type": "plain_text", "text": text, "emoji": False}


def _shown(text: str) -> str:
    return without_credentials(text, _MAX_CHARACTERS)
