import copy
import dataclasses
import json
import random
from collections.abc import Iterable
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.errors import GatewayError, Reason
from callgate.identity.spiffe_id import SpiffeId, TrustDomain
from callgate.policy import rule as rules_module
from callgate.policy.call import Call
from callgate.policy.compile import MAX_VIEWS, Policy, load_policy
from callgate.policy.decide import (
    IMPLIED_METHODS,
    MAX_LISTABLE_CHARACTERS,
    Decision,
    DecisionOutcome,
    ForgedPermit,
    Permit,
    decide,
    tool_is_visible,
)
from callgate.policy.patterns import ToolPattern, WorkloadPattern
from callgate.policy.view import MAX_FINDINGS
from callgate.trace import Finding
from callgate.yaml_strict import YamlValue

POLICY = """\
version: 1
trust_domains: [acme.test, partner.test]
grants:
  - id: billing-reads
    workloads: [spiffe://acme.test/ns/billing/sa/*]
    server: ledger
    tools: [get_invoice, "list_*"]
    scopes: [ledger.read, ledger.see]
  - id: refunds
    workloads: [spiffe://acme.test/ns/billing/sa/refund-agent]
    server: ledger
    tools: [refund, get_invoice]
    scopes: [ledger.refund, ledger.read]
    ttl: 10s
  - id: partners-read
    workloads: ["spiffe://partner.test/**"]
    server: ledger
    tools: [get_invoice]
    ttl: 30s
  - id: mail
    workloads: [spiffe://acme.test/ns/billing/sa/*]
    server: mail
    tools: [send]
denials:
  - id: no-list-all
    server: ledger
    tools: [list_all]
  - id: partner-guest
    workloads: [spiffe://partner.test/guest]
    server: ledger
    tools: ["*"]
"""
NOW = 1_800_000_000.0
REFUND_AGENT = SpiffeId.parse("spiffe://acme.test/ns/billing/sa/refund-agent")
READER = SpiffeId.parse("spiffe://acme.test/ns/billing/sa/reader")
STRANGER = SpiffeId.parse("spiffe://acme.test/ns/ops/sa/x")
GUEST = SpiffeId.parse("spiffe://partner.test/guest")


def policy_of(text: str) -> Policy:
    policy = load_policy(text, "p.yaml")
    assert isinstance(policy, Policy), "\n".join(map(str, policy))
    return policy


@pytest.fixture
def policy() -> Policy:
    return policy_of(POLICY)


def call_of(caller: SpiffeId, tool: str | None, *, method: str = "tools/call", server: str = "ledger") -> Call:
    return Call(caller=caller, server=server, method=method, tool=tool, arguments={} if tool else None, now=NOW)


def is_visible(policy: Policy, caller: SpiffeId, server: str, tool: str) -> bool:
    return tool_is_visible(policy, call_of(caller, None, method="tools/list", server=server), tool)


def permit_of(decision: Decision) -> Permit:
    assert decision.outcome is DecisionOutcome.ALLOW
    assert decision.reason is None
    assert decision.permit is not None
    return decision.permit


def assert_denied(decision: Decision, reason: Reason) -> None:
    assert decision.outcome is DecisionOutcome.DENY
    assert decision.reason is reason
    assert decision.permit is None


def test_allows_call_that_a_grant_names(policy: Policy) -> None:
    call = call_of(READER, "get_invoice")

    permit = permit_of(decide(policy, call))

    assert permit.call is call
    assert permit.scopes == ("ledger.read", "ledger.see")
    assert permit.ttl_s is None
    assert permit.grants == ("billing-reads",)
    assert permit.policy_digest == policy.digest
    assert permit.listable == ()


def test_denies_the_call_beside_it(policy: Policy) -> None:
    decision = decide(policy, call_of(READER, "refund"))

    assert_denied(decision, Reason.NO_GRANT)
    assert decision.findings[-1] == Finding(
        "default-deny", "default", matched=True, why="none of this workload's grants on this server names this tool"
    )


