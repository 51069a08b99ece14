from pathlib import Path

import pytest
from pydantic import ValidationError

from callgate.addresses import Address
from callgate.config import Config, LimitsConfig, load_config, outline
from callgate.identity.spiffe_id import SpiffeId
from callgate.tokens.claims import TokenTarget

GOOD = """\
listen: 0.0.0.0:8443
workload_api: unix:///run/spire/agent.sock
issuer: https://gate.acme.test
policy: policy.yaml
servers:
  ledger:
    url: https://ledger.acme.test:8443/mcp
    identity: spiffe://acme.test/tools/ledger
    token: {audience: https://ledger.acme.test/mcp, ttl: 20s}
telemetry: {otlp: http://127.0.0.1:4318}
audit: {folder: audit}
"""
LEAST = (
    "listen: 127.0.0.1:8443\nissuer: http://127.0.0.1:8444\npolicy: p.yaml\nservers: {a: {url: https://a.test/mcp}}\n"
    "audit: {}\n"
)


def read(text: str) -> Config:
    config = load_config(text, "c.yaml")
    assert isinstance(config, Config), "\n".join(map(str, config))
    return config


def problems(text: str) -> list[str]:
    found = load_config(text, "c.yaml")
    assert not isinstance(found, Config)
    return [str(problem) for problem in found]


def changed(old: str, new: str) -> str:
    assert GOOD.count(old) == 1, old
    return GOOD.replace(old, new)


def test_reads_the_example_of_the_format() -> None:
    config = read(GOOD)

    assert config.listen == Address("0.0.0.0", 8443)
    assert config.workload_api == "unix:///run/spire/agent.sock"
    assert config.issuer == "https://gate.acme.test"
    assert config.policy == ("policy.yaml",)
    assert config.shadow_policy == ()
    assert list(config.servers) == ["ledger"]
    ledger = config.servers["ledger"]
    assert ledger.url == "https://ledger.acme.test:8443/mcp"
    assert ledger.identity == SpiffeId.parse("spiffe://acme.test/tools/ledger")
    assert ledger.token.audience == "https://ledger.acme.test/mcp"
    assert ledger.token.ttl_s == 20
    assert config.telemetry.otlp == "http://127.0.0.1:4318"


def test_defaults_are_those_that_are_safe_without_tuning() -> None:
    config = read(LEAST)

    assert config.workload_api is None
    assert config.svid_hint is None
    assert config.authorities is None
    assert config.allowed_origins == ()
    assert config.admin.listen == Address("127.0.0.1", 8444)
    assert config.admin.tls == "off"
    assert config.telemetry.otlp is None
    assert config.telemetry.service_name == "callgate"
    server = config.servers["a"]
    assert server.identity is None
    assert (server.token.ttl_s, server.token.typ, server.token.list_scopes) == (20, "at+jwt", "minimal")
    assert (server.timeouts.connect_s, server.timeouts.first_byte_s, server.timeouts.total_s) == (5, 60, 300)


def test_limits_have_a_unit_a_default_and_a_reason_each() -> None:
    assert LimitsConfig().model_dump() == {
        "max_connections": 1000,
        "max_handshakes": 256,
        "max_connections_per_workload": 64,
        "max_head_bytes": 16384,
        "max_body_bytes": 1048576,
        "max_answer_bytes": 4194304,
        "max_event_bytes": 1048576,
        "handshake_s": 10,
        "head_s": 10,
        "body_s": 30,
        "idle_s": 15,
        "write_stall_s": 30,
        "requests_per_connection": 1000,
        "drain_s": 10,
        "session_max_age_s": 86400,
    }
    assert all(field.description for field in LimitsConfig.model_fields.values())


def test_audience_is_the_servers_url_unless_given() -> None:
    config = read(LEAST.replace("https://a.test/mcp", "https://a.test/mcp, token: {ttl: 5s}"))

    assert config.servers["a"].token.audience == "https://a.test/mcp"
    assert config.servers["a"].token.ttl_s == 5


