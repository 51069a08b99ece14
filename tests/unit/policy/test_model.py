import pytest

from callgate.policy.compile import Policy, load_policy
from callgate.yaml_strict import Problem

GOOD = """\
version: 1
trust_domains: [acme.test, partner.test]
grants:
  - id: reads
    description: May look.
    workloads: [spiffe://acme.test/ns/billing/sa/*]
    server: ledger
    tools: [get_invoice, "list_*"]
    scopes: [ledger.read]
    ttl: 10s
denials:
  - id: nobody-deletes
    description: Ever.
    workloads: ["spiffe://partner.test/**"]
    server: ledger
    tools: ["delete_*"]
"""


def problems(text: str, servers: frozenset[str] | None = None) -> list[str]:
    found = load_policy(text, "p.yaml", servers)
    assert not isinstance(found, Policy)
    assert all(isinstance(problem, Problem) for problem in found)
    return [str(problem) for problem in found]


def changed(old: str, new: str) -> list[str]:
    """The problems of the good policy with one thing changed."""
    assert GOOD.count(old) == 1, old
    return problems(GOOD.replace(old, new))


def test_accepts_what_the_format_says() -> None:
    assert isinstance(load_policy(GOOD, "p.yaml"), Policy)


def test_accepts_policy_that_grants_nothing() -> None:
    assert isinstance(load_policy("version: 1\ntrust_domains: [acme.test]\n", "p.yaml"), Policy)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    scopes: [ledger.read]\n", ""),
        ("    ttl: 10s\n", ""),
        ("ttl: 10s", "ttl: 5s"),
        ("ttl: 10s", "ttl: 60s"),
        ("ttl: 10s", "ttl: 1m"),
        ("    description: May look.\n", ""),
        ('    workloads: ["spiffe://partner.test/**"]\n', ""),
        ("[ledger.read]", '["!#$%&\'()*+,-./:;<=>?@[]^_`|~"]'),
        ("[ledger.read]", "[tools:read, mcp.read, 'a:b']"),
    ],
)
def test_accepts_what_may_be_left_out_or_be_at_its_limit(old: str, new: str) -> None:
    assert GOOD.count(old) == 1
    assert isinstance(load_policy(GOOD.replace(old, new), "p.yaml"), Policy)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("version: 1", "version: 2", "p.yaml:1:10: version must be 1, the only one that this callgate reads; it is 2"),
        ("version: 1", "version: '1'", "p.yaml:1:10: version must be a whole number, not the text '1'"),
        ("version: 1", "version: true", "p.yaml:1:10: version must be a whole number, not true"),
        ("version: 1", "version: 1.0", "p.yaml:1:10: version must be a whole number, not the number 1.0"),
        ("version: 1\n", "", "p.yaml:1:1: key 'version' is missing"),
        ("grants:", "grant:", "p.yaml:3:1: unknown key 'grant'; did you mean 'grants'?"),
        (
            "    description: May",
            "    descripton: May",
            "p.yaml:5:5: unknown key 'descripton'; did you mean 'description'?",
        ),
        ("    ttl: 10s", "    zzz: 10s", "p.yaml:10:5: unknown key 'zzz'"),
        ("    description: Ever.", "    scopes: [a]", "p.yaml:13:5: unknown key 'scopes'"),
        ("  - id: reads\n    desc", "  - desc", "p.yaml:4:5: key 'id' is missing in grants[0]"),
        ("    server: ledger\n    tools: [get", "    tools: [get", "p.yaml:4:5: key 'server' is missing in grants[0]"),
        ("id: reads", "id: 5", "p.yaml:4:9: id must be text, not the number 5"),
        ("id: reads", "id:", "p.yaml:4:8: id is empty; give it a value or leave it out"),
        ("id: reads", "id: a b", "p.yaml:4:9: id must be 1 to 63 letters, digits, '.', '_' and '-', and start with a"),
        ("id: reads", "id: default-deny", "p.yaml:4:9: id must not be 'default-deny': decisions use that name"),
        ("id: reads", "id: more-rules", "p.yaml:4:9: id must not be 'more-rules': decisions use that name"),
        ("id: nobody-deletes", "id: reads", "p.yaml:12:9: id 'reads' is used twice; the first is in line 4"),
        ("[acme.test, partner.test]", "[]", "p.yaml:2:16: trust_domains must not be an empty list"),
        (
            "[acme.test, partner.test]",
            "[acme.test, partner.test, Other.test]",
            "p.yaml:2:42: trust_domains[2] must be a trust domain's name alone",
        ),
        (
            "[acme.test, partner.test]",
            "[acme.test, partner.test, spiffe://x.test]",
            "p.yaml:2:42: trust_domains[2] must be a trust domain's name alone",
        ),
        (
            "[acme.test, partner.test]",
            "[acme.test, partnr.test]",
            "p.yaml:14:17: workloads[0] is in trust domain 'partner.test', which trust_domains does not list; "
            "did you mean 'partnr.test'?",
        ),
        ("[spiffe://acme.test/ns/billing/sa/*]", "[]", "p.yaml:6:16: workloads must not be an empty list"),
        (
            "[spiffe://acme.test/ns/billing/sa/*]",
            "spiffe://acme.test/a",
            "p.yaml:6:16: workloads must be a list, not the text 'spiffe://acme.test/a'",
        ),
        (
            "spiffe://acme.test/ns/billing/sa/*",
            "spiffe://acme.test/ns/billing/sa/refund-*",
            "p.yaml:6:17: workloads[0] has '*' inside the segment 'refund-*'; a wildcard is a whole segment",
        ),
        ('["spiffe://partner.test/**"]', "[]", "p.yaml:14:16: workloads must not be an empty list"),
        ('["spiffe://partner.test/**"]', "", "p.yaml:14:15: workloads is empty; give it a value or leave it out"),
        ('[get_invoice, "list_*"]', "[]", "p.yaml:8:12: tools must not be an empty list"),
        (
            '"list_*"]',
            "'a b']",
            "p.yaml:8:26: tools[1] must be 1 to 128 letters, digits, '_', '.', '-', or the wildcards",
        ),
        ('"list_*"]', "1]", "p.yaml:8:26: tools[1] must be text, not the number 1"),
        ("[ledger.read]", "[]", "p.yaml:9:13: scopes must not be an empty list"),
        ("[ledger.read]", "['']", "p.yaml:9:14: scopes[0] must be one scope: printable ASCII"),
        ("[ledger.read]", "['a b']", "p.yaml:9:14: scopes[0] must be one scope: printable ASCII"),
        ("[ledger.read]", "['a\"b']", "p.yaml:9:14: scopes[0] must be one scope: printable ASCII"),
        ("[ledger.read]", "['a\\b']", "p.yaml:9:14: scopes[0] must be one scope: printable ASCII"),
        ("[ledger.read]", "[é]", "p.yaml:9:14: scopes[0] must be one scope: printable ASCII"),
        ("[ledger.read]", "['tool:get']", "p.yaml:9:14: scopes[0] must not start with 'tool:' or 'mcp:'"),
        ("[ledger.read]", "['mcp:x']", "p.yaml:9:14: scopes[0] must not start with 'tool:' or 'mcp:'"),
        ("[ledger.read]", f"[{'a' * 129}]", "p.yaml:9:14: scopes[0] is longer than 128 characters"),
        ("[ledger.read]", str(list("a" * 33)), "p.yaml:9:13: scopes has 33 entries; the limit is 32"),
        ("ttl: 10s", "ttl: 4s", "p.yaml:10:10: ttl must be from 5s to 60s"),
        ("ttl: 10s", "ttl: 61s", "p.yaml:10:10: ttl must be from 5s to 60s"),
        ("ttl: 10s", "ttl: 10", "p.yaml:10:10: ttl must be a duration such as '10s', '5m' or '8h'"),
        ("ttl: 10s", "ttl: 010s", "p.yaml:10:10: ttl must be a duration such as '10s', '5m' or '8h'"),
        ("ttl: 10s", "ttl: 10 s", "p.yaml:10:10: ttl must be a duration such as '10s', '5m' or '8h'"),
        ("ttl: 10s", "ttl: null", "p.yaml:10:10: ttl is empty; give it a value or leave it out"),
        ("ttl: 10s", "ttl: 1" + "0" * 9 + "h", "p.yaml:10:10: ttl must be a duration such as '10s', '5m' or '8h'"),
        ("server: ledger\n    tools: [get", "server: Ledger\n    tools: [get", "p.yaml:7:13: server must be 1 to 63"),
        ("description: May look.", "description: [a]", "p.yaml:5:18: description must be text, not a list"),
    ],
)
def test_refuses_with_place_and_words(old: str, new: str, problem: str) -> None:
    found = changed(old, new)

    assert len(found) == 1, found
    assert found[0].startswith(problem)