def test_several_grants_give_the_union_of_scopes_in_file_order_and_the_smallest_ttl(policy: Policy) -> None:
    permit = permit_of(decide(policy, call_of(REFUND_AGENT, "get_invoice")))

    assert permit.scopes == ("ledger.read", "ledger.see", "ledger.refund")
    assert permit.ttl_s == 10
    assert permit.grants == ("billing-reads", "refunds")


def test_denial_beats_grant(policy: Policy) -> None:
    permit_of(decide(policy, call_of(READER, "list_some")))

    decision = decide(policy, call_of(READER, "list_all"))

    assert_denied(decision, Reason.DENIED)
    assert decision.findings[:2] == (
        Finding("no-list-all", "denial", matched=True, why="tool matches list_all; any workload"),
        Finding(
            "billing-reads",
            "grant",
            matched=True,
            why="tool matches list_*; workload matches spiffe://acme.test/ns/billing/sa/*",
        ),
    )
    assert not any(finding.kind == "default" for finding in decision.findings)


def test_denial_for_one_workload_leaves_others_alone(policy: Policy) -> None:
    assert_denied(decide(policy, call_of(GUEST, "get_invoice")), Reason.DENIED)
    permit_of(decide(policy, call_of(SpiffeId.parse("spiffe://partner.test/a/b"), "get_invoice")))


def test_denial_without_grant_is_a_denial(policy: Policy) -> None:
    assert_denied(decide(policy, call_of(STRANGER, "list_all")), Reason.DENIED)


def test_every_rule_of_the_server_is_found_with_why(policy: Policy) -> None:
    decision = decide(policy, call_of(READER, "refund"))

    assert decision.findings == (
        Finding("no-list-all", "denial", matched=False, why="tool is not list_all"),
        Finding("billing-reads", "grant", matched=False, why="tool is not get_invoice or list_*"),
        Finding("refunds", "grant", matched=False, why="workload is not spiffe://acme.test/ns/billing/sa/refund-agent"),
        Finding("partners-read", "grant", matched=False, why="workload is not spiffe://partner.test/**"),
        Finding("partner-guest", "denial", matched=False, why="workload is not spiffe://partner.test/guest"),
        Finding(
            "default-deny", "default", matched=True, why="none of this workload's grants on this server names this tool"
        ),
    )


def test_denies_workload_that_no_grant_names(policy: Policy) -> None:
    decision = decide(policy, call_of(STRANGER, "get_invoice"))

    assert_denied(decision, Reason.NO_GRANT)
    assert decision.findings[-1].why == "no grant on this server names this workload"


def test_denies_server_that_no_rule_names(policy: Policy) -> None:
    for method, tool in (("tools/call", "get_invoice"), ("tools/list", None)):
        decision = decide(policy, call_of(READER, tool, method=method, server="unknown"))
        assert_denied(decision, Reason.NO_GRANT)
        assert [finding.rule for finding in decision.findings] == ["default-deny"]


def test_a_grant_on_one_server_opens_no_other(policy: Policy) -> None:
    permit_of(decide(policy, call_of(READER, "send", server="mail")))
    assert_denied(decide(policy, call_of(READER, "send")), Reason.NO_GRANT)


@pytest.mark.parametrize("method", sorted(IMPLIED_METHODS))
def test_a_grant_of_any_tool_implies_what_a_client_needs_to_get_there(policy: Policy, method: str) -> None:
    permit = permit_of(decide(policy, call_of(REFUND_AGENT, None, method=method)))

    assert permit.grants == ("billing-reads", "refunds")
    assert permit.ttl_s is None
    assert_denied(decide(policy, call_of(STRANGER, None, method=method)), Reason.NO_GRANT)


@pytest.mark.parametrize("method", sorted(IMPLIED_METHODS))
def test_denials_of_tools_leave_the_methods_before_them_open(policy: Policy, method: str) -> None:
    permit_of(decide(policy, call_of(GUEST, None, method=method)))


