"""Secrets: keys whose issuers gave them a form, tokens, private keys, URLs and settings with a password in them."""

import re
from typing import Final

from callgate.screening.assignments import is_placeholder
from callgate.screening.key_forms import FORMS, MARKED
from callgate.screening.seeking import Rule, Span
from callgate.screening.views import View

_BLOCK_RANK: Final = 1
_LINK_RANK: Final = 2
_RANK: Final = 5
# A private key's text: RSA of 16,384 bits in PEM has some 12,700 characters.
_MAX_KEY: Final = 32_768


# Of upper case alone.
_UPPER: Final = ("AKIA", "ASIA", "ABIA", "ACCA")


def looks_random(value: str) -> bool:
    """Whether it has digits beside letters, or letters of both cases, and enough different ones: `hf_hub` has not."""
    if value.startswith(_UPPER):
        return len(set(value)) >= 8
    kinds = (any(map(str.isdigit, value)), any(map(str.islower, value)), any(map(str.isupper, value)))
    return sum(kinds) >= (3 if value.startswith("s.") else 2) and len(set(value)) >= 8


_WORDS: Final = re.compile(
    r"(?:[a-z]+|[A-Z]+|[A-Z]?[a-z]+|[0-9]{1,4})(?:[-_.](?:[a-z]+|[A-Z]+|[A-Z][a-z]+|[0-9]{1,4}))+"
)


def _key(view: View, start: int, end: int) -> Span | None:
    value = view.text[start:end]
    stop = len(value.rstrip("-_.=")) if value.endswith((".", "-", "_")) else len(value)
    if not looks_random(value) or _WORDS.fullmatch(value):
        return None
    return start, start + stop


_OF_MARKED: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_~.+/:-"
_LONGEST_BEFORE_MARK: Final = 96
_LONGEST_MARKED: Final = 256


_WHOLE: Final = tuple(
    (re.compile(mark), re.compile(rf"(?<![0-9A-Za-z]){whole}(?![0-9A-Za-z])")) for mark, whole in MARKED
)


def _marked(view: View, start: int, end: int) -> Span | None:
    """The key around a mark."""
    before = view.before(start, _LONGEST_BEFORE_MARK)
    first = start - len(before) + len(before.rstrip(_OF_MARKED))
    for mark, whole in _WHOLE:
        found = whole.search(view.text, first, first + _LONGEST_MARKED) if mark.match(view.text, start) else None
        if found and found.start() < end and found.end() > start and looks_random(found[0]):
            return found.span()
    return None


_PEM_END: Final = re.compile(
    r"-----END[ +][A-Z0-9 +]{0,40}PRIVATE[ +]KEY(?:[ +]BLOCK)?-----|---- ?END SSH2[A-Z ]{0,24}PRIVATE KEY ?----"
)


def _private_key(view: View, start: int, end: int) -> Span | None:
    """To its end, or where that is missing as far as there is base64.  A key with nothing in it is none."""
    limit = _before_next(view.text, "BEGIN", end)
    stop = _PEM_END.search(view.text, end, limit)
    last = stop.end() if stop else _body_end(view.text, end, limit)
    body = view.text[end : stop.start() if stop else last]
    return (start, last) if len(re.findall("[A-Za-z0-9+/]", body[:512])) >= 16 else None


def _before_next(text: str, head: str, end: int) -> int:
    """Where the next one begins: no text is read for two."""
    following = text.find(head, end, end + _MAX_KEY)
    return following if following >= 0 else end + _MAX_KEY


def _body_end(text: str, start: int, limit: int) -> int:
    """The last of the lines of base64, of 16 characters or more."""
    last = start
    for line in re.finditer(r"(?:\s|\\[nr]){0,4}([A-Za-z0-9+/]{16,}={0,2})", text[start:limit]):
        if line.start() + start - last > 160 or not looks_random(line[1][:64]):
            break
        last = start + line.end()
    return last


_PUTTY_END: Final = re.compile("Private-MAC: ?[0-9a-f]{32,64}")


def _putty(view: View, start: int, end: int) -> Span | None:
    stop = _PUTTY_END.search(view.text, end, _before_next(view.text, "PuTTY-User", end))
    return (start, stop.end()) if stop else None


_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,20}\Z")


