"""Where an issuer's metadata are, and what they may send the gate to."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.users.discovery import check_key_url, metadata_urls, read_metadata
from callgate.users.unusable import Unusable

ISSUER = "https://login.acme.test/realms/acme"


def jwks_uri(text: object, issuer: str = ISSUER) -> str | Unusable:
    return read_metadata(orjson.dumps({"issuer": issuer, "jwks_uri": text}), issuer)


@pytest.mark.parametrize(
    ("issuer", "openid", "oauth"),
    [
        # OpenID Connect Discovery 1.0, section 4.1, and RFC 8414, section 3.1: their own examples.
        (
            "https://example.com",
            "https://example.com/.well-known/openid-configuration",
            "https://example.com/.well-known/oauth-authorization-server",
        ),
        (
            "https://example.com/issuer1",
            "https://example.com/issuer1/.well-known/openid-configuration",
            "https://example.com/.well-known/oauth-authorization-server/issuer1",
        ),
        # "any terminating / MUST be removed".
        (
            "https://example.com/",
            "https://example.com/.well-known/openid-configuration",
            "https://example.com/.well-known/oauth-authorization-server",
        ),
        (
            "https://[2001:db8::1]:8443/a/b/",
            "https://[2001:db8::1]:8443/a/b/.well-known/openid-configuration",
            "https://[2001:db8::1]:8443/.well-known/oauth-authorization-server/a/b",
        ),
    ],
)
def test_metadata_are_where_the_two_documents_say(issuer: str, openid: str, oauth: str) -> None:
    assert metadata_urls(issuer) == (openid, oauth)


@pytest.mark.parametrize(
    "text",
    [
        "https://login.acme.test/keys",
        "https://login.acme.test:8443/keys",
        "https://keys.provider.test/v1/jwks?p=b2c_1",
    ],
)
def test_keys_may_be_on_another_host_by_name_and_https(text: str) -> None:
    assert jwks_uri(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "http://login.acme.test/keys",
        "http://127.0.0.1/keys",
        "http://169.254.169.254/latest/meta-data",
        "https://169.254.169.254/latest/meta-data",
        "https://127.0.0.1:8443/keys",
        "https://10.0.0.5/keys",
        "https://[::1]/keys",
        "https://[fd00::1]/keys",
        "https://[::ffff:127.0.0.1]/keys",
        "https://localhost/keys",
        "https://2130706433/keys",
        "https://0x7f000001/keys",
        "https://127.1/keys",
        "https://LOGIN.ACME.TEST/keys",
        "https://login.acme.test@evil.test/keys",
        "https://login.acme.test/keys#a",
        "https://login.acme.test/../keys",
        "https://login.acme.test/ke ys",
        "https://login.acme.test/keys\r\nHost: evil.test",
        "https://login.acme.test/keys?a=\n",
        "https://login.acme.test:0/keys",
        "file:///etc/passwd",
        "ftp://login.acme.test/keys",
        "//login.acme.test/keys",
        "/keys",
        "",
        "https://login.acme.test/" + "k" * 2000,
        None,
        ["https://login.acme.test/keys"],
        7,
    ],
)
def test_metadata_cannot_send_the_gate_to_its_own_machine_or_network(text: object) -> None:
    found = jwks_uri(text)
    assert isinstance(found, Unusable)
    assert "jwks_uri" in found.why


def test_an_issuer_on_loopback_may_have_its_keys_there() -> None:
    issuer = "http://127.0.0.1:8080"
    assert jwks_uri("http://127.0.0.1:8080/keys", issuer) == "http://127.0.0.1:8080/keys"
    assert isinstance(jwks_uri("http://127.0.0.2:8080/keys", issuer), Unusable)
    assert isinstance(jwks_uri("http://login.acme.test/keys", issuer), Unusable)


def test_an_issuer_known_by_its_address_may_have_its_keys_there() -> None:
    assert jwks_uri("https://10.0.0.5/keys", "https://10.0.0.5") == "https://10.0.0.5/keys"
    assert isinstance(jwks_uri("http://10.0.0.5/keys", "https://10.0.0.5"), Unusable)


@pytest.mark.parametrize("issuer", [ISSUER + "/", ISSUER.upper(), "https://login.acme.test", None, [ISSUER]])
def test_metadata_of_another_issuer_are_of_no_use(issuer: object) -> None:
    octets = orjson.dumps({"issuer": issuer, "jwks_uri": "https://login.acme.test/keys"})
    assert read_metadata(octets, ISSUER) == Unusable("the metadata are of another issuer")


@pytest.mark.parametrize("octets", [b"", b"<html>", b"[]", b"null", b'{"issuer":"a","issuer":"b"}', b" " * 65537])
def test_what_is_no_object_is_no_metadata(octets: bytes) -> None:
    assert read_metadata(octets, ISSUER) == Unusable("the metadata are not a JSON object")


@given(st.binary(max_size=100), st.text(max_size=60))
def test_reading_metadata_is_total(octets: bytes, uri: str) -> None:
    assert isinstance(read_metadata(octets, ISSUER), Unusable)
    found = jwks_uri(uri)
    assert isinstance(found, Unusable) or found.startswith("https://")


@pytest.mark.parametrize("text", ["https://a.test/keys?p=a", "http://127.0.0.1:1/keys", "http://localhost/keys"])
def test_a_configured_url_may_be_https_or_on_loopback(text: str) -> None:
    assert check_key_url(text) == text


@pytest.mark.parametrize("text", ["http://a.test/keys", "http://10.0.0.5/keys", "https://a.test/keys#b", "a.test"])
def test_any_other_configured_url_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must|has"):
        check_key_url(text)