@pytest.mark.parametrize("ttl", ["5s", "60s", "1m"])
@pytest.mark.parametrize("typ", ["at+jwt", "JWT"])
def test_every_token_setting_that_is_accepted_can_be_minted(ttl: str, typ: str) -> None:
    token = read(changed("ttl: 20s", f"ttl: {ttl}, typ: {typ}, list_scopes: granted")).servers["ledger"].token

    target = TokenTarget(token.audience, token.ttl_s, token.typ, token.list_scopes)

    assert (target.typ, target.list_scopes) == (typ, "granted")


def test_limits_may_be_set_with_fractions_of_seconds() -> None:
    limits = read(GOOD + "limits: {drain_s: 0.5, max_connections: 5}\n").limits

    assert limits.drain_s == 0.5
    assert limits.max_connections == 5
    assert limits.head_s == 10


def test_configuration_cannot_be_changed() -> None:
    config = read(GOOD)

    with pytest.raises(ValidationError, match="frozen"):
        config.issuer = "https://evil.test"
    with pytest.raises(TypeError):
        config.servers["x"] = config.servers["ledger"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("listen", "tls"),
    [("127.0.0.1:1", "off"), ("'[::1]:1'", "off"), ("localhost:1", "off"), ("0.0.0.0:1", "svid"), ("'[::]:1'", "svid")],
)
def test_second_listener_speaks_tls_wherever_others_can_reach_it(listen: str, tls: str) -> None:
    assert read(GOOD + f"admin: {{listen: {listen}}}\n").admin.tls == tls


def test_second_listener_does_as_it_is_told() -> None:
    assert read(GOOD + "admin: {listen: 0.0.0.0:8444, tls: off}\n").admin.tls == "off"
    assert read(GOOD + "admin: {tls: svid}\n").admin.tls == "svid"


OWN_NAMES = {"localhost:8443", "127.0.0.1:8443", "[::1]:8443"}


@pytest.mark.parametrize("listen", ["0.0.0.0:8443", "'[::]:8443'", "127.0.0.1:8443"])
def test_host_may_name_the_issuer_and_this_machine_when_it_can_be_reached_so(listen: str) -> None:
    config = read(changed("0.0.0.0:8443", listen))

    assert config.authorities_at(8443) == {"gate.acme.test", "gate.acme.test:8443", *OWN_NAMES}


def test_host_may_not_name_this_machine_when_it_listens_elsewhere() -> None:
    config = read(changed("0.0.0.0:8443", "10.1.2.3:8443"))

    assert config.authorities_at(8443) == {"gate.acme.test", "gate.acme.test:8443"}


def test_host_may_leave_out_the_port_of_https() -> None:
    config = read(changed("0.0.0.0:8443", "0.0.0.0:443"))

    assert {"gate.acme.test", "localhost", "[::1]", "localhost:443"} <= config.authorities_at(443)


def test_host_names_the_port_that_the_system_chose() -> None:
    config = read(changed("0.0.0.0:8443", "127.0.0.1:0"))

    assert "localhost:40123" in config.authorities_at(40123)
    assert "localhost:0" not in config.authorities_at(40123)


