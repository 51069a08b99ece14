"""What went wrong, in the words of the conventions: `error.type`, `rpc.response.status_code` and the status."""

from collections.abc import Mapping

from opentelemetry.trace import Status, StatusCode

from callgate.errors import ANSWERS, Answer, Reason
from callgate.telemetry import names
from callgate.trace import AttributeValue, DecisionTrace, Outcome, Stage, StageRecord

_ANSWERS: Mapping[str, Answer] = {str(reason): answer for reason, answer in ANSWERS.items()}
# By this status we note that the caller was gone: nobody read the answer.
_UNANSWERED = 499
_UNSET = Status()


def ended_badly(trace: DecisionTrace) -> StageRecord | None:
    """The first stage that did not end OK."""
    return next((record for record in trace.records if record.outcome is not Outcome.OK), None)


def reason_of(record: StageRecord) -> str:
    """The reason of a stage that did not end OK; a stage that gives none has a fault, and it is ours."""
    return record.reason or Reason.INTERNAL


def error_type(trace: DecisionTrace, attributes: Mapping[str, AttributeValue]) -> str:
    """The SERVER span's `error.type`, given its other attributes; "" where the call went well.

    MCP: "This attribute SHOULD be set to the string representation of the JSON-RPC error code, if one is returned",
    and `tool_error` where the result says `isError`.  The tool server's error stands on the RESPOND or FORWARD record
    as `error.type` or `rpc.response.status_code`.  Where the caller got no JSON-RPC answer it is our reason.
    """
    if bad := ended_badly(trace):
        reason = reason_of(bad)
        return _answered_code(trace) or _refusal_code(reason, attributes) or reason
    ends = (record for record in reversed(trace.records) if record.stage in (Stage.RESPOND, Stage.FORWARD))
    return next((stated for record in ends if (stated := stated_error(record.attributes))), "")


def stated_error(attributes: Mapping[str, AttributeValue]) -> str:
    """The error that a record itself names."""
    return str(attributes.get(names.ERROR_TYPE) or attributes.get(names.RPC_RESPONSE_STATUS_CODE) or "")


def refusal_message(reason: str) -> str:
    """What the caller is told; "" for a reason that the table does not have."""
    answer = _ANSWERS.get(reason)
    return answer.message if answer else ""


def status_of(attributes: Mapping[str, AttributeValue], description: str) -> Status:
    """MCP: "Span status SHOULD be set to ERROR when `error.type` attribute is present"; otherwise it stays unset."""
    if names.ERROR_TYPE not in attributes:
        return _UNSET
    return Status(StatusCode.ERROR, description or None)


def _answered_code(trace: DecisionTrace) -> str:
    """The JSON-RPC code that `respond` says it sent."""
    answered = (r.attributes for r in trace.records if r.stage is Stage.RESPOND and r.outcome is Outcome.OK)
    return next(
        (str(found[names.RPC_RESPONSE_STATUS_CODE]) for found in answered if names.RPC_RESPONSE_STATUS_CODE in found),
        "",
    )


def _refusal_code(reason: str, attributes: Mapping[str, AttributeValue]) -> str:
    answer = _ANSWERS.get(reason)
    if answer is None or answer.http_status == _UNANSWERED or names.MCP_METHOD_NAME not in attributes:
        return ""
    return str(answer.rpc_code)
