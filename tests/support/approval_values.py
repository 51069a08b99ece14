"""Requests for approval, people and moments, as tests of the model and of the store want them."""

from dataclasses import replace
from hashlib import sha256
from typing import Final

from callgate.approvals.model import (
    Ask,
    Before,
    Binding,
    Cover,
    Means,
    Moment,
    Person,
    Request,
    Verdict,
    Vote,
    new_request,
)
from callgate.policy.approval import Approval, Owners, Repeat
from callgate.wire.json_strict import JsonObject, canonical

AGENT: Final = "spiffe://acme.test/ns/billing/sa/refund-agent"
POLICY: Final = "0" * 64
NOW: Final = Moment(1_790_000_000.0, "boot-1", 5000.0)
REFUNDS: Final = Approval("refunds-over-500", frozenset({"payments-leads"}), frozenset({"carol@acme.test"}))
REPEAT: Final = Repeat((("account",), ("customer", "id")), 900, 5)
ARGUMENTS: Final[JsonObject] = {"account": "A-17", "customer": {"id": 4711}, "amount": 900.5}


def after(seconds: float, *, wall: float | None = None, boot: str = NOW.boot) -> Moment:
    """A moment so many seconds after NOW; `wall`: by how many the clock on the wall moved, where that is another."""
    return Moment(NOW.wall + (seconds if wall is None else wall), boot, NOW.since_boot + seconds)


def binding_of(arguments: JsonObject = ARGUMENTS, caller: str = AGENT, policy: str = POLICY) -> Binding:
    """That of a call of `refund` on `ledger`."""
    return Binding(caller, "ledger", "refund", sha256(canonical(arguments)).hexdigest(), "d" * 64, policy)


def ask_of(
    *approvals: Approval, arguments: JsonObject = ARGUMENTS, caller: str = AGENT, owners: Owners | None = None
) -> Ask:
    """Who asks for what; REFUNDS where no approvals are given."""
    return Ask(
        binding_of(arguments, caller),
        arguments,
        approvals or (REFUNDS,),
        owners or Owners(),
        definition='{"name": "refund"}',
        why=("refunds over 500 need a lead",),
        before=(Before(NOW.wall - 60, "ledger", "get_invoice", "d-1", ""),),
    )


def request_of(number: int = 0, ask: Ask | None = None, now: Moment = NOW) -> Request:
    """A request that nobody has looked at, with an id of its own."""
    return new_request(f"{number:032x}", ask or ask_of(arguments={**ARGUMENTS, "number": number}), now)


def person_of(name: str = "alice@acme.test", *groups: str, means: Means = Means.OIDC, uid: int | None = None) -> Person:
    """Somebody, in `payments-leads` unless it is said."""
    return Person(name, frozenset(groups or {"payments-leads"}), means, NOW.wall, uid=uid)


def vote_of(
    person: Person | None = None, verdict: Verdict = Verdict.APPROVE, reason: str = "", cover: Cover | None = None
) -> Vote:
    """What they say."""
    return Vote(person or person_of(), verdict, reason, NOW.wall, cover)


def with_repeat(approval: Approval = REFUNDS, repeat: Repeat = REPEAT) -> Approval:
    """The same, where an approver may cover more than one call."""
    return replace(approval, repeat=repeat)