def test_implied_methods_are_what_gets_a_client_to_a_tool_and_what_ends_at_the_gate() -> None:
    served = {"initialize", "notifications/initialized", "ping", "server/discover", "tools/list"}
    absorbed = {"notifications/cancelled", "notifications/progress", "notifications/roots/list_changed"}

    assert served | absorbed == IMPLIED_METHODS


def test_permit_for_a_list_carries_what_can_be_called(policy: Policy) -> None:
    permit = permit_of(decide(policy, call_of(REFUND_AGENT, None, method="tools/list")))

    assert permit.listable == ("get_invoice", "refund")
    assert permit.scopes == ("ledger.read", "ledger.see", "ledger.refund")


def test_permit_for_a_list_that_is_shown_to_anyone_carries_nothing(policy: Policy) -> None:
    call = call_of(REFUND_AGENT, None, method="tools/list")

    permit = permit_of(decide(policy, call, for_scoped_list=False))

    assert (permit.scopes, permit.listable) == ((), ())


@pytest.mark.parametrize("method", sorted(IMPLIED_METHODS - {"tools/list"}))
def test_permit_for_other_implied_methods_carries_no_scope(policy: Policy, method: str) -> None:
    permit = permit_of(decide(policy, call_of(REFUND_AGENT, None, method=method)))

    assert permit.scopes == ()
    assert permit.listable == ()


def test_list_for_a_workload_that_may_call_nothing_carries_nothing(policy: Policy) -> None:
    permit = permit_of(decide(policy, call_of(GUEST, None, method="tools/list")))

    assert permit.listable == ()
    assert permit.scopes == ()


def test_listable_names_fit_into_a_token() -> None:
    tools = ", ".join(f"tool_number_{number:04}" for number in range(900))
    policy = policy_of(
        "version: 1\ntrust_domains: [acme.test]\ngrants:\n"
        f"  - {{id: many, workloads: [spiffe://acme.test/**], server: ledger, tools: [{tools}]}}\n"
    )

    permit = permit_of(decide(policy, call_of(READER, None, method="tools/list")))

    assert permit.listable[:2] == ("tool_number_0000", "tool_number_0001")
    assert sum(map(len, permit.listable)) <= MAX_LISTABLE_CHARACTERS
    assert sum(map(len, permit.listable)) > MAX_LISTABLE_CHARACTERS - 17


@pytest.mark.parametrize(
    "method",
    [
        *["", "resources/list", "resources/read", "prompts/get", "tools/Call", "tools/call ", "TOOLS/LIST"],
        *["logging/setLevel", "notifications/message", "completion/complete", "tools/list\n", "subscriptions/listen"],
    ],
)
@pytest.mark.parametrize("tool", [None, "get_invoice"])
def test_denies_method_that_no_grant_implies(policy: Policy, method: str, tool: str | None) -> None:
    assert_denied(decide(policy, call_of(REFUND_AGENT, tool, method=method)), Reason.NO_GRANT)


@pytest.mark.parametrize("method", sorted(IMPLIED_METHODS))
def test_denies_implied_method_that_names_a_tool(policy: Policy, method: str) -> None:
    assert_denied(decide(policy, call_of(REFUND_AGENT, "get_invoice", method=method)), Reason.NO_GRANT)


EVERYTHING = """\
version: 1
trust_domains: [acme.test]
grants:
  - {id: all, workloads: ["spiffe://acme.test/**"], server: ledger, tools: ["*"], scopes: [all]}
"""


@pytest.mark.parametrize(
    "tool", [None, "", "a b", "a admin", "a\n", "é", "a/b", "tool:x", "*", "?", "a" * 129, "\ud800", "a\x00"]
)
def test_denies_tool_whose_name_could_not_stand_in_a_scope(tool: str | None) -> None:
    policy = policy_of(EVERYTHING)

    assert_denied(decide(policy, call_of(READER, tool)), Reason.NO_GRANT)
    assert tool is None or not is_visible(policy, READER, "ledger", tool)


