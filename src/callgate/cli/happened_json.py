"""A decision that really happened, as JSON."""

from callgate.audit.retrace import RetracedAnswer, RetracedRule
from callgate.audit.story import findings_of
from callgate.cli.explained import answer_json
from callgate.cli.happened import Happened
from callgate.cli.happened_shown import sentence
from callgate.trace import Finding
from callgate.wire.json_strict import JsonObject
from callgate.wire.members import text_of


def as_json(found: Happened) -> JsonObject:
    """All of it; rules about others, too.  `rules` is null where the policy was not asked or cannot be had."""
    entry = found.entry
    user = entry.part("user")
    return {
        "decision": entry.verdict,
        "reason": entry.reason or None,
        "why": sentence(found) or None,
        "stage": entry.stage or None,
        "decision_id": entry.decision,
        "trace_id": entry.trace,
        "session": entry.session or None,
        "record": entry.seq,
        "policy": text_of(entry.record, "policy") or None,
        "call": {
            "who": entry.caller or None,
            "address": entry.address or None,
            "user": {"issuer": text_of(user, "issuer"), "subject": text_of(user, "subject")} if user else None,
            "server": entry.server or None,
            "method": entry.method or None,
            "tool": entry.tool or None,
            "at": entry.time_text,
            "purpose": text_of(entry.record, "purpose") or None,
            "args_sha256": text_of(entry.record, "args") or None,
            "args": found.arguments,
        },
        "path": [*entry.path],
        "recorded_rules": [_finding_json(finding) for finding in findings_of(entry)],
        "policy_from": found.policy_from or None,
        "rules": None if found.rules is None else [_rule_json(rule, found) for rule in found.rules],
        "approval": [each.record for each in found.approval],
        "shadow": entry.part("shadow") or None,
        "token": entry.part("token") or None,
        "status": entry.status,
        "outcome": _outcome_json(found),
        "notes": [*found.notes],
    }


def _finding_json(finding: Finding) -> JsonObject:
    return {"id": finding.rule, "kind": finding.kind, "applied": finding.matched, "why": finding.why}


def _rule_json(said: RetracedRule, found: Happened) -> JsonObject:
    rule, recorded = said.rule, found.findings.get(said.rule.id)
    return {
        "id": rule.id,
        "kind": rule.kind,
        "shadow": rule.shadow,
        "file": rule.file,
        "line": rule.line,
        "applies": said.applies,
        "recorded": _finding_json(recorded) if recorded else None,
        "answers": [_answer_json(answer) for answer in said.answers],
    }


def _answer_json(said: RetracedAnswer) -> JsonObject:
    if said.yes is None:
        return {"question": said.answer.question, "yes": None, "why": said.answer.why, "unknown": [*said.unknown]}
    return answer_json(said.answer)


def _outcome_json(found: Happened) -> JsonObject | None:
    outcome = found.entry.outcome
    told = ("status", "reason", "took_us", "http", "hidden", "answer")
    return {name: outcome[name] for name in told if name in outcome} if outcome else None