def test_host_may_name_what_is_configured_and_nothing_else() -> None:
    config = read(GOOD + "authorities: [gate.acme.test, 'gate:8443']\n")

    assert config.authorities_at(8443) == {"gate.acme.test", "gate:8443"}


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("0.0.0.0:8443", "8443", "c.yaml:1:9: listen must be an address and a port"),
        ("0.0.0.0:8443", "':8443'", "c.yaml:1:9: listen must have a host name"),
        ("unix:///run/spire/agent.sock", "/run/spire/agent.sock", "c.yaml:2:15: workload_api cannot be used: "),
        ("unix:///run/spire/agent.sock", "unix://run/agent.sock", "c.yaml:2:15: workload_api cannot be used: "),
        ("unix:///run/spire/agent.sock", "tcp://localhost:1", "c.yaml:2:15: workload_api cannot be used: "),
        ("unix:///run/spire/agent.sock", "", "c.yaml:2:14: workload_api is empty; give it a value or leave it out"),
        ("https://gate.acme.test", "http://gate.acme.test", "c.yaml:3:9: issuer must start with https://"),
        ("https://gate.acme.test", "https://gate.acme.test/", "c.yaml:3:9: issuer must end with its host or port"),
        ("https://gate.acme.test", "https://gate.acme.test/a", "c.yaml:3:9: issuer must end with its host or port"),
        ("https://gate.acme.test", "https://gate.acme.test?a", "c.yaml:3:9: issuer must have no query"),
        ("https://gate.acme.test", "https://gate.acme.test#a", "c.yaml:3:9: issuer must have no query"),
        ("policy: policy.yaml", "policy: ''", "c.yaml:4:9: policy must not be empty"),
        ("policy: policy.yaml", "polcy: policy.yaml", "c.yaml:1:1: key 'policy' is missing"),
        ("  ledger:", "  Ledger:", "c.yaml:6:3: Ledger must be 1 to 63 of a-z, 0-9 and '-'"),
        ("  ledger:", "  .well-known:", "c.yaml:6:3: .well-known must be 1 to 63 of a-z, 0-9 and '-'"),
        ("  ledger:", "  a/b:", "c.yaml:6:3: a/b must be 1 to 63 of a-z, 0-9 and '-'"),
        (
            "https://ledger.acme.test:8443/mcp",
            "https://user:pw@ledger.acme.test/mcp",
            "c.yaml:7:10: url must not hold a user name",
        ),
        ("https://ledger.acme.test:8443/mcp", "https://l.test/mcp?x", "c.yaml:7:10: url must have no query"),
        ("https://ledger.acme.test:8443/mcp", "https://l.test/a/../b", "c.yaml:7:10: url must have no '.' or '..'"),
        ("https://ledger.acme.test:8443/mcp", "ftp://l.test/mcp", "c.yaml:7:10: url must be a URL that starts with"),
        ("spiffe://acme.test/tools/ledger", "acme.test/tools", "c.yaml:8:15: identity must be a SPIFFE ID"),
        (
            "spiffe://acme.test/tools/ledger",
            "spiffe://acme.test",
            "c.yaml:8:15: identity must be a workload's SPIFFE ID",
        ),
        ("spiffe://acme.test/tools/ledger", "spiffe://acme.test/*", "c.yaml:8:15: identity must be a SPIFFE ID"),
        ("spiffe://acme.test/tools/ledger", "5", "c.yaml:8:15: identity must be a SPIFFE ID"),
        ("https://ledger.acme.test/mcp", "ledger", "c.yaml:9:23: audience must be an absolute URI"),
        ("https://ledger.acme.test/mcp", "'https://l.test/#a'", "c.yaml:9:23: audience must be an absolute URI"),
        ("https://ledger.acme.test/mcp", "'https://l.test/ a'", "c.yaml:9:23: audience must be an absolute URI"),
        ("https://ledger.acme.test/mcp", "''", "c.yaml:9:23: audience must be an absolute URI"),
        ("ttl: 20s", "ttl: 4s", "c.yaml:9:58: ttl must be from 5s to 60s"),
        ("ttl: 20s", "ttl: 2m", "c.yaml:9:58: ttl must be from 5s to 60s"),
        ("ttl: 20s", "ttl_s: 20", "c.yaml:9:53: unknown key 'ttl_s'; did you mean 'ttl'?"),
        ("ttl: 20s", "typ: dpop", "c.yaml:9:58: typ must be 'at+jwt' or 'JWT'"),
        ("ttl: 20s", "list_scopes: all", "c.yaml:9:66: list_scopes must be 'minimal' or 'granted'"),
        ("http://127.0.0.1:4318", "collector:4318", "c.yaml:10:19: otlp must be a URL that starts with"),
    ],
)
def test_refuses_with_place_and_words(old: str, new: str, problem: str) -> None:
    found = problems(changed(old, new))

    assert found[0].startswith(problem)
    assert len(found) == 1 + ("polcy" in new)


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ("listn: x", "c.yaml:12:1: unknown key 'listn'; did you mean 'listen'?"),
        ("limits: {max_conections: 1}", "c.yaml:12:10: unknown key 'max_conections'; did you mean 'max_connections'?"),
        ("limits: {max_connections: 0}", "c.yaml:12:27: max_connections must be at least 1"),
        ("limits: {max_connections: 1.5}", "c.yaml:12:27: max_connections must be a whole number, not the number 1.5"),
        ("limits: {max_connections: '5'}", "c.yaml:12:27: max_connections must be a whole number, not the text '5'"),
        ("limits: {max_connections: true}", "c.yaml:12:27: max_connections must be a whole number, not true"),
        ("limits: {max_body_bytes: 1MiB}", "c.yaml:12:26: max_body_bytes must be a whole number, not the text '1MiB'"),
        ("limits: {max_body_bytes: 10}", "c.yaml:12:26: max_body_bytes must be at least 1024"),
        ("limits: {idle_s: 0}", "c.yaml:12:18: idle_s must be more than 0"),
        ("limits: {idle_s: -1}", "c.yaml:12:18: idle_s must be more than 0"),
        ("limits: {idle_s: 1e9}", "c.yaml:12:18: idle_s must be at most 604800"),
        ("limits: {idle_s: 15s}", "c.yaml:12:18: idle_s must be a number, not the text '15s'"),
        ("limits: []", "c.yaml:12:9: limits must be a mapping of keys to values, not a list"),
        ("admin: {listen: 0.0.0.0:8443}", "c.yaml:12:8: admin must listen elsewhere than the gate itself"),
        ("admin: {listen: nowhere}", "c.yaml:12:17: listen must name a port"),
        ("admin: {tls: on}", "c.yaml:12:14: tls must be svid, off, or the files of a certificate"),
        ("admin: {tls: {certificate: a.pem}}", "c.yaml:12:9: key 'key' is missing in tls"),
        ("admin: {tls: [svid]}", "c.yaml:12:14: tls must be a mapping of keys to values, not a list"),
        ("authorities: []", "c.yaml:12:14: authorities must not be an empty list"),
        ("authorities: ['*.acme.test']", "c.yaml:12:15: authorities[0] must have a host name"),
        ("authorities: [Gate.test]", "c.yaml:12:15: authorities[0] must have its host in lower case"),
        ("allowed_origins: ['*']", "c.yaml:12:19: allowed_origins[0] must be a URL that starts with"),
        ("allowed_origins: ['null']", "c.yaml:12:19: allowed_origins[0] must be a URL that starts with"),
        ("allowed_origins: ['https://a.test/']", "c.yaml:12:19: allowed_origins[0] must be an origin"),
        ("allowed_origins: ['https://a.test:443']", "c.yaml:12:19: allowed_origins[0] must be an origin"),
        ("svid_hint: ''", "c.yaml:12:12: svid_hint must not be empty"),
        ("approval: {}", "c.yaml:12:1: unknown key 'approval'; did you mean 'approvals'?"),
    ],
)
def test_refuses_further_key_with_place_and_words(more: str, problem: str) -> None:
    found = problems(GOOD + more + "\n")

    assert len(found) == 1, found
    assert found[0].startswith(problem)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/mcp", "http://[::1]:1/mcp", "http://localhost/mcp"])
