"""The part `approvals` of callgate.yaml, and with whose certificate people's browsers are served."""

from typing import get_args

import pytest

from callgate.approvals.happened import Happening
from callgate.config import Config, load_config
from callgate.config_approvals import Event
from callgate.config_values import CertificateFiles

LEAST = """\
listen: 127.0.0.1:8443
issuer: https://gate.acme.test
policy: policy.yaml
servers: {ledger: {url: https://ledger.acme.test/mcp}}
audit: {}
"""
SIGN_IN = "sign_in: {issuer: https://idp.acme.test, client_id: callgate"
SLACK = "slack: {channel: C0123, token_file: t, signing_secret_file: s"
HOOK = "{name: ops, url: https://hooks.acme.test/x, secret_file: s"


def read(more: str) -> Config:
    config = load_config(LEAST + more, "c.yaml")
    assert isinstance(config, Config), "\n".join(map(str, config))
    return config


def problems(more: str) -> list[str]:
    found = load_config(LEAST + more, "c.yaml")
    assert not isinstance(found, Config)
    return [problem.message for problem in found]


def test_without_the_part_nobody_is_asked() -> None:
    config = read("")

    assert config.approvals is None
    assert not config.has_approvals


def test_what_is_not_said_has_defaults() -> None:
    config = read("approvals: {}\n")
    approvals = config.approvals
    assert approvals is not None
    assert config.has_approvals
    assert (approvals.folder, approvals.database, approvals.socket_path) == (
        "approvals",
        "approvals/approvals.db",
        "approvals/admin.sock",
    )
    assert (approvals.keep_s, approvals.cool_down_s) == (86_400, 300)
    assert (approvals.max_waiting, approvals.max_waiting_per_workload) == (10_000, 20)
    assert approvals.socket is not None
    assert (approvals.socket.users, approvals.socket.agents_share_user) == ((), False)
    assert (approvals.sign_in, approvals.webhooks, approvals.slack) == (None, (), None)


def test_all_of_it_is_read() -> None:
    text = f"""\
approvals:
  folder: /var/lib/callgate/approvals
  url: https://gate.acme.test:9000
  keep: 7d
  max_waiting: 5
  max_waiting_per_workload: 2
  cool_down: 0s
  socket: {{path: /run/admin.sock, users: [ada], agents_share_user: true}}
  {SIGN_IN}, client_secret_file: s, scopes: [openid], name_claim: sub, groups_claim: r, ca_file: c, idle: 5m, longest: 8h}}
  webhooks: [{HOOK}, events: [asked, void], ca_file: c}}]
  {SLACK}, people: {{U0123: {{name: alice, groups: [leads]}}}}, approve_in_slack: true}}
"""
    approvals = read(text).approvals
    assert approvals is not None
    assert (approvals.url, approvals.keep_s, approvals.cool_down_s) == ("https://gate.acme.test:9000", 604_800, 0)
    assert (approvals.socket_path, approvals.database) == (
        "/run/admin.sock",
        "/var/lib/callgate/approvals/approvals.db",
    )
    assert approvals.sign_in is not None
    assert (approvals.sign_in.scopes, approvals.sign_in.idle_s, approvals.sign_in.longest_s) == (
        ("openid",),
        300,
        28_800,
    )
    assert approvals.webhooks[0].events == ("asked", "void")
    assert approvals.slack is not None
    assert approvals.slack.people["U0123"].groups == ("leads",)
    assert (approvals.slack.approve_in_slack, approvals.slack.api) == (True, "https://slack.com/api")