@pytest.mark.parametrize("tool", ["a", "A.b-c_9", "a" * 128])
def test_wildcard_grant_allows_every_well_formed_tool(tool: str) -> None:
    permit_of(decide(policy_of(EVERYTHING), call_of(READER, tool)))


def test_trust_domain_itself_is_never_allowed() -> None:
    root = SpiffeId(TrustDomain("acme.test"), "")

    assert_denied(decide(policy_of(EVERYTHING), call_of(root, "a")), Reason.NO_GRANT)


def test_policy_without_grants_denies_everything() -> None:
    policy = policy_of("version: 1\ntrust_domains: [acme.test]\n")

    for method in ("tools/call", *IMPLIED_METHODS):
        assert_denied(decide(policy, call_of(READER, None, method=method)), Reason.NO_GRANT)


class TestPermit:
    def test_cannot_be_made_by_anyone_else(self, policy: Policy) -> None:
        call = call_of(READER, "wipe")

        with pytest.raises(ForgedPermit):
            Permit(object(), call, ("a",), None, ("x",), policy.digest)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            Permit(call=call, scopes=(), ttl_s=None, grants=(), policy_digest="")  # type: ignore[call-arg]
        assert issubclass(ForgedPermit, GatewayError)

    def test_cannot_be_changed(self, policy: Policy) -> None:
        permit = permit_of(decide(policy, call_of(READER, "get_invoice")))

        with pytest.raises(dataclasses.FrozenInstanceError):
            permit.scopes = ("admin",)  # type: ignore[misc]
        # Python 3.13 says TypeError, those before it ValueError.
        with pytest.raises((ValueError, TypeError), match="seal"):
            dataclasses.replace(permit, scopes=("admin",))  # type: ignore[call-arg]
        with pytest.raises(ForgedPermit):
            dataclasses.replace(permit, seal=object(), scopes=("admin",))  # type: ignore[arg-type]

    def test_copy_says_the_same(self, policy: Policy) -> None:
        permit = permit_of(decide(policy, call_of(READER, "get_invoice")))

        assert copy.copy(permit) == permit


def many_rules(count: int, *, tool: str = "other") -> Policy:
    rules = "".join(
        f"  - {{id: g{number}, workloads: [spiffe://acme.test/**], server: ledger, tools: [{tool}]}}\n"
        for number in range(count)
    )
    return policy_of(f"version: 1\ntrust_domains: [acme.test]\ngrants:\n{rules}")


def test_findings_are_bounded_and_say_how_many_more() -> None:
    decision = decide(many_rules(MAX_FINDINGS + 37), call_of(READER, "wanted"))

    assert len(decision.findings) == MAX_FINDINGS + 2
    assert decision.findings[-2] == Finding(
        "more-rules",
        "default",
        matched=False,
        why="37 more of this server's rules were looked at; those that apply stand first",
    )
    assert decision.findings[-1].rule == "default-deny"


def test_findings_at_the_bound_are_complete() -> None:
    decision = decide(many_rules(MAX_FINDINGS), call_of(READER, "wanted"))

    assert len(decision.findings) == MAX_FINDINGS + 1


def test_rules_about_others_are_bounded_and_counted_too() -> None:
    caller = SpiffeId.parse("spiffe://other.test/x")

    for method, tool in (("tools/call", "wanted"), ("tools/list", None)):
        decision = decide(many_rules(MAX_FINDINGS + 5), call_of(caller, tool, method=method))
        assert_denied(decision, Reason.NO_GRANT)
        assert decision.findings[-2].why.startswith("5 more")


def test_implying_grants_are_bounded_and_counted_too() -> None:
    decision = decide(many_rules(MAX_FINDINGS + 5), call_of(READER, None, method="tools/list"))

    assert len(permit_of(decision).grants) == MAX_FINDINGS + 5
    assert len(decision.findings) == MAX_FINDINGS + 1
    assert decision.findings[-1].why.startswith("5 more")


