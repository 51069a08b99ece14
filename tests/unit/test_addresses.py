import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.addresses import Address, Url, check_authority, is_loopback, parse_address


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("0.0.0.0:8443", "0.0.0.0", 8443),
        ("[::]:8443", "::", 8443),
        ("[::1]:0", "::1", 0),
        ("localhost:65535", "localhost", 65535),
        ("gate-1.acme.test:443", "gate-1.acme.test", 443),
    ],
)
def test_reads_address_and_writes_it_the_same_way(text: str, host: str, port: int) -> None:
    address = parse_address(text)

    assert address == Address(host, port)
    assert str(address) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("8443", "a host that ends in a number"),
        ("0.0.0.0", "must name a port"),
        ("localhost", "must name a port"),
        (":8443", "host name"),
        ("0.0.0.0:", "must have a port from 1 to 65535"),
        ("0.0.0.0:65536", "must have a port from 1 to 65535"),
        ("0.0.0.0:08443", "must have a port from 1 to 65535"),
        ("0.0.0.0:+1", "must be a host, or a host and a port"),
        ("0.0.0.0:٨", "must be a host, or a host and a port"),
        ("::1:8443", "an IPv6 address stands in brackets"),
        ("[::1:8443", "an IPv6 address stands in brackets"),
        ("[::1]8443", "an IPv6 address stands in brackets"),
        ("[0:0:0:0:0:0:0:1]:1", "must have its IPv6 address in its short form, [::1]"),
        ("[FE80::1]:1", "must have its IPv6 address in its short form, [fe80::1]"),
        ("[fe80::1%eth0]:1", "must have its IPv6 address in its short form, [fe80::1]"),
        ("[::ffff:127.0.0.1]:1", "must write the IPv4 address 127.0.0.1 as one"),
        ("[::ffff:7f00:1]:1", "must write the IPv4 address 127.0.0.1 as one"),
        ("[localhost]:1", "no IPv6 address between its brackets"),
        ("[]:1", "no IPv6 address between its brackets"),
        ("LOCALHOST:1", "must have its host in lower case"),
        ("a_b:1", "must have a host name of"),
        ("-a:1", "must have a host name of"),
        ("a..b:1", "must have a host name of"),
        ("a.:1", "must have a host name of"),
        ("é:1", "must have a host name of"),
        (" localhost:1", "must have a host name of"),
        ("localhost:1\n", "must be a host, or a host and a port"),
        (f"{'a' * 64}:1", "must have a host name of"),
        (f"{'.'.join(['a' * 60] * 5)}:1", "must have a host name of"),
        ("user@localhost:1", "must not hold a user name"),
    ],
)
def test_refuses_malformed_address(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        parse_address(text)


@pytest.mark.parametrize(
    "host",
    ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.0.0.256", "1.2.3.4.5", "a.0x7f", "127.0.0.01", "a.1"],
)
def test_refuses_host_that_some_resolvers_take_for_another_address(host: str) -> None:
    with pytest.raises(ValueError, match="ends in a number and is no IPv4 address"):
        parse_address(f"{host}:1")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.255.0.9", "::1"])
def test_loopback_is_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "10.0.0.1", "128.0.0.1", "localhost.acme.test", "xlocalhost", "::2", "127.0.0.1.acme.test"],
)
def test_everything_else_is_not(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("text", "host", "port", "path", "authority"),
    [
        ("https://a.test", "a.test", 443, "", "a.test"),
        ("https://a.test/", "a.test", 443, "/", "a.test"),
        ("https://a.test:443/mcp", "a.test", 443, "/mcp", "a.test"),
        ("https://a.test:8443/a/b%20c", "a.test", 8443, "/a/b%20c", "a.test:8443"),
        ("http://127.0.0.1:80", "127.0.0.1", 80, "", "127.0.0.1"),
        ("http://[::1]:81/x/", "::1", 81, "/x/", "[::1]:81"),
        ("https://a.test/@x:y;z=1,2!$&'()*+~", "a.test", 443, "/@x:y;z=1,2!$&'()*+~", "a.test"),
    ],
)
def test_reads_url(text: str, host: str, port: int, path: str, authority: str) -> None:
    url = Url.parse(text)

    assert (url.text, url.host, url.port, url.path) == (text, host, port, path)
    assert url.authority == authority


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must be a URL that starts with https:// or http://"),
        ("ftp://a.test", "must be a URL that starts with https:// or http://"),
        ("HTTPS://a.test", "must be a URL that starts with https:// or http://"),
        ("https:/a.test", "must be a URL that starts with https:// or http://"),
        ("//a.test/x", "must be a URL that starts with https:// or http://"),
        (" https://a.test", "must be a URL that starts with https:// or http://"),
        ("https://a.test\n", "must have a host name of"),
        ("https://a.test/\n", "has a path with characters that must be percent-encoded"),
        ("https://a.test/x y", "has a path with characters that must be percent-encoded"),
        ("https://a.test/é", "has a path with characters that must be percent-encoded"),
        ("https://a.test/%zz", "has a path with characters that must be percent-encoded"),
        ("https://a.test/x\\y", "has a path with characters that must be percent-encoded"),
        ("https://a.test\\@b.test/", "must not hold a user name or password"),
        ("https://user:secret@a.test/", "must not hold a user name or password"),
        ("https://a.test?x=1", "must have no query and no fragment"),
        ("https://a.test/?", "must have no query and no fragment"),
        ("https://a.test/#", "must have no query and no fragment"),
        ("https://a.test/a/../b", "must have no '.' or '..' in its path"),
        ("https://a.test/.", "must have no '.' or '..' in its path"),
        ("https://a.test:0/", "must not name port 0"),
        ("https://a.test:/", "must have a port from 1 to 65535"),
        ("https:///x", "must have a host name of"),
        ("https://A.test/", "must have its host in lower case"),
        ("https://127.1/", "ends in a number and is no IPv4 address"),
    ],
)
def test_refuses_malformed_url(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        Url.parse(text)


@pytest.mark.parametrize("text", ["a.test", "a.test:8443", "[::1]", "[::1]:8443", "127.0.0.1:1"])
def test_authority_is_kept_as_written(text: str) -> None:
    assert check_authority(text) == text


@pytest.mark.parametrize("text", ["", "*", "*.a.test", "a.test:0", "https://a.test", "a.test/", "a, b", "A.test"])
def test_refuses_malformed_authority(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        check_authority(text)


@given(st.text() | st.from_regex(r"https?://[a-z0-9.:@\[\]%-]*(/[a-z.%]*)*[?#]?", fullmatch=True))
def test_every_text_is_read_or_refused(text: str) -> None:
    for read in (Url.parse, parse_address, check_authority):
        try:
            found = read(text)
        except ValueError:
            continue
        assert (found.text if isinstance(found, Url) else str(found)) == text
