"""`callgate explain`: why is this call decided as it is, or was it then, and what may this workload do?"""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
import orjson
from cryptography.hazmat.primitives.asymmetric import ec

from callgate.cli import explained, happened_json, happened_shown, permitted
from callgate.cli.branches import Node, draw, mermaid
from callgate.cli.files import FileProblems, open_files
from callgate.cli.happened import RecordedFlags
from callgate.cli.shown_json import shown_json
from callgate.cli.situations import Flags, situation_of
from callgate.config import Config
from callgate.errors import Reason
from callgate.identity.spiffe_id import SpiffeId, TrustDomain
from callgate.policy.call import Call
from callgate.policy.compile import Policy
from callgate.policy.decide import Permit
from callgate.policy.explain import Explanation, explain
from callgate.policy.permissions import permissions_of
from callgate.policy.rule import Rule
from callgate.policy.situation import Situation, call_of
from callgate.policy_files import policy_files
from callgate.tokens.claims import JTI_BYTES, CannotMint, Issuer, Stamp, TokenTarget, claims_of
from callgate.tokens.keys import SigningKey
from callgate.wire.json_strict import JsonObject, JsonValue, dumps
from callgate.wire.methods import METHODS, Service
from callgate.yaml_model import did_you_mean

_CONFIG: Final = Path("callgate.yaml")
# With --exit-code, as `callgate dev call` says it.
_DENIED: Final = 3
# What only a call tells; each is of a form that no real value has.
_GATE: Final = SpiffeId(TrustDomain("gate.invalid"), "/gate")
_DECISION: Final = "(the decision's id)"
_WORDS: Final[Mapping[str, str]] = {str(_GATE): "(the gate's own SPIFFE ID)"}


@dataclass(frozen=True, slots=True)
class _Rules:
    """What to ask: the policy, and where it is known the configuration with the policy that it only tries out."""

    policy: Policy
    config: Config | None = None
    shadow: Policy | None = None


