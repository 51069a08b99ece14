"""decide: which grants and denials apply, and is there room for what they allow?"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from callgate.approving import asked_of
from callgate.errors import Reason, Refusal, place_of
from callgate.inspection import inspect
from callgate.parts import Granted, Identified, Parts
from callgate.policy.call import Call
from callgate.policy.compile import Policy
from callgate.policy.decide import Decision, DecisionOutcome, decide
from callgate.told import by_shadow_policy
from callgate.trace import AttributeValue
from callgate.wire import mcp
from callgate.wire.session import NONCE_BYTES

_LOG: Final = logging.getLogger(__name__)
_ALLOWED: Final[Mapping[str, object]] = MappingProxyType({"decision": "allow"})
_HELD: Final[Mapping[str, object]] = MappingProxyType({"decision": "hold"})


class Deciding:
    """What a decision comes to for one call.  Holds nothing of any one of them."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def granted(self, policy: Policy, decision: Decision, identified: Identified) -> Granted | Refusal:
        """What it lets through, and the place at the tool server; it is remembered for later conditions."""
        found = self._granted(policy, decision, identified)
        if decision.permit is not None and isinstance(found, Refusal) and found.reason is Reason.DRY_RUN:
            # What would be refused for its arguments is not told to be allowed.
            tried = await inspect(self._parts, policy, identified, decision.permit)
            found = tried if isinstance(tried, Refusal) else replace(found, public=_HELD) if asked_of(tried) else found
        self.remember(decision, found, identified.call)
        return found

    def _granted(self, policy: Policy, decision: Decision, identified: Identified) -> Granted | Refusal:
        permit = decision.permit
        if permit is None:
            return refused_by(decision)
        if identified.request.is_dry_run:
            return Refusal(Reason.DRY_RUN, public=self._allowed(permit.call))
        if mcp.is_absorbed(identified.request):
            # It costs its sender nothing, and the gate a record.
            return self._parts.audit.room_for(str(permit.call.caller)) or Granted(policy, permit, None)
        if permit.approvals:
            # It takes no place while it waits for a person; nor does it count before it is let through.
            return Granted(policy, permit, None)
        slot = self._parts.admission.admit(permit.call, permit.limits, permit.call.now)
        return slot if isinstance(slot, Refusal) else Granted(policy, permit, slot)

    def _allowed(self, call: Call) -> Mapping[str, object]:
        """What a dry run is told; that of a legacy session also gets one, of which no tool server knows."""
        if call.method != "initialize":
            return _ALLOWED
        nonce = self._parts.secret_bytes(NONCE_BYTES)
        return {**_ALLOWED, "session": self._parts.sealer.seal(None, call.caller, call.server, nonce, call.now)}

    def remember(self, decision: Decision, found: Granted | Refusal, call: Call) -> None:
        """For conditions on what was done before.  A call counts as soon as it is let through, however it ends."""
        if call.tool is None:
            return
        # A denial counts even where it was only asked for: nobody finds out for free which arguments pass.
        if isinstance(found, Granted):
            if found.slot is None:
                # A person may have to agree first; then it counts once that is done.
                return
            self._parts.history.record_call(call.caller, call.server, call.tool, call.now)
        elif decision.outcome is DecisionOutcome.DENY and decision.is_remembered:
            self._parts.history.record_denial(call.caller, call.server, call.tool, call.now)

    def shadow_policy_on(self, call: Call) -> dict[str, AttributeValue]:
        """What a second policy would have decided; it is asked, and never obeyed."""
        policy = self._parts.shadow_policy()
        if policy is None:
            return {}
        try:
            return by_shadow_policy(decide(policy, call, for_scoped_list=False))
        except Exception as fault:  # noqa: BLE001  # what is only tried out must not fail a call
            _LOG.error("the policy in shadow failed: %s", place_of(fault))
            return {}


def refused_by(decision: Decision) -> Refusal:
    """No, by policy."""
    granted = any(finding.matched and finding.kind == "grant" for finding in decision.findings)
    # Whom no grant names is not told either that a denial does: that would say which tools there are.
    return Refusal(decision.reason or Reason.NO_GRANT, told_as=None if granted else Reason.NO_GRANT)
