"""Addresses of the internet: mail, IPv4, IPv6, MAC."""

import re
from ipaddress import AddressValueError, IPv6Address
from typing import Final

from callgate.screening.seeking import Rule, Span
from callgate.screening.views import View

# What stands behind an `@` in names of files, units and packages, and is no top-level domain of the root zone.
_NO_TLDS_TEXT: Final = (
    "avif bmp c conf cpp css csv dll docx exe gif go h html ico ini java jpeg jpg js json jsx lock log mjs mount path php png rb "
    "scope service slice socket svg swap target tif tiff timer toml ts tsx txt vue webp whl xlsx xml yaml yml latest beta alpha rc"
)
_NO_TLDS: Final = frozenset(_NO_TLDS_TEXT.split())
_LETTERS: Final = "A-Za-z0-9\xff"
_LOCAL: Final = rf"[{_LETTERS}._%+'!#$&*^~-]*[{_LETTERS}_%+~$-]"
_LABEL: Final = rf"[{_LETTERS}](?:[{_LETTERS}_-]{{0,62}}[{_LETTERS}])?"
# RFC 5321, 4.1.2: mailbox; internationalized, RFC 6531.  Blanks around the sign are not the RFC's.
_MAILBOX: Final = rf'(?:{_LOCAL}|") ?@ ?{_LABEL}(?:\.{_LABEL})+'
_LITERAL: Final = rf"{_LOCAL}@\[(?:IPv6:)?[0-9A-Fa-f.:]{{3,45}}\]"
_SPOKEN: Final = (
    r"(?i)\b[a-z0-9][a-z0-9._+-]*(?: at |_at_)[a-z0-9][a-z0-9-]{1,62}(?:(?: dot |_dot_)[a-z0-9-]{2,63}){1,4}\b"
)
_TRIMMED: Final = "'.!#&*^-"
# Scripts that leave no blank between words: a name in Latin letters stands apart from them.
_UNSPACED: Final = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]")
_ARTICLES_TEXT: Final = "the this that a an each every our your his her their any some no one"
_ARTICLES: Final = frozenset(_ARTICLES_TEXT.split())


def _mailbox(view: View, start: int, end: int) -> Span | None:
    sign = view.text.rindex("@", start, end)
    start, end = _left(view, start, sign), _right(view, sign, end)
    local = view.text[start:sign].rstrip(" ")
    domain = view.text[sign + 1 : end].strip(" ")
    if not local or view.text[end : end + 1] in ("(", "@") or not _is_domain(domain):
        return None
    if " " in view.text[start:end].strip('"') and not local.startswith('"') and len(local) < 2:
        return None
    return start, end


_QUOTED_LOCAL: Final = re.compile(r'"[^"\n@]{1,64}\Z')


def _left(view: View, start: int, sign: int) -> int:
    if view.text[start] == '"':
        quoted = _QUOTED_LOCAL.search(view.before(start, 65))
        return start - len(quoted[0]) if quoted else sign
    while start < sign and view.text[start] in _TRIMMED:
        start += 1
    name = view.text[start:sign]
    latin = max((match.end() for match in _UNSPACED.finditer(name)), default=0)
    return start + latin if latin < len(name.rstrip()) else start


def _right(view: View, sign: int, end: int) -> int:
    """Without what a script without blanks adds to a Latin domain."""
    domain = view.text[sign + 1 : end]
    unspaced = _UNSPACED.search(domain)
    if unspaced is None or not re.search(r"\.[A-Za-z]{2,}\.?$", domain[: unspaced.start()]):
        return end
    return sign + 1 + len(domain[: unspaced.start()].rstrip("."))


def _is_domain(domain: str) -> bool:
    """Whether its last label is one that a top-level domain can have, and the first ones are not a version's numbers."""
    labels = domain.split(".")
    top = labels[-1]
    if len(labels) < 2 or top.lower() in _NO_TLDS or re.fullmatch(r"[0-9]+x", labels[0]):
        return False
    if re.fullmatch(r"v?[0-9]+", labels[0]) and len(labels) > 2 and re.match(r"[0-9x]", labels[1]):
        return False
    is_word = all(character.isalpha() or not character.isascii() for character in top)
    return (len(top) >= 2 and is_word) or top.lower().startswith("xn--") or (len(top) == 1 and not top.isascii())


# Frequent ones: `at … dot …` is also plain English.
_SPOKEN_TOPS_TEXT: Final = "com org net edu gov io co de uk fr es it nl pl se no dk fi ch at be eu us ca au nz jp cn in br mx ru info biz app dev ai me"
_SPOKEN_TOPS: Final = frozenset(_SPOKEN_TOPS_TEXT.split())


def _spoken(view: View, start: int, end: int) -> Span | None:
    text = view.text[start:end].lower().replace("_", " ")
    domain = text.split(" at ")[-1]
    name = domain.split(" dot ")
    return (start, end) if name[0] not in _ARTICLES and name[-1] in _SPOKEN_TOPS else None


_PRODUCT: Final = re.compile(r"(?:^|[\s(;\"',+])[A-Z][A-Za-z]+/\Z")
_VERSION_WORDS_TEXT: Final = (
    "v ver vers version versions release rel build firmware section sections sec chapter clause rev revision"
)
_VERSION_WORDS: Final = frozenset(_VERSION_WORDS_TEXT.split())
_PINS: Final = ("==", "~=", "<=", ">=", "^=", "!=", "§")
_LAST_WORD: Final = re.compile(r"[A-Za-z]+")