def test_rules_that_apply_are_never_cut() -> None:
    rules = "".join(
        f"  - {{id: g{number}, workloads: [spiffe://acme.test/**], server: ledger, tools: [t{number}]}}\n"
        for number in range(1000)
    )
    policy = policy_of(f"version: 1\ntrust_domains: [acme.test]\ngrants:\n{rules}")

    assert decide(policy, call_of(READER, "t999")).findings[0].rule == "g999"


def test_sentences_name_few_patterns_and_count_the_rest() -> None:
    def why(tools: str) -> str:
        policy = policy_of(
            "version: 1\ntrust_domains: [acme.test]\ngrants:\n"
            f"  - {{id: a, workloads: [spiffe://acme.test/**], server: ledger, tools: [{tools}]}}\n"
        )
        return decide(policy, call_of(READER, "zzz")).findings[0].why

    assert why("a") == "tool is not a"
    assert why("a, b") == "tool is not a or b"
    assert why("a, b, c") == "tool is not a, b or c"
    assert why("a, b, c, d, e") == "tool is not a, b, c or one of 2 more"


def test_remembered_workloads_are_bounded_and_forgetting_changes_nothing(policy: Policy) -> None:
    callers = [SpiffeId.parse(f"spiffe://acme.test/ns/billing/sa/w{number}") for number in range(MAX_VIEWS + 50)]

    first = [decide(policy, call_of(caller, "get_invoice")) for caller in callers]
    again = [decide(policy, call_of(caller, "get_invoice")) for caller in callers]

    assert first == again
    assert len(policy._views) == MAX_VIEWS


def test_unknown_servers_leave_nothing_behind(policy: Policy) -> None:
    for number in range(100):
        decide(policy, call_of(READER, "a", server=f"s{number}"))

    assert not policy._views


def test_remembered_sentences_are_bounded() -> None:
    tools = ", ".join(f"t{number}" for number in range(1000))
    policy = policy_of(
        "version: 1\ntrust_domains: [acme.test]\ngrants:\n"
        f"  - {{id: a, workloads: [spiffe://acme.test/**], server: ledger, tools: [{tools}]}}\n"
    )

    whys = {decide(policy, call_of(READER, f"t{number}")).findings[0].why for number in range(1000)}

    assert len(whys) == 1000
    assert len(policy.rules["ledger"][0]._applying) == rules_module.MAX_SENTENCES_KEPT


def test_digest_is_the_sha256_of_the_files_bytes() -> None:
    text = POLICY + "# é\n"

    assert policy_of(text).digest == f"sha256:{sha256(text.encode('utf-8')).hexdigest()}"
    assert decide(policy_of(text), call_of(READER, "x")).policy_digest == policy_of(text).digest


def test_policy_counts_its_rules_and_names_its_trust_domains(policy: Policy) -> None:
    assert (policy.count("grant"), policy.count("denial")) == (4, 2)
    assert policy.trust_domains == {TrustDomain("acme.test"), TrustDomain("partner.test")}


# Random policies over a small world, so that rules and calls meet often.
WORKLOADS = ["spiffe://acme.test/a", "spiffe://acme.test/a/b", "spiffe://acme.test/b", "spiffe://partner.test/a"]
WORKLOAD_PATTERNS = [
    *WORKLOADS,
    *["spiffe://acme.test/*", "spiffe://acme.test/**", "spiffe://acme.test/a/**", "spiffe://acme.test/**/b"],
    "spiffe://partner.test/**",
]
TOOLS = ["get", "get_all", "list", "set", "x"]
TOOL_PATTERNS = [*TOOLS, "*", "get*", "?et", "*_*", "l?st"]
SERVERS = ["s1", "s2"]
SCOPES = ["a", "b", "c"]


Rule = dict[str, YamlValue]
Rules = list[Rule]


def lists(values: list[str], most: int = 3) -> st.SearchStrategy[YamlValue]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=most)


