"""Telephone numbers: international ones, national ones by their signs, bare digits where a word tells it."""

import re
from typing import Final

from callgate.screening.seeking import Rule, Span
from callgate.screening.views import View

_RANK: Final = 60

# ITU-T E.164 (annex to Operational Bulletin 1114): country codes of one and two digits, all others have three.
_SHORT_CODES_TEXT: Final = (
    "1 7 20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 81 82 84 86 90 "
    "91 92 93 94 95 98"
)
_SHORT_CODES: Final = frozenset(_SHORT_CODES_TEXT.split())
# Those of three digits are of these ranges; 999 and what is not listed is spare.
_LONG_CODES: Final = re.compile(
    r"21[12368]|2[2-6][0-9]|29[01789]|35[0-9]|37[0-8]|38[0-35-79]|42[013]|50[0-9]|59[0-9]|67[0-9]|68[0-35-9]|69[0-2]|8[05678][0-9]|96[0-8]|97[0-79]|99[2-68]"
)
# Digits after the code, national plans as notified to ITU-T (E.129); where none is named, 7 to 12.
_NATIONAL: Final = {
    "1": (10, 10), "7": (10, 10), "20": (8, 10), "27": (9, 9), "30": (10, 10), "31": (9, 9), "32": (8, 9), "33": (9, 9),
    "34": (9, 9), "36": (8, 9), "39": (6, 11), "40": (9, 9), "41": (9, 9), "43": (7, 12), "44": (9, 10), "45": (8, 8),
    "46": (7, 9), "47": (8, 8), "48": (9, 9), "49": (6, 11), "51": (8, 9), "52": (10, 11), "54": (10, 11), "55": (10, 11),
    "56": (9, 9), "57": (8, 10), "60": (8, 10), "61": (9, 9), "62": (8, 12), "63": (8, 10), "64": (8, 10), "65": (8, 8),
    "66": (8, 9), "81": (9, 10), "82": (8, 10), "84": (9, 10), "86": (10, 11), "90": (10, 10), "91": (10, 10),
    "92": (9, 10), "98": (10, 10), "351": (9, 9), "353": (7, 9), "358": (6, 11), "380": (9, 9), "420": (9, 9),
    "421": (9, 9), "852": (8, 8), "853": (8, 8), "886": (8, 9), "966": (8, 9), "971": (8, 9), "972": (8, 9),
}  # fmt: skip
_ANY_NATIONAL: Final = (6, 12)
# E.164, 6.2.1: fifteen digits at most, without the prefix.
_MOST_DIGITS: Final = 15

# Beyond a number's end an extension: RFC 3966 (`;ext=`), and as people write it.
_EXTENSION: Final = re.compile(
    r"(?i)(?:[ ,;]{0,2}(?:ext(?:ension)?\.?|extn|poste|durchwahl|app\.)[ =:.]?|;ext=| ?x ?)([0-9]{1,6})(?![0-9A-Za-z])"
)
_DATE: Final = re.compile(
    r"(?:19|20)[0-9]{2}([-./ ]?)(?:0?[1-9]|1[0-2])\1(?:0?[1-9]|[12][0-9]|3[01])(?![0-9])"
    r"|(?:0?[1-9]|[12][0-9]|3[01])[-./ ](?:0?[1-9]|[12][0-9]|3[01])[-./ ](?:19|20)[0-9]{2}(?![0-9])"
)
# Hours and scores; an address of the internet.
_NO_NUMBER: Final = re.compile(
    r"[0-9](?:[ .-][0-9]){6,8}|[0-9]{1,2}(?:[.-][0-9]{1,2}){3}|[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9]{1,2}[.:][0-9]{2} ?- ?[0-9]{1,2}[.:][0-9]{2}"
)
_GROUP: Final = re.compile("[0-9]+")


def _digits(text: str) -> str:
    return "".join(_GROUP.findall(text))


def _stands_alone(view: View, start: int, end: int) -> bool:
    """Whether no further digits hang on it by a sign, and it is not a part of a word."""
    before, behind = view.before(start, 2), view.text[end : end + 2]
    if before[-1:].isascii() and before[-1:].isalnum():
        return False
    if before[-1:] == "-" and before[:1].isalpha() and before[:1].isascii():
        return False
    if before[-1:] in "-./+,:" and before[:1].isdigit() and len(before) == 2 and before[-1] not in ",:":
        return False
    if (behind[:1] in "-./:" and behind[1:].isdigit() and len(behind) == 2) or (
        behind[:1].isascii() and behind[:1].isalnum()
    ):
        return False
    return not view.is_in_uuid(start, end)


