"""What went wrong, in the words of the conventions: `error.type` and `rpc.response.status_code`."""

from collections.abc import Mapping

from callgate.errors import ANSWERS, Answer, Reason
from callgate.telemetry import names
from callgate.trace import AttributeValue, DecisionTrace, Outcome, Stage, StageRecord

_ANSWERS: Mapping[str, Answer] = {str(reason): answer for reason, answer in ANSWERS.items()}
# By this status we note that the caller was gone: nobody read the answer.
_UNANSWERED = 499
# To name a member of an enumeration takes 0.1 µs, and this is done some hundred times for each call.
_OK, _FORWARD, _RESPOND = Outcome.OK, Stage.FORWARD, Stage.RESPOND


def ended_badly(trace: DecisionTrace) -> StageRecord | None:
    """The first stage that did not end OK."""
    for record in trace.records:
        if record.outcome is not _OK:
            return record
    return None


def reason_of(record: StageRecord) -> str:
    """The reason of a stage that did not end OK; a stage that gives none has a fault, and it is ours."""
    return record.reason or Reason.INTERNAL


def error_type(trace: DecisionTrace, bad: StageRecord | None, attributes: Mapping[str, AttributeValue]) -> str:
    """The SERVER span's `error.type`, given what `ended_badly` found and its other attributes; "" where all went well.

    MCP: "This attribute SHOULD be set to the string representation of the JSON-RPC error code, if one is returned",
    and `tool_error` where the result says `isError`.  The tool server's error stands on the RESPOND or FORWARD record
    as `error.type` or `rpc.response.status_code`.  Where the caller got no JSON-RPC answer it is our reason.
    """
    if bad:
        reason = reason_of(bad)
        return _answered_code(trace) or _refusal_code(reason, attributes) or reason
    for record in reversed(trace.records):
        if (record.stage is _RESPOND or record.stage is _FORWARD) and (stated := stated_error(record.attributes)):
            return stated
    return ""


def stated_error(attributes: Mapping[str, AttributeValue]) -> str:
    """The error that a record itself names."""
    return str(attributes.get(names.ERROR_TYPE) or attributes.get(names.RPC_RESPONSE_STATUS_CODE) or "")


def refusal_message(reason: str) -> str:
    """What the caller is told; "" for a reason that the table does not have."""
    answer = _ANSWERS.get(reason)
    return answer.message if answer else ""


def _answered_code(trace: DecisionTrace) -> str:
    """The JSON-RPC code that `respond` says it sent."""
    answered = (r.attributes for r in trace.records if r.stage is _RESPOND and r.outcome is _OK)
    return next(
        (str(found[names.RPC_RESPONSE_STATUS_CODE]) for found in answered if names.RPC_RESPONSE_STATUS_CODE in found),
        "",
    )


def _refusal_code(reason: str, attributes: Mapping[str, AttributeValue]) -> str:
    answer = _ANSWERS.get(reason)
    if answer is None or answer.http_status == _UNANSWERED or names.MCP_METHOD_NAME not in attributes:
        return ""
    return str(answer.rpc_code)