def test_takes_plain_http_to_this_machine(url: str) -> None:
    assert read(LEAST.replace("https://a.test/mcp", f'"{url}"')).servers["a"].url == url


@pytest.mark.parametrize(
    "url",
    [
        *["http://10.0.0.1/mcp", "http://a.test/mcp", "http://localhost.a.test/", "http://0.0.0.0/mcp"],
        *["http://[::]/mcp", "http://127.0.0.1.a.test/mcp", "http://[::ffff:127.0.0.1]/mcp", "http://169.254.1.1/mcp"],
    ],
)
def test_refuses_plain_http_to_anywhere_else(url: str) -> None:
    found = problems(LEAST.replace("https://a.test/mcp", f'"{url}"'))

    assert len(found) == 1
    assert "url must" in found[0]


def test_refuses_identity_for_a_server_without_tls() -> None:
    text = changed("https://ledger.acme.test:8443/mcp", "http://127.0.0.1:8080/mcp")

    assert problems(text) == ["c.yaml:8:15: identity cannot be checked over http: a server proves its identity in TLS"]


def test_refuses_configuration_without_servers() -> None:
    assert problems("listen: 0.0.0.0:1\nissuer: https://g.test\npolicy: p\nservers: {}\naudit: {}\n") == [
        "c.yaml:4:10: servers must not be empty"
    ]