def _with_extension(view: View, start: int, end: int) -> Span:
    extension = _EXTENSION.match(view.text, end)
    return (start, extension.end()) if extension else (start, end)


def _national_length(digits: str) -> tuple[str, int, int] | None:
    """The country code, and how many digits may follow it."""
    for size in (1, 2, 3):
        code = digits[:size]
        if code in _SHORT_CODES or (size == 3 and _LONG_CODES.fullmatch(code)):
            least, most = _NATIONAL.get(code, _ANY_NATIONAL)
            return code, least, most
    return None


def _international_end(text: str) -> int | None:
    """Where the number ends, which begins with its country code: after the most groups of digits that make one."""
    plan = _national_length(_digits(text))
    if plan is None:
        return None
    code, least, most = plan
    trunk = text.find("(0)")
    best = None
    for group in _GROUP.finditer(text):
        count = len(_digits(text[: group.end()])) - len(code) - (0 <= trunk < group.end())
        if least <= count <= most + (count > 0 and code not in ("1", "7") and _digits(text)[len(code)] == "0"):
            best = group.end()
    return best


def _international(view: View, start: int, end: int) -> Span | None:
    before = view.before(start, 1)
    if before.isascii() and before.isalnum():
        return None
    number = view.text[start:end].lstrip("+( ")
    first = end - len(number)
    length = _international_end(number)
    if length is None:
        return None
    last = first + length
    if (
        last < len(view.text)
        and view.text[last].isascii()
        and view.text[last].isalnum()
        and not _EXTENSION.match(view.text, last)
    ):
        return None
    return _with_extension(view, start, last)


def _is_told(view: View, start: int, end: int) -> bool:
    return view.told.tells("phone", start, end) or view.told.tells("call", start, end)


def _with_prefix(view: View, start: int, end: int) -> Span | None:
    """`0033 1 …`, `011 44 20 …`: with signs, or where a word tells it."""
    number = view.text[start:end]
    prefix = 3 if number.startswith("011") else 2
    length = _international_end(number[prefix:].lstrip(" -"))
    if length is None or not _stands_alone(view, start, end) or _DATE.search(number):
        return None
    if number.isdigit() or prefix == 3 or "." in number:
        return (start, end) if _is_told(view, start, end) else None
    return _with_extension(view, start, end - len(number[prefix:].lstrip(" -")) + length)


def _north_american(view: View, start: int, end: int) -> Span | None:
    """NANP, ATIS-0300115: neither the area nor the exchange is N11."""
    digits = _digits(view.text[start:end])[-10:]
    if digits[1:3] == "11" or digits[4:6] == "11" or not _stands_alone(view, start, end):
        return None
    signs = set(view.text[start:end]) - set("0123456789")
    if signs == {" "} and _has_neighbours(view, start, end):
        return None
    return _with_extension(view, start, end)


def _has_neighbours(view: View, start: int, end: int) -> bool:
    return view.text[end : end + 2].strip(" ").isdigit() or view.before(start, 2).strip(" ").isdigit()


# Groups as of social security numbers and of parts.
_NO_PHONES: Final = ([3, 3, 3], [3, 2, 4])


def _trunk(view: View, start: int, end: int) -> Span | None:
    """National numbers with their trunk prefix: nine to eleven digits, grouped as people group them."""
    number = view.text[start:end]
    groups = _GROUP.findall(number)
    if not 9 <= len("".join(groups)) <= 12 or _DATE.search(number) or not _stands_alone(view, start, end):
        return None
    signs = {view.text[start:end][match.end() : match.end() + 1] for match in list(_GROUP.finditer(number))[1:-1]}
    is_bracketed = number.startswith("(")
    if len(signs) > 1 or ([len(group) for group in groups] in _NO_PHONES and not is_bracketed):
        return None
    if _has_neighbours(view, start, end) and not is_bracketed:
        return None
    return _with_extension(view, start, end)


def _bracketed(view: View, start: int, end: int) -> Span | None:
    """`(11) 91234-5678`, `8 (495) 123-45-67`."""
    number = view.text[start:end]
    digits = _digits(number)
    is_year = re.search(r"\((?:19|20)[0-9]{2}\)", number)
    if not 9 <= len(digits) <= 12 or is_year or not _stands_alone(view, start, end):
        return None
    return _with_extension(view, start, end)