GRANTS: st.SearchStrategy[Rule] = st.fixed_dictionaries(
    {"workloads": lists(WORKLOAD_PATTERNS), "server": st.sampled_from(SERVERS), "tools": lists(TOOL_PATTERNS)},
    optional={"scopes": lists(SCOPES), "ttl": st.sampled_from(["5s", "10s", "1m"])},
)
DENIALS: st.SearchStrategy[Rule] = st.fixed_dictionaries(
    {"server": st.sampled_from(SERVERS), "tools": lists(TOOL_PATTERNS, 2)},
    optional={"workloads": lists(WORKLOAD_PATTERNS, 2)},
)


def numbered(rules: Iterable[Rule], prefix: str) -> Rules:
    return [{"id": f"{prefix}{number}", **rule} for number, rule in enumerate(rules)]


def written(grants: Rules, denials: Rules) -> Policy:
    file = {"version": 1, "trust_domains": ["acme.test", "partner.test"], "grants": grants, "denials": denials}
    return policy_of(json.dumps(file))


RULES = st.tuples(
    st.lists(GRANTS, max_size=5).map(lambda rules: numbered(rules, "g")),
    st.lists(DENIALS, max_size=3).map(lambda rules: numbered(rules, "d")),
)
CALLERS = st.sampled_from([*WORKLOADS, "spiffe://acme.test", "spiffe://else.test/a"]).map(SpiffeId.parse)
ANY_TOOL = st.sampled_from([*TOOLS, "unknown", "bad name"])


def names(rule: Rule, caller: SpiffeId, server: str) -> bool:
    """Whether a rule is about this caller and server; without `workloads` it is about every caller."""
    patterns = rule.get("workloads")
    if rule["server"] != server:
        return False
    if patterns is None:
        return True
    assert isinstance(patterns, list)
    return any(WorkloadPattern.parse(str(pattern)).matches(caller) for pattern in patterns)


def names_tool(rule: Rule, tool: str) -> bool:
    patterns = rule["tools"]
    assert isinstance(patterns, list)
    return any(ToolPattern.parse(str(pattern)).matches(tool) for pattern in patterns)


def reference(grants: Rules, denials: Rules, call: Call) -> str:
    """The rules of design.md, read out one by one: `allow`, `denied` or `no_grant`."""
    mine = [rule for rule in grants if names(rule, call.caller, call.server)]
    if call.method != "tools/call":
        return "allow" if mine and call.method in IMPLIED_METHODS else "no_grant"
    if call.tool is None or " " in call.tool:
        return "no_grant"
    for rule in denials:
        if names(rule, call.caller, call.server) and names_tool(rule, call.tool):
            return "denied"
    return "allow" if any(names_tool(rule, call.tool) for rule in mine) else "no_grant"


@given(RULES, CALLERS, st.sampled_from([*SERVERS, "s3"]), ANY_TOOL)
def test_decides_as_the_reference_does(rules: tuple[Rules, Rules], caller: SpiffeId, server: str, tool: str) -> None:
    policy = written(*rules)
    for method, named in (("tools/call", tool), *((method, None) for method in IMPLIED_METHODS), ("x", None)):
        call = call_of(caller, named, method=method, server=server)
        decision = decide(policy, call)
        assert (decision.reason or "allow") == reference(*rules, call)
        assert (decision.permit is not None) == (decision.outcome is DecisionOutcome.ALLOW)


@given(RULES, CALLERS, st.sampled_from(SERVERS), ANY_TOOL)
def test_permit_says_what_the_applying_grants_say(
    rules: tuple[Rules, Rules], caller: SpiffeId, server: str, tool: str
) -> None:
    decision = decide(written(*rules), call_of(caller, tool, server=server))
    if decision.permit is None:
        return
    applying = [rule for rule in rules[0] if names(rule, caller, server) and names_tool(rule, tool)]
    scopes = [scope for rule in applying for scope in (rule.get("scopes") or [])]  # type: ignore[union-attr]
    seconds = {"5s": 5, "10s": 10, "1m": 60}
    assert decision.permit.grants == tuple(rule["id"] for rule in applying)
    assert decision.permit.scopes == tuple(dict.fromkeys(scopes))
    assert decision.permit.ttl_s == min((seconds[str(rule["ttl"])] for rule in applying if "ttl" in rule), default=None)