def test_asks_what_was_meant_by_a_misspelt_key_that_is_needed() -> None:
    assert changed("    tools: [get", "    tool: [get") == [
        "p.yaml:4:5: key 'tools' is missing in grants[0]",
        "p.yaml:8:5: unknown key 'tool'; did you mean 'tools'?",
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("approval: {groups: leads}", "groups must be a list, not the text 'leads'"),
        ("mask: iban", "mask must be a list, not the text 'iban'"),
        ("record: all", "record must be 'none', 'digest' or 'full'"),
    ],
)
def test_checks_the_form_of_an_obligation(line: str, problem: str) -> None:
    (found,) = changed("    ttl: 10s", f"    {line}")

    assert found.endswith(problem)


def test_tells_of_all_faults_at_once_in_the_order_of_the_file() -> None:
    text = """\
version: 1
trust_domains: [acme.test]
grants:
  - id: one
    workloads: [spiffe://other.test/a, "spiffe://acme.test/a*"]
    server: legder
    tool: [get]
    ttl: 1s
  - id: one
    id: two
    workloads: [spiffe://acme.test/**]
    server: ledger
    tools: [get]
    when: arg.amount < 500
denials:
  - id: one
    server: ledger
    tools: []
"""

    assert [found.split(": ")[0] for found in problems(text, frozenset({"ledger"}))] == [
        "p.yaml:4:5",  # tools is missing
        "p.yaml:5:17",  # the trust domain is not listed
        "p.yaml:5:40",  # a wildcard within a segment
        "p.yaml:6:13",  # no such server
        "p.yaml:7:5",  # tool
        "p.yaml:8:10",  # ttl
        "p.yaml:9:9",  # id used twice
        "p.yaml:10:5",  # id stands there twice
        "p.yaml:14:11",  # when
        "p.yaml:16:9",  # id used twice
        "p.yaml:18:12",  # no tools
    ]