def _vanity(view: View, start: int, end: int) -> Span | None:
    """`1-800-FLOWERS`: seven letters or digits, three letters at least."""
    said = view.text[start + 6 : end].replace("-", "")
    is_one = len(said) == 7 and sum(map(str.isalpha, said)) >= 3 and _stands_alone(view, start, end)
    return (start, end) if is_one else None


def _told(view: View, start: int, end: int) -> Span | None:
    """Seven to fifteen digits beside a word that tells it; a date is none, nor are seconds since 1970 beside `call`."""
    number = view.text[start:end]
    digits = _digits(number)
    if not _stands_alone(view, start, end) or _DATE.match(number.lstrip("(")) or _NO_NUMBER.fullmatch(number):
        return None
    if view.told.tells("phone", start, end) and (_is_plausible(number, digits) or _is_beside(view, start)):
        return _with_extension(view, start, end)
    if _is_plausible(number, digits) and view.told.tells("call", start, end):
        return _with_extension(view, start, end)
    return None


# `"phone_number": "…`, `tel. `: nothing but the rest of the name and signs.
_BESIDE: Final = re.compile(r"\w*(?: ?(?:no|nr|num|number|#)\b\.?)?[^\w\n]{0,6}")


def _is_beside(view: View, start: int) -> bool:
    gap = view.told.gap("phone", start)
    return gap is not None and bool(_BESIDE.fullmatch(gap))


def _is_plausible(number: str, digits: str) -> bool:
    if number.isdigit():
        return len(digits) >= 10 and bool(
            re.fullmatch(
                r"[2-9][0-9]{2}[2-9][0-9]{6}|1[3-9][0-9]{9}|1[2-9][0-9]{2}[2-9][0-9]{6}|0[0-9]{8,14}|[5-9][0-9]{9}|[2-9][0-9]{10,12}",
                digits,
            )
        )
    return "." not in number or (" " not in number and number.count(".") >= 2)


_SIGNS: Final = "[ ./()-]"
_SIGN: Final = "(?:[ ./-]| - )"
RULES: Final = (
    Rule("phone", rf"\(?\+ ?\(?[0-9]{{1,4}}(?:{_SIGNS}{{0,3}}[0-9]){{5,14}}", _international, _RANK),
    Rule(
        "phone",
        r"\b(?:00[1-9]|00[ -][1-9][0-9]{0,2}[ -][0-9]|011[ -][1-9])(?:[ ./()-]{0,3}[0-9]){5,13}\b",
        _with_prefix,
        _RANK,
        is_numeric=True,
    ),
    Rule(
        "phone",
        r"(?:\b1[ ./-]{0,3})?(?:\([2-9][0-9]{2}\)[ ./-]{0,3}|\b[2-9][0-9]{2}(?:[ ./-]| - ))[2-9][0-9]{2}(?:[ ./-]| - )[0-9]{4}\b",
        _north_american,
        _RANK,
        is_numeric=True,
    ),
    Rule(
        "phone",
        (
            rf"\(0[1-9][0-9]{{0,4}}\){_SIGNS}{{0,3}}[0-9]{{2,8}}(?:{_SIGN}[0-9]{{2,5}}){{0,4}}\b"
            rf"|\b0[1-9](?:{_SIGN}[0-9]{{3,8}}(?:{_SIGN}[0-9]{{2,5}}){{0,3}}|(?:{_SIGN}[0-9]{{2}}){{4}})\b"
            rf"|\b0[1-9][0-9]{{1,4}}{_SIGN}[0-9]{{2,8}}(?:{_SIGN}[0-9]{{2,5}}){{0,4}}\b"
        ),
        _trunk,
        _RANK,
        is_numeric=True,
    ),
    Rule(
        "phone",
        r"\b1[ .-]8(?:00|33|44|55|66|77|88)[ .-][0-9A-Z]{1,7}(?:-?[0-9A-Z]){2,7}\b",
        _vanity,
        _RANK,
        is_numeric=True,
    ),
    Rule(
        "phone",
        r"(?:\b[78][ -]?)?\([1-9][0-9]{1,4}\)[ -]{0,2}[0-9]{3,5}(?:[ .-][0-9]{2,5}){1,3}\b",
        _bracketed,
        _RANK,
        is_numeric=True,
    ),
)
# Only where the text holds a telling word.
TOLD: Final = tuple(
    Rule("phone", rf"\(?\b[0-9](?:{_SIGNS}{{0,3}}[0-9]){{6,14}}\b", _told, _RANK, is_numeric=True, told_by=kind)
    for kind in ("phone", "call")
)