def _is_version(before: str) -> bool:
    """Whether what stands before the number says so: `version 1.2.3.4`, `pkg==1.2.3.4`, `§ 1.2.3.4`, `Chrome/1.2.3.4`."""
    signs = before.rstrip(" +\"'")
    if signs.endswith(_PINS) or _PRODUCT.search(before):
        return True
    words = _LAST_WORD.findall(before)
    return (
        bool(words)
        and words[-1].lower() in _VERSION_WORDS
        and len(before) - before.rfind(words[-1]) - len(words[-1]) <= 5
    )


_ARCHIVE: Final = re.compile(
    r"(?i)\.(?:tar|tgz|zip|gz|xz|bz2|whl|jar|war|dll|so|exe|deb|rpm|msi|dmg|pkg|nupkg|gem)\b|-(?:[a-z]|[0-9]+\.[a-z])"
)


def _ipv4(view: View, start: int, end: int) -> Span | None:
    parts = view.text[start:end].split(".")
    if any(int(part) > 255 for part in parts) or (
        any(part[0] == "0" and len(part) > 1 for part in parts) and not all(len(part) == 3 for part in parts)
    ):
        return None
    before, behind = view.before(start, 24), view.text[end : end + 8]
    if re.search(r"[0-9]\.\Z", before) or re.match(r"\.[0-9]", behind) or _ARCHIVE.match(behind):
        return None
    return None if _is_version(before) else (start, end)


_GROUP_BEFORE: Final = re.compile(r"(?:^|[^0-9A-Za-z])[0-9A-Fa-f]{0,4}:\Z")


def _ipv6(view: View, start: int, end: int) -> Span | None:
    """RFC 4291, 2.2.  `a::b` of programs and `x[1::2]` have too little to be one."""
    said = view.text[start:end]
    if said.startswith(":") and not said.startswith("::"):
        start, said = start + 1, said[1:]
    elif _is_word(view.before(start, 1)) or _GROUP_BEFORE.search(view.before(start, 6)):
        return None
    while said.endswith(".") or (said.endswith(":") and not said.endswith("::")):
        said, end = said[:-1], end - 1
    if _is_word(view.text[end : end + 1]) or not _is_ipv6(said) or _is_slice(view, start, said):
        return None
    zone = re.match(r"%[0-9A-Za-z._-]{1,16}", view.text[end : end + 17])
    return start, end + (zone.end() if zone else 0)


def _is_word(character: str) -> bool:
    return character.isascii() and (character.isalnum() or character == "_")


def _is_ipv6(said: str) -> bool:
    groups = [group for group in said.split(":") if group]
    if not any(character.isdigit() for character in said) or len(said) > 45:
        return False
    if "::" not in said and all(len(group) == 2 for group in groups):
        return False
    if said != "::1" and len(groups) < 3 and not any(len(group) >= 3 and not group.isalpha() for group in groups):
        return False
    try:
        IPv6Address(said)
    except AddressValueError:
        return False
    return True


def _is_slice(view: View, start: int, said: str) -> bool:
    return said.count(":") < 4 and bool(re.search(r"[\w)\]]\[[^\[\]]{0,8}\Z", view.before(start, 12)))


def _mac(view: View, start: int, end: int) -> Span | None:
    """IEEE 802: six octets; eight where the middle is FF:FE (EUI-64 of a MAC)."""
    before, behind = view.before(start, 2), view.text[end : end + 2]
    if re.search(r"[0-9A-Fa-f][:.-]\Z", before) or re.match(r"[:.-][0-9A-Fa-f]", behind):
        return None
    octets = re.split("[:-]", view.text[start:end].lower())
    return (start, end) if len(octets) != 8 or octets[3:5] == ["ff", "fe"] else None


def _bare_mac(view: View, start: int, end: int) -> Span | None:
    return (start, end) if view.told.tells("mac", start, end) else None


_H: Final = "[0-9A-Fa-f]"
MAIL: Final = (
    Rule("email", _MAILBOX, _mailbox, 30),
    Rule("email", _LITERAL, lambda _, start, end: (start, end), 30),
    Rule("email", _SPOKEN, _spoken, 30),
)
ADDRESSES: Final = (
    Rule("ipv4", r"\b[0-9]{1,3}(?:\.[0-9]{1,3}){3}\b", _ipv4, 45, is_numeric=True),
    Rule(
        "ipv6",
        rf"\b(?:{_H}{{1,4}}:){{1,7}}:[0-9A-Fa-f:.]*|::{_H}{{1,4}}[0-9A-Fa-f:.]*|\b(?:{_H}{{1,4}}:){{5,7}}[0-9A-Fa-f:.]+",
        _ipv6,
        40,
    ),
    Rule(
        "mac",
        rf"\b{_H}{{2}}(?:(?::{_H}{{2}}){{5}}(?::{_H}{{2}}:{_H}{{2}})?|(?:-{_H}{{2}}){{5}}(?:-{_H}{{2}}-{_H}{{2}})?)\b",
        _mac,
        41,
        is_numeric=True,
    ),
    Rule("mac", rf"\b{_H}{{4}}\.{_H}{{4}}\.{_H}{{4}}\b", _mac, 41, is_numeric=True),
)
TOLD: Final = (Rule("mac", rf"\b{_H}{{12}}\b", _bare_mac, 41, is_numeric=True, told_by="mac"),)