def test_a_server_may_bear_the_name_of_a_key() -> None:
    assert problems(changed("  ledger:", "  url:").replace("    identity", "    identty")) == [
        "c.yaml:8:5: unknown key 'identty'; did you mean 'identity'?"
    ]


@pytest.mark.parametrize(
    ("timeouts", "problem"),
    [
        ("{connect: 5}", "connect must be a duration such as '10s', '5m' or '8h'"),
        ("{connect: 0s}", "connect must be a duration such as '10s', '5m' or '8h'"),
        ("{connect: 2m}", "connect must be at most 60"),
        ("{read: 5s}", "unknown key 'read'"),
    ],
)
def test_refuses_malformed_timeouts(timeouts: str, problem: str) -> None:
    found = problems(LEAST.replace("https://a.test/mcp", f"https://a.test/mcp, timeouts: {timeouts}"))

    assert len(found) == 1
    assert problem in found[0]


def test_tells_of_all_faults_at_once() -> None:
    text = "listen: x\nissuer: http://a.test\npolicy: p\nservers:\n  a: {url: x}\n  b: {url: https://b.test, a: 1}\nc: 1\nc: 2\naudit: {}\n"

    assert [found.split(": ")[0] for found in problems(text)] == [
        "c.yaml:1:9",
        "c.yaml:2:9",
        "c.yaml:5:12",
        "c.yaml:6:28",
        "c.yaml:7:1",
        "c.yaml:8:1",
    ]


def test_outline_tells_what_it_can_of_a_refused_file() -> None:
    refused = changed("0.0.0.0:8443", "x") + "shadow_policy: [next, more.yaml]\n"
    assert outline(refused, "c.yaml") == (("policy.yaml",), ("next", "more.yaml"), frozenset({"ledger"}), False, False)
    assert outline(refused + "approvals: 5\n", "c.yaml").has_approvals
    assert outline("policy: 5\nservers: []\n", "c.yaml") == ((), (), None, True, False)
    assert outline("[]", "c.yaml") == ((), (), None, True, True)
    assert outline("a: [", "c.yaml") == ((), (), None, True, True)


def test_a_policy_may_be_several_files_and_folders() -> None:
    text = changed("policy: policy.yaml", "policy: [base.yaml, teams]\nshadow_policy: next.yaml")
    assert read(text).policy == ("base.yaml", "teams")
    assert read(text).shadow_policy == ("next.yaml",)


@pytest.mark.parametrize("key", ["policy", "shadow_policy"])
@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("5", "must be a path, or a list of no more than 100 paths"),
        ("[a, 5]", "must be a path, or a list of no more than 100 paths"),
        ("{a: b}", "must be a path, or a list of no more than 100 paths"),
        (f"[{', '.join(['a'] * 101)}]", "must be a path, or a list of no more than 100 paths"),
        ("[]", "must not be empty"),
        ("''", "must not be empty"),
        ("[a, '']", "must not be empty"),
        ("a" * 4097, "has a path of more than 4096 characters"),
    ],
)
def test_refuses_what_is_no_list_of_paths(key: str, value: str, words: str) -> None:
    text = "".join(f"{line}\n" for line in LEAST.splitlines() if not line.startswith(f"{key}:"))
    assert problems(f"{text}{key}: {value}\n") == [f"c.yaml:{text.count(chr(10)) + 1}:{len(key) + 3}: {key} {words}"]


def test_quickstart_is_a_good_configuration() -> None:
    path = Path(__file__).parents[2] / "examples" / "quickstart" / "callgate.yaml"

    assert list(read(path.read_text()).servers) == ["ledger"]


def test_a_servers_lock_file_is_named_beside_its_url() -> None:
    config = read(changed("    token:", "    lock: pins/ledger.lock.json\n    token:"))

    assert config.servers["ledger"].lock == "pins/ledger.lock.json"


def test_no_tool_is_pinned_unless_a_lock_file_is_named() -> None:
    assert read(GOOD).servers["ledger"].lock is None