def test_refuses_server_that_is_not_configured() -> None:
    servers = frozenset({"leger", "mail"})

    assert problems(GOOD, servers) == [
        "p.yaml:7:13: server 'ledger' is not configured; did you mean 'leger'?",
        "p.yaml:15:13: server 'ledger' is not configured; did you mean 'leger'?",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[]", "p.yaml:1:1: the file must be a mapping of keys to values, not a list"),
        ("x", "p.yaml:1:1: the file must be a mapping of keys to values, not the text 'x'"),
        (
            "version: 1\ntrust_domains: acme.test\n",
            "p.yaml:2:16: trust_domains must be a list, not the text 'acme.test'",
        ),
        ("version: 1\ntrust_domains: [a]\ngrants: {}\n", "p.yaml:3:9: grants must be a list, not a mapping"),
        ("version: 1\ntrust_domains: [a]\ngrants:\n", "p.yaml:3:8: grants is empty; give it a value or leave it out"),
        ("version: 1\ntrust_domains: [a]\ngrants: [x]\n", "p.yaml:3:10: grants[0] must be a mapping of keys to values"),
        ("version: 1\ntrust_domains: [{a: 1}]\n", "p.yaml:2:17: trust_domains[0] must be text, not a mapping"),
        ("", "p.yaml:1:1: is empty"),
    ],
)
def test_refuses_file_of_another_shape(text: str, problem: str) -> None:
    found = problems(text)

    assert len(found) == 1, found
    assert found[0].startswith(problem)


def test_takes_ten_thousand_rules_and_no_more() -> None:
    head = "version: 1\ntrust_domains: [a]\ndenials:\n"
    rules = "".join(f"- {{id: r{number}, server: s, tools: [t]}}\n" for number in range(10_001))

    assert problems(head + rules) == ["p.yaml:4:1: denials has 10001 entries; the limit is 10000"]


def test_refuses_rule_with_too_many_patterns() -> None:
    tools = ", ".join(f"t{number}" for number in range(1_001))

    assert changed('[get_invoice, "list_*"]', f"[{tools}]") == [
        "p.yaml:8:12: tools has 1001 entries; the limit is 1000"
    ]


def test_message_quotes_a_file_in_one_short_line() -> None:
    found = changed("id: reads", 'id: reads\n    "wh\\nen' + "x" * 100 + '": 1')

    assert len(found) == 1
    assert "\n" not in found[0]
    assert len(found[0]) < 120