def _token_url(view: View, start: int, end: int) -> Span | None:
    """A token where the user's name stands: `https://<token>@host`."""
    scheme = _SCHEME.search(view.before(start, 21))
    user = view.text[start + 3 : end].rstrip("@")
    if (
        scheme is None
        or is_placeholder(user)
        or _WORDS.fullmatch(user)
        or not re.search("[0-9]", user)
        or not looks_random(user)
    ):
        return None
    return start + 3, start + 3 + len(user)


def _url(view: View, start: int, end: int) -> Span | None:
    """RFC 3986, 3.2.1: user information with a password that is none of a document's."""
    scheme = _SCHEME.search(view.before(start, 21))
    if scheme is None:
        return None
    start -= len(scheme[0])
    url = view.text[start:end].rstrip(".,;:!?)]}'\"")
    user, _, password = url.partition("://")[2].partition("@")[0].partition(":")
    if is_placeholder(password) or (
        password.lower() in ("password", "pass", "pw", "secret", user.lower()) and len(password) < 9
    ):
        return None
    return start, start + len(url)


def _connection(view: View, start: int, end: int) -> Span | None:
    value = re.search(
        r"(?i)(?:password|pwd|accountkey|sharedaccesskey|secret)\s?=\s?([^;\"'\s]*)", view.text[start:end]
    )
    return None if value is None or is_placeholder(value[1]) or len(value[1]) < 4 else (start, end)


def _bearer(view: View, start: int, end: int) -> Span | None:
    """RFC 6750, 2.1; RFC 7617: what stands behind the scheme."""
    value = view.text[start:end].rsplit(" ", 1)[1].rstrip(".;)")
    end = start + view.text[start:end].rindex(value) + len(value)
    first = end - len(value)
    return (first, end) if looks_random(value) and not is_placeholder(value) and not _WORDS.fullmatch(value) else None


_KEYS: Final = "|".join(f"(?:{form})" for form in FORMS)
_CONNECTION_NAMES: Final = (
    "server|data source|host|hostname|user id|uid|user|username|endpoint|defaultendpointsprotocol|driver|database|initial catalog|accountname|"
    "provider|blobendpoint|addr|address|port|dsn|accountendpoint"
)
_SETTINGS: Final = "password|pwd|accountkey|sharedaccesskey"
_PRIVATE_KEY_HEAD: Final = r"-----BEGIN[ +](?:[A-Z0-9]+[ +]){0,4}PRIVATE[ +]KEY(?:[ +]BLOCK)?-----|---- ?BEGIN SSH2[A-Z ]{0,24}PRIVATE KEY ?----"
_CONNECTION: Final = (
    rf"""(?i)\b(?:{_CONNECTION_NAMES}) ?=[^;"'\n]*;(?: ?[a-z][a-z ]*=[^;"'\n]*;)* ?(?:{_SETTINGS}) ?= ?[^;"'\s]+"""
    r"""(?:; ?[a-z][a-z ]*=[^;"'\s]*)*;?"""
)
KEYS: Final = (
    Rule("secret", rf"\b(?:{_KEYS})", _key, _RANK),
    Rule("secret", "|".join(f"(?:{mark})" for mark, _ in MARKED), _marked, _RANK),
)
BLOCKS: Final = (
    Rule("secret", _PRIVATE_KEY_HEAD, _private_key, _BLOCK_RANK),
    Rule("secret", r"PuTTY-User-Key-File-[0-9]: ", _putty, _BLOCK_RANK),
)
LINKS: Final = (
    Rule("secret", r"""://[^\s/@:"'<>]*:[^\s@/"'<>]+@[^\s"'<>]+""", _url, _LINK_RANK),
    Rule("secret", r"://[0-9A-Za-z_-]{20,}@", _token_url, _LINK_RANK),
    Rule("secret", _CONNECTION, _connection, _LINK_RANK),
)
BEARERS: Final = (
    Rule(
        "secret", r"""(?i)\bauthorization\\?["']?\s?[:=]\s?\\?["']?[a-z-]{2,20} {1,4}[^\s"'<>,]{12,}""", _bearer, _RANK
    ),
    Rule("secret", r"(?i)\b(?:bearer|basic|token|ssws|apikey)[ ]{1,4}[0-9a-z._~+/-]{16,}={0,2}", _bearer, _RANK),
)
