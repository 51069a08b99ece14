"""inspect: may these arguments go to this tool, as it is now?

The tool has to be the one that was approved, the arguments have to fit its schema, and what must not go to it is taken
out of them or keeps the call from it.  What cannot be told is refused.
"""

from dataclasses import dataclass, replace
from hmac import digest as hmac_digest
from typing import Final

import trio

from callgate.errors import Reason, Refusal, place_of
from callgate.parts import INLINE_BYTES, Identified, Inspected, Parts
from callgate.policy.compile import Policy
from callgate.policy.decide import Permit, with_arguments
from callgate.screening.definitions import Definition
from callgate.screening.mask import Tally
from callgate.screening.messages import screen_arguments, screen_message
from callgate.screening.pins import Drift
from callgate.screening.schemas import Shape, UnusableSchema
from callgate.screening.terms import Schemas
from callgate.wire.headers import mirrored_again
from callgate.wire.json_strict import JsonObject, JsonValue
from callgate.wire.jsonrpc import RpcResult
from callgate.wire.mcp import Request

# Where nothing of what is wrong may be told.
_UNTOLD: Final = "do not fit the tool's schema"


@dataclass(frozen=True, slots=True)
class _Look:
    """What the tool is, what is left of the arguments (the same object where that is all), and what was found in them."""

    definition: Definition | None
    arguments: JsonObject
    found: Tally


async def inspect(parts: Parts, policy: Policy, identified: Identified, permit: Permit) -> Inspected | Refusal:
    """The call as it may go in; never raises for what a caller or a tool server wrote.  `policy`: what decided."""
    call = permit.call
    # Of no use to anybody who knows another workload's.
    key = hmac_digest(parts.pseudonym_key, str(call.caller).encode(), "sha256")
    if call.tool is None:
        return Inspected(identified, permit, None, key, Tally())
    if _must_know(parts, permit):
        unknown = await parts.listed(call.server)
        if unknown is not None:
            return unknown
    try:
        if identified.request.size_bytes <= INLINE_BYTES:
            look = _looked_at(parts, permit, key)
        else:
            look = await trio.to_thread.run_sync(_looked_at, parts, permit, key, limiter=parts.screeners)
        return look if isinstance(look, Refusal) else _inspected(policy, identified, permit, key, look)
    except Exception as fault:  # noqa: BLE001  # what cannot be looked at does not go in
        return Refusal(Reason.SCREENING_FAILED, place_of(fault))


def _must_know(parts: Parts, permit: Permit) -> bool:
    """Whether a call of a tool of which nothing is known is out of the question."""
    lock = parts.routes[permit.call.server].lock()
    # Whoever agrees to a call agrees to a call of the tool as it is.
    return lock is not None or permit.screening.schemas is Schemas.REQUIRED or bool(permit.approvals)


def _looked_at(parts: Parts, permit: Permit, key: bytes) -> _Look | Refusal:
    definition = _definition(parts, permit)
    if isinstance(definition, Refusal):
        return definition
    given = permit.call.arguments or {}
    held_against = None if permit.screening.schemas is Schemas.OFF else definition
    problems = _problems(held_against, given)
    if problems:
        # Which ones is for the caller alone: names that it made up may be among them.
        told = {"problems": _told(problems, permit, key)}
        return Refusal(Reason.ARGUMENTS_INVALID, f"{len(problems)} problems", public=told)
    tally = Tally()
    arguments = screen_arguments(given, permit.screening, key, tally)
    if isinstance(arguments, Refusal):
        return arguments
    if tally.held and not permit.approvals:
        return Refusal(Reason.ARGUMENTS_DENIED, "they hold what a person has to look at, and no grant says who")
    if arguments is not given and _problems(held_against, arguments):
        return Refusal(Reason.ARGUMENTS_DENIED, "masked, they do not fit the tool's schema")
    return _Look(definition, arguments, tally)


def _inspected(policy: Policy, identified: Identified, permit: Permit, key: bytes, look: _Look) -> Inspected | Refusal:
    """The call with what is left of its arguments."""
    # Left out, they were looked at as {}.
    if look.arguments is permit.call.arguments or not (look.arguments or permit.call.arguments):
        return Inspected(identified, permit, look.definition, key, look.found)
    changed = with_arguments(policy, permit, look.arguments)
    if changed is None:
        return Refusal(Reason.ARGUMENTS_DENIED, "masked, they are others than those that are allowed")
    masked = replace(identified, request=_with_arguments(identified.request, look.arguments), call=changed.call)
    return Inspected(masked, changed, look.definition, key, look.found)


def _with_arguments(request: Request, arguments: JsonObject) -> Request:
    """The same request, with nothing left in it of the arguments that it came with."""
    message = replace(request.message, params={**request.message.params, "arguments": arguments})
    mirrors = mirrored_again(request.param_headers, request.arguments or {}, arguments)
    return replace(request, message=message, arguments=arguments, param_headers=mirrors)


def _definition(parts: Parts, permit: Permit) -> Definition | Refusal | None:
    """What the tool is now, where that counts; TOOL_DRIFT where it is not what was approved."""
    call, schemas = permit.call, permit.screening.schemas
    lock = parts.routes[call.server].lock()
    known = parts.definitions.of(call.server, call.tool)
    if lock is not None:
        judged = lock.judge(call.tool or "", known)
        if isinstance(judged, Drift):
            return Refusal(Reason.TOOL_DRIFT, judged.words)
    if schemas is Schemas.OFF:
        # That it is the one that was approved still counts, until it has answered.
        return known if lock is not None else None
    if known is None and schemas is Schemas.REQUIRED:
        return Refusal(Reason.SCHEMA_UNKNOWN, "the tool server does not list this tool")
    if known is not None:
        for shape in (known.input_shape, known.output_shape):
            if isinstance(shape, UnusableSchema):
                return Refusal(Reason.SCHEMA_UNUSABLE, shape.why)
    return known


def _problems(definition: Definition | None, arguments: JsonObject) -> tuple[str, ...]:
    shape = definition.input_shape if definition is not None else None
    return shape.problems(arguments) if isinstance(shape, Shape) else ()


def _told(problems: tuple[str, ...], permit: Permit, key: bytes) -> tuple[str, ...]:
    """As the agent may see them: what a schema allows stands in the tool's definition, and is screened as that is."""
    listed: list[JsonValue] = [*problems]
    shown = screen_message(RpcResult(0, {"problems": listed}), "tools/list", permit.screening, key, Tally())
    left = shown.result.get("problems") if isinstance(shown, RpcResult) else None
    told = tuple(each for each in left if isinstance(each, str)) if isinstance(left, list) else ()
    return told or (_UNTOLD,)
