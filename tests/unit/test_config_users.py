"""The part `users` of callgate.yaml."""

import pytest

from callgate.config import Config, load_config
from callgate.users.discovery import IssuerSettings
from callgate.users.user_token import TokenRules

START = """\
listen: 127.0.0.1:8443
issuer: https://gate.acme.test
policy: p.yaml
servers: {a: {url: https://a.test/mcp}}
audit: {folder: audit}
"""
LEAST = "users:\n  issuers:\n    - issuer: https://login.acme.test\n"


def read(text: str) -> Config:
    config = load_config(START + text, "c.yaml")
    assert isinstance(config, Config), "\n".join(map(str, config))
    return config


def problems(text: str) -> list[str]:
    found = load_config(START + text, "c.yaml")
    assert not isinstance(found, Config)
    return [problem.message for problem in found]


def test_without_users_nobody_vouches_for_any() -> None:
    config = read("")
    assert config.users is None
    assert config.user_issuers() == ()


def test_an_issuer_alone_is_enough() -> None:
    (settings,) = read(LEAST).user_issuers()
    rules = TokenRules(
        issuer="https://login.acme.test",
        audience="https://gate.acme.test",
        algorithms=frozenset({"RS256", "PS256", "ES256", "EdDSA", "Ed25519"}),
        typ="at+jwt",
        groups_claim="groups",
        claims=(),
        leeway_s=30,
    )
    assert settings == IssuerSettings(rules, jwks_uri=None, ca_file=None, max_stale_s=3600)


def test_everything_can_be_said_of_each_issuer() -> None:
    found = read(
        """\
users:
  audience: https://gate.acme.test/mcp
  leeway: 2m
  issuers:
    - issuer: https://login.acme.test/realms/acme
      jwks_uri: https://keys.acme.test/jwks?p=a
      algorithms: [ES256]
      typ: any
      groups_claim: roles
      claims: [department, email]
      ca_file: ca.pem
      max_stale: 10m
    - issuer: http://127.0.0.1:8080
"""
    ).user_issuers()
    rules = TokenRules(
        issuer="https://login.acme.test/realms/acme",
        audience="https://gate.acme.test/mcp",
        algorithms=frozenset({"ES256"}),
        typ="any",
        groups_claim="roles",
        claims=("department", "email"),
        leeway_s=120,
    )
    assert found[0] == IssuerSettings(rules, "https://keys.acme.test/jwks?p=a", "ca.pem", 600)
    assert found[1].rules.issuer == "http://127.0.0.1:8080"
    assert found[1].rules.audience == "https://gate.acme.test/mcp"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("issuer: http://login.acme.test", "issuer must start with https://; http is for this machine alone"),
        ("issuer: https://login.acme.test?a=b", "issuer must have no query and no fragment"),
        ("jwks_uri: http://login.acme.test/keys", "jwks_uri must start with https://; http is for this machine alone"),
        ("jwks_uri: https://login.acme.test/keys#a", "jwks_uri must have no fragment"),
        ("algorithms: [HS256]", "algorithms[0] must be one of RS256"),
        ("algorithms: [none]", "algorithms[0] must be one of RS256"),
        ("algorithms: []", "algorithms must not be an empty list"),
        ("typ: JWT", "typ must be 'at+jwt' or 'any'"),
        ("max_stale: 299s", "max_stale must be at least 300"),
        ("max_stale: 25h", "max_stale must be at most 86400"),
        ("claims: ['']", "claims[0] must not be empty"),
        ("jwks_url: https://a.test", "unknown key 'jwks_url'; did you mean 'jwks_uri'?"),
    ],
)
def test_says_what_is_wrong_with_an_issuer(line: str, message: str) -> None:
    text = LEAST if not line.startswith("issuer") else "users:\n  issuers:\n    - typ: any\n"
    (found,) = problems(f"{text}      {line}\n")
    assert message in found


def test_each_issuer_is_named_once() -> None:
    (found,) = problems(LEAST + "    - issuer: https://login.acme.test\n")
    assert "issuers must name each issuer once" in found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("users: {}\n", "key 'issuers' is missing in users"),
        ("users: {issuers: []}\n", "issuers must not be an empty list"),
        (LEAST + "  leeway: 121s\n", "leeway must be at most 120"),
        (LEAST + "  audience: two words\n", "audience must be 1 to 1000 printable ASCII characters without spaces"),
    ],
)
def test_says_what_is_wrong_with_the_rest(text: str, message: str) -> None:
    (found,) = problems(text)
    assert message in found


def test_an_audience_may_be_a_bare_identifier_as_some_providers_write_it() -> None:
    (settings,) = read(LEAST + "  audience: 6f3c1e0a-7c1d-4f4e-9a53-1f0b5d1f7f10\n").user_issuers()

    assert settings.rules.audience == "6f3c1e0a-7c1d-4f4e-9a53-1f0b5d1f7f10"