@click.command("explain")
@click.option(
    "-c",
    "--config",
    "config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where things are; names the policy.  callgate.yaml, unless --policy is given.",
)
@click.option(
    "-p", "--policy", "policies", multiple=True, metavar="PATH", help="A policy file or folder instead; repeatable."
)
@click.option("--who", metavar="SPIFFE_ID", help="The workload that calls.")
@click.option("--server", help="The tool server, as the configuration names it.")
@click.option("--tool", help="The tool that is called.")
@click.option("--args", metavar="JSON", help="Its arguments, an object.")
@click.option("--args-file", metavar="FILE", help="The same from a file.")
@click.option("--method", help="The MCP method, if it is not tools/call.")
@click.option("--purpose", help="What the agent declares to be its purpose.")
@click.option("--user", metavar="JSON", help="The user whose token comes along: {issuer, subject, groups, claims}.")
@click.option("--history", metavar="JSON|FILE", help="What it did before: [{call: web/fetch, ago: 5m}, {denied: …}].")
@click.option("--at", metavar="MOMENT", help="When, such as 2026-12-31T18:00:00Z; now, unless given.")
@click.option("--svid-age", metavar="DURATION", help="How long ago its SVID was issued, such as 5m.")
@click.option("--call", metavar="FILE|-", help="All of that as JSON or YAML, as in a test; flags replace its parts.")
@click.option("--decision", metavar="ID", help="Explain a decision that happened: its id, or the beginning of it.")
@click.option("--trace-id", metavar="ID", help="The same by its trace, as the tracing backend shows it.")
@click.option("--log", metavar="DIR", help="The log that holds it; else the one that the configuration names.")
@click.option("--identity", metavar="FILE", help="An auditor's private key, to see arguments that were recorded.")
@click.option("--format", "form", type=click.Choice(["tree", "json", "mermaid"]), default="tree", show_default=True)
@click.option("--all", "all_rules", is_flag=True, help="Show every rule about other workloads, too.")
@click.option("--exit-code", is_flag=True, help="Exit 3 if the call is denied.")
def explain_call(
    config: Path | None,
    policies: tuple[str, ...],
    form: str,
    *,
    all_rules: bool,
    exit_code: bool,
    **flags: str | None,
) -> None:
    """Tell how a call is decided, rule by rule, and what its token would say.  No gate is asked and nothing is called.

    With --who alone: what that workload may do, on each server.  With --decision or --trace-id: a decision that
    happened, as the log has it, with the policy of then (kept with the log, or given by --policy); what the log does
    not know, such as arguments without --identity, is told as not known.  Exit status: 0 when there is an answer,
    whatever it is (with --exit-code 3 for a denied call), 1 when a file is not good, 2 for a wrong command line, a log
    that cannot be read, or one that has no such decision.

    \b
      callgate explain --who spiffe://acme.test/ns/billing/sa/agent \\
          --server ledger --tool refund --args '{"amount": 5}'
      callgate explain --decision 3f2a --log audit
    """  # noqa: D301  # click's \b
    recorded = RecordedFlags(*(flags.pop(name) for name in ("decision", "trace_id", "log", "identity")))
    if recorded.is_asked:
        if extra := next((name for name, value in flags.items() if value is not None), None):
            raise click.UsageError(f"--{extra.replace('_', '-')}: what was asked is in the record of the decision")
        _explain_recorded(recorded, config, policies, form, (all_rules, exit_code))
        return
    if config is not None and policies:
        raise click.UsageError("--config and --policy exclude each other")
    situation = situation_of(Flags(**flags))
    if situation.who is None:
        raise click.UsageError("--who is missing: the SPIFFE ID of the workload that calls")
    rules = _rules(config, policies)
    now = time.time() if situation.at is None else situation.at
    if situation.call is None:
        _check_nothing_of_a_call(situation)
        _print(*_permissions(rules, situation.who, now), form)
        return
    _check_server(rules, situation.call.server)
    call = call_of(situation, situation.who, situation.call, now)
    explanation = explain(rules.policy, call)
    shown = _shown(rules, explanation, all_rules=all_rules)
    _print(explained.as_tree(explanation, shown), explained.as_json(explanation, shown), form)
    if exit_code and explanation.decision.permit is None:
        raise SystemExit(_DENIED)


def _explain_recorded(
    recorded: RecordedFlags, config: Path | None, policies: tuple[str, ...], form: str, switches: tuple[bool, bool]
) -> None:
    all_rules, exit_code = switches
    found = recorded.found(config, policies)
    _print(happened_shown.as_tree(found, all_rules=all_rules), happened_json.as_json(found), form)
    if exit_code and found.entry.verdict != "allow":
        raise SystemExit(_DENIED)


def _rules(config: Path | None, policies: tuple[str, ...]) -> _Rules:
    if not policies:
        if config is None and not _CONFIG.exists():
            raise click.UsageError(f"there is no {_CONFIG} here; name one by --config, or a policy by --policy")
        files = open_files(config or _CONFIG)
        return _Rules(files.policy.current, files.config, files.shadow.current if files.shadow is not None else None)
    loaded = policy_files(Path(), policies).load()
    if isinstance(loaded, tuple):
        raise FileProblems(loaded)
    return _Rules(loaded)


def _check_nothing_of_a_call(situation: Situation) -> None:
    """What would not be looked at is refused: who reads the answer would take it to be about that user."""
    given = {"user": "--user", "history": "--history", "svid_age_s": "--svid-age"}
    if said := [flag for key, flag in given.items() if key in situation.model_fields_set]:
        raise click.UsageError(f"{', '.join(said)}: only a call is decided by that; name one by --server and --tool")


