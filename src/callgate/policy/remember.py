"""What each record adds to the past of workloads, as `callgate.gateway` remembers what it decides."""

from collections.abc import Callable

from callgate.policy.compile import Policy
from callgate.policy.decide import decide
from callgate.policy.past import Past
from callgate.policy.possible import HISTORY, reads_of_rule
from callgate.policy.recorded import AFTER_POLICY, BY_POLICY, RecordedCall, Ruling, caller_of, list_of, moment_of
from callgate.policy.rule import Rule
from callgate.trace import Stage
from callgate.wire.json_strict import JsonObject
from callgate.wire.members import text_of


def asks_past(policy: Policy) -> bool:
    """Whether any condition of a policy asks what was done before."""
    rules = (rule for rules in policy.rules.values() for rule in rules)
    return any(rule.condition is not None and rule.condition.reads_history for rule in rules)


def remember_event(past: Past, record: JsonObject) -> None:
    """A record that is no request."""
    kind, now = record.get("kind"), moment_of(record)
    if kind == "start":
        past.restart()
    elif now is not None:
        past.reach(now)
        if kind == "outage":
            # Calls that were let through and then not recorded count for the gate.
            past.lose(moment_of(record, "until") or now)
        elif kind == "summary":
            _remember_counts(past, record, moment_of(record, "until") or now)


def remember_call(past: Past, policy_of: Callable[[str], Policy | None], found: RecordedCall, ruling: Ruling) -> None:
    """A request on which a policy decided.  `policy_of`: by its digest; None for one whose text is not known."""
    if ruling is Ruling.ALLOWED:
        past.call(found.call)
    elif ruling is Ruling.DENIED:
        past.denial(found.call, is_remembered=_is_remembered(past, policy_of(found.policy), found))


def _remember_counts(past: Past, record: JsonObject, until: float) -> None:
    """Refusals that have no record of their own."""
    for count in list_of(record.get("counts")):
        if not isinstance(count, dict):
            continue
        stage = text_of(count, "stage")
        if stage in AFTER_POLICY:
            past.lose(until)
        elif stage == Stage.DECIDE and text_of(count, "reason") in BY_POLICY:
            past.unclear(caller_of(count), until)


def _is_remembered(past: Past, policy: Policy | None, found: RecordedCall) -> bool | None:
    """Whether the gate counts this denial (`Decision.is_remembered`); None where it cannot be told."""
    call = found.call
    if policy is None or call.tool is None:
        return None
    naming = policy.view(call.caller, call.server, call.now).on(call.tool)
    rules = [each.rule for each in (*naming.denials, *naming.grants) if not each.rule.shadow]
    if not any(rule.asks_denials for rule in rules):
        return True
    return decide(policy, call).is_remembered if all(_is_known(past, rule, found) for rule in rules) else None


def _is_known(past: Past, rule: Rule, found: RecordedCall) -> bool:
    """Whether all that a rule reads is known."""
    if any(map(found.hides, rule.scopes)):
        return False
    if rule.users is not None and rule.users.groups is not None and "user.groups" in found.unknown:
        return False
    if rule.condition is None:
        return True
    reads = reads_of_rule(rule.condition)
    if not reads.variables.isdisjoint(found.unknown):
        return False
    return HISTORY not in reads.variables or past.tells(found.call, reads.questions)