def test_a_webhook_can_be_told_of_whatever_happens() -> None:
    assert set(get_args(Event)) == {happening.value for happening in Happening}


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("{url: 'http://gate.acme.test'}", "url must start with https://; http is for this machine alone"),
        ("{url: 'https://gate.acme.test/'}", "url must end with its host or port: no path, no '/' at the end"),
        ("{keep: 30s}", "keep must be at least 60"),
        ("{max_waiting: 0}", "max_waiting must be at least 1"),
        ("{cool_down: 5}", "cool_down must be a duration"),
        ("{socket: on}", "socket must be a mapping of keys to values, or off"),
        ("{socket: off}", "approvals must have 'sign_in', or a 'socket' that is not off: nobody could answer"),
        (f"{{socket: off, {SLACK}}}}}", "approvals must have 'sign_in', or a 'socket' that is not off"),
        ("{socket: {users: [a b]}}", "users[0] must be the name of a user of this machine, such as ada"),
        ("{socket: {user: ada}}", "unknown key 'user'; did you mean 'users'?"),
        ("{sign_in: {issuer: https://idp.acme.test}}", "key 'client_id' is missing in sign_in"),
        (f"{{{SIGN_IN}, scopes: [email]}}}}", "scopes must hold 'openid'"),
        (f"{{{SIGN_IN}, scopes: [openid, 'a b']}}}}", "scopes[1] must be a scope"),
        (f"{{{SIGN_IN}, idle: 2h}}}}", "sign_in must not have an 'idle' that is longer than 'longest'"),
        (f"{{{SIGN_IN}, longest: 25h}}}}", "longest must be at most 86400"),
        ("{sign_in: {issuer: http://idp.acme.test, client_id: c}}", "issuer must start with https://"),
        (f"{{webhooks: [{HOOK}, events: []}}]}}", "events must not be an empty list"),
        (f"{{webhooks: [{HOOK}, events: [maybe]}}]}}", "events[0] must be 'asked'"),
        (f"{{webhooks: [{HOOK}}}, {HOOK}}}]}}", "webhooks must name each webhook once"),
        ("{webhooks: [{name: A, url: https://a.test/x, secret_file: s}]}", "name must be 1 to 63 of a-z, 0-9 and '-'"),
        ("{webhooks: [{name: a, url: 'https://a.test/x?token=y', secret_file: s}]}", "url must have no query"),
        ("{slack: {channel: general, token_file: t, signing_secret_file: s}}", "channel must be a channel's ID"),
        (f"{{{SLACK}, people: {{alice: {{name: alice}}}}}}}}", "alice must be a member's ID"),
        (f"{{{SLACK}, people: {{U0123: {{name: 'local:ada'}}}}}}}}", "name must not start with 'local:'"),
        (f"{{{SLACK}, people: {{U0123: {{name: 'spiffe://a.test/x'}}}}}}}}", "an agent can never approve"),
        (f"{{{SLACK}, people: {{U0123: {{name: a, groups: [local]}}}}}}}}", "groups must not hold 'local'"),
    ],
)
def test_refuses_what_could_not_work(part: str, words: str) -> None:
    assert words in " | ".join(problems(f"approvals: {part}\n"))


# Where people reach it


@pytest.mark.parametrize(
    ("admin", "url"),
    [
        ("", "http://127.0.0.1:8444"),
        ("admin: {listen: '[::1]:9000'}\n", "http://[::1]:9000"),
        ("admin: {listen: 127.0.0.1:9000, tls: svid}\n", "https://127.0.0.1:9000"),
        ("admin: {listen: 10.0.0.1:443}\n", "https://10.0.0.1"),
        ("admin: {listen: 10.0.0.1:9000, tls: {certificate: a.pem, key: k.pem}}\n", "https://10.0.0.1:9000"),
    ],
)
def test_people_reach_the_admin_listener_unless_another_address_is_given(admin: str, url: str) -> None:
    config = read(admin + "approvals: {}\n")

    assert config.approvals is not None
    assert config.approvals.url == url
    assert config.approvals_url(1) == url
    given = read(admin + "approvals: {url: 'https://people.acme.test'}\n")
    assert given.approvals_url(1) == "https://people.acme.test"


def test_a_port_that_the_system_chooses_is_filled_in_when_it_is_known() -> None:
    config = read("admin: {listen: 127.0.0.1:0}\napprovals: {}\n")

    assert config.approvals is not None
    assert config.approvals.url == ""
    assert config.approvals_url(40_123) == "http://127.0.0.1:40123"


@pytest.mark.parametrize(
    ("admin", "words"),
    [
        ("{listen: 0.0.0.0:8444}", "admin.listen 0.0.0.0:8444 names no host"),
        ("{listen: '[::]:8444', tls: off}", "admin.listen [::]:8444 names no host"),
        ("{listen: 10.0.0.1:8444, tls: off}", "admin.tls is off, and people must not sign in over http"),
        ("{listen: 10.0.0.1:0}", "admin.listen lets the system choose its port"),
    ],
)
def test_an_address_that_people_cannot_reach_needs_one_that_they_can(admin: str, words: str) -> None:
    (problem,) = problems(f"admin: {admin}\napprovals: {{}}\n")

    assert problem.startswith("approvals needs a 'url'")
    assert words in problem
    assert read(f"admin: {admin}\napprovals: {{url: 'https://gate.acme.test'}}\n").has_approvals


def test_a_certificate_of_ones_own_serves_the_admin_listener() -> None:
    assert read("admin: {tls: {certificate: a.pem, key: k.pem}}\n").admin.tls == CertificateFiles(
        certificate="a.pem", key="k.pem"
    )