def _check_server(rules: _Rules, server: str) -> None:
    """A gate knows no other servers than those of its configuration."""
    if rules.config is not None and server not in rules.config.servers:
        near = did_you_mean(server, sorted(rules.config.servers))
        raise click.UsageError(f"server '{server}' is not configured{near}")


def _permissions(rules: _Rules, caller: SpiffeId, now: float) -> tuple[Node, JsonObject]:
    found = permissions_of(rules.policy, caller, now)
    notes = tuple(_about_caller(rules, caller))
    return permitted.as_tree(caller, now, found, notes), permitted.as_json(caller, now, found, notes)


def _print(tree: Node, as_json: JsonObject, form: str) -> None:
    match form:
        case "json":
            click.echo(shown_json(as_json))
        case "mermaid":
            click.echo(mermaid(tree))
        case _:
            click.echo(draw(tree, colour=sys.stdout.isatty()))


def _shown(rules: _Rules, explanation: Explanation, *, all_rules: bool) -> explained.Shown:
    notes = list(_about_caller(rules, explanation.call.caller))
    notes += _about_call(rules, explanation.call)
    claims = _claims(rules, explanation.decision.permit) if explanation.decision.permit is not None else None
    record = rules.config.record_level(explanation.call.server) if rules.config is not None else None
    if isinstance(claims, str):
        return explained.Shown(None, (*notes, claims), all_rules, record)
    return explained.Shown(claims, tuple(notes), all_rules, record)


def _about_caller(rules: _Rules, caller: SpiffeId) -> list[str]:
    if caller.trust_domain in rules.policy.trust_domains:
        return []
    return [f"the policy does not list the trust domain {caller.trust_domain}: no grant can name this workload"]


def _about_call(rules: _Rules, call: Call) -> list[str]:
    notes = []
    method = METHODS.get(call.method)
    if method is None or method.service is Service.REFUSED:
        notes.append(f"the gate does not serve {call.method}: it refuses it ({Reason.METHOD_NOT_SERVED})")
    if call.server not in rules.policy.rules:
        near = did_you_mean(call.server, sorted(rules.policy.rules))
        notes.append(f"no rule is about the server '{call.server}'{near}")
    elif call.tool is not None and (near := _near_tool(rules.policy.rules[call.server], call.tool)):
        notes.append(f"no rule names the tool '{call.tool}'{near}")
    if rules.shadow is not None:
        other = explain(rules.shadow, call)
        notes.append(f"under the shadow policy: {other.decision.outcome}, {other.sentence}")
    return notes


def _near_tool(rules: Sequence[Rule], tool: str) -> str:
    """A tool that may have been meant, where no rule knows the one that was written."""
    if any(rule.tool_match(tool) for rule in rules):
        return ""
    return did_you_mean(tool, sorted({name for rule in rules for name in rule.exact_tools}))


def _claims(rules: _Rules, permit: Permit) -> JsonObject | str:
    """The claims of the token, with words in place of what only the call itself tells; or why there are none."""
    if rules.config is None:
        return "what its token would say is known with --config alone: it names the server's audience"
    token = rules.config.servers[permit.call.server].token
    target = TokenTarget(token.audience, token.ttl_s, token.typ, token.list_scopes)
    # An issuer has a key.  This one signs nothing, and is gone when the claims are made.
    issuer = Issuer(rules.config.issuer, _GATE, SigningKey(ec.generate_private_key(ec.SECP256R1())))
    try:
        claims = claims_of(permit, issuer, target, Stamp(permit.call.now, bytes(JTI_BYTES), _DECISION))
    except CannotMint as fault:
        return f"no token can be minted, and the call is not forwarded ({Reason.MINT_FAILED}): {fault}"
    plain: JsonObject = orjson.loads(dumps(claims))
    return {name: _in_words(value) for name, value in plain.items()} | {"jti": "(16 random bytes)"}


def _in_words(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {key: _in_words(inner) for key, inner in value.items()}
    return _WORDS.get(value, value) if isinstance(value, str) else value