@given(RULES, CALLERS, st.sampled_from([*SERVERS, "s3"]))
def test_list_and_call_agree_on_every_tool(rules: tuple[Rules, Rules], caller: SpiffeId, server: str) -> None:
    policy = written(*rules)
    for tool in [*TOOLS, "unknown", "get_x", "", "bad name", "a" * 200]:
        allowed = decide(policy, call_of(caller, tool, server=server)).outcome is DecisionOutcome.ALLOW
        assert is_visible(policy, caller, server, tool) == allowed


@given(RULES, CALLERS, st.sampled_from(SERVERS))
def test_what_a_list_token_names_can_be_called(rules: tuple[Rules, Rules], caller: SpiffeId, server: str) -> None:
    policy = written(*rules)
    permit = decide(policy, call_of(caller, None, method="tools/list", server=server)).permit
    named = {
        tool
        for rule in rules[0]
        if names(rule, caller, server)
        for tool in TOOLS
        if tool in rule["tools"]  # type: ignore[operator]
    }
    expected = {tool for tool in named if is_visible(policy, caller, server, tool)}
    assert set(permit.listable if permit else ()) == expected


@given(RULES, CALLERS, st.sampled_from(SERVERS), ANY_TOOL, st.randoms(use_true_random=False))
def test_order_never_matters_to_the_outcome(
    rules: tuple[Rules, Rules], caller: SpiffeId, server: str, tool: str, chance: random.Random
) -> None:
    grants, denials = rules
    call = call_of(caller, tool, server=server)
    before = decide(written(grants, denials), call)
    shuffled = chance.sample(grants, len(grants)), chance.sample(denials, len(denials))
    after = decide(written(*shuffled), call)

    assert (before.outcome, before.reason) == (after.outcome, after.reason)
    assert set(before.findings) == set(after.findings)
    if before.permit and after.permit:
        assert set(before.permit.scopes) == set(after.permit.scopes)
        assert before.permit.ttl_s == after.permit.ttl_s


@given(RULES, DENIALS, CALLERS, st.sampled_from(SERVERS), ANY_TOOL)
def test_adding_a_denial_never_allows(
    rules: tuple[Rules, Rules], denial: Rule, caller: SpiffeId, server: str, tool: str
) -> None:
    grants, denials = rules
    call = call_of(caller, tool, server=server)
    if decide(written(grants, denials), call).outcome is DecisionOutcome.DENY:
        more = [*denials, {"id": "added", **denial}]
        assert decide(written(grants, more), call).outcome is DecisionOutcome.DENY


@given(RULES, CALLERS, st.sampled_from(SERVERS), ANY_TOOL)
def test_every_rule_of_the_server_is_found_once_and_says_whether_it_applies(
    rules: tuple[Rules, Rules], caller: SpiffeId, server: str, tool: str
) -> None:
    if " " in tool:
        return
    decision = decide(written(*rules), call_of(caller, tool, server=server))
    expected = {
        (rule["id"], names(rule, caller, server) and names_tool(rule, tool))
        for rule in [*rules[0], *rules[1]]
        if rule["server"] == server
    }
    found = [(finding.rule, finding.matched) for finding in decision.findings if finding.kind != "default"]
    assert set(found) == expected
    assert len(found) == len(expected)
    defaults = [finding for finding in decision.findings if finding.kind == "default"]
    assert bool(defaults) == (decision.reason is Reason.NO_GRANT)


@given(
    RULES,
    st.builds(Call, caller=CALLERS, server=st.text(), method=st.text(), tool=st.none() | st.text(), now=st.floats()),
)
def test_every_call_gets_a_decision(rules: tuple[Rules, Rules], call: Call) -> None:
    assert decide(written(*rules), call).outcome is DecisionOutcome.DENY
