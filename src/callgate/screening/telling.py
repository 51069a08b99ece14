"""Words beside a number that tell what it is, in the languages that most of what is screened is written in."""

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final

import re2  # type: ignore[import-untyped]  # ships no types

# Characters between the end of a telling word and the number.
_REACH: Final = 48
# Telling words of one text: 2 us each.
MAX_WORDS: Final = 20_000
# A number before its word, and a list of numbers behind it.
_WINDOW_BEFORE: Final = 64
_WINDOW_BEHIND: Final = 320
# Words as they were written, with their kinds.
_REMEMBERED: Final = 1_024

# Each is a part of an RE2 pattern, whatever the case.  B: no letter, or `_`, on that side.
_B: Final = r"(?:\b|_)"
WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "phone": (
        "phone", "telefon", "tel[eé]fono", "t[eé]l[eé]phone", rf"{_B}t[eé]l{_B}", "mobile", rf"mobil(?:nummer|funk)?{_B}", "m[oó]vil", "cellulare",
        "celular", rf"{_B}cell{_B}", "fax", rf"{_B}handy", rf"{_B}gsm{_B}", "whatsapp", rf"{_B}sms{_B}", "msisdn", "rufnummer", "r[uü]ckruf", "hotline",
        "puhelin", "kom[oó]rka", "portable", "telemóvel", "telemovel", rf"{_B}ligue{_B}", "durchwahl", "landline", "voicemail", "電話", "电话", "手機", "手机",
        "携帯", "传真", "전화", "휴대폰", "연락처", "тел", "моб", "факс", "звон", "फ़ोन", "फोन", "मोबाइल", "दूरभाष", "هاتف", "جوال", "موبايل", "تلفن", "טלפון",
        "נייד", "τηλ", "κινητό", "โทร", "điện thoại",
    ),
    # Words of other meanings besides.
    "call": (
        rf"{_B}call(?:ing|ed|s|er|back| me| us)?{_B}", rf"{_B}dial", rf"{_B}ring{_B}", rf"{_B}contact", rf"{_B}reach(?:able)?{_B}",
        rf"{_B}text (?:me|us|to|him|her){_B}", "my number", "number is", rf"{_B}mob{_B}", rf"{_B}pager{_B}", rf"{_B}anruf", rf"{_B}ruf(?:en|t)?{_B}",
        rf"{_B}appele", rf"{_B}llam[ae]", rf"{_B}chiam", "zadzwo", rf"{_B}bel(?:len)?{_B}", rf"{_B}ring[ae]{_B}", "numéro", "número", "联系", "打给", "連絡",
    ),
    "card": (
        "card", rf"{_B}visa{_B}", rf"{_B}master", rf"{_B}amex", rf"{_B}pan{_B}", rf"{_B}cc{_B}", "kart", "carte", "tarjeta", "cart[aã]o", "kaart", "kort",
        "卡", "カード", "카드", "карт",
    ),
    "mac": (rf"{_B}mac{_B}", "ether", "hwaddr", "bssid", "hardware address", "physical address", "mac_?addr"),
    "birth_date": (
        rf"{_B}d\.?o\.?b\.?{_B}", "date[ _-]?of[ _-]?birth", "birth[ _-]?(?:date|day|dt)", rf"{_B}b-?day{_B}", rf"{_B}born{_B}", "geburts(?:datum|tag)",
        rf"{_B}geb\.", rf"{_B}geboren{_B}", "geb_?datum", "date[ _-]?(?:de[ _-]?)?naissance", rf"{_B}née? le{_B}", rf"{_B}ddn{_B}",
        "fecha[ _-]?(?:de[ _-]?)?nacimiento", rf"{_B}nacid[oa]{_B}", "data[ _-]?(?:de[ _-]?)?nascimento", rf"{_B}nascid[oa]{_B}",
        "data[ _-]?(?:di[ _-]?)?nascita", rf"{_B}nat[oa] il{_B}", "geboortedatum", "födelsedatum", rf"{_B}född{_B}", "fødselsdato", rf"{_B}født{_B}",
        "syntymäaika", "syntynyt", "data urodzenia", "urodzon", "datum narození", "narozen", "születési", "született", "data nașterii", "doğum tarihi",
        "дата рождения", "родил", "дата народження", "生年月日", "出生日期", "出生", "생년월일", "תאריך לידה", "تاريخ الميلاد", "जन्म",
        "ημερομηνία γέννησης", "ngày sinh",
    ),
    "us_ssn": (rf"{_B}ssn", "social[ _-]?sec", rf"{_B}tin{_B}", "tax[ _-]?id", "seguro social", "社会保障"),
    "au_tfn": (rf"{_B}tfn", "tax[ _-]?file"),
    "br_cpf": (rf"{_B}cpf", "cadastro de pessoa"),
    "ca_sin": (rf"{_B}sin{_B}", "social[ _-]?insurance", rf"{_B}nas{_B}", "assurance sociale"),
    "de_tax_id": ("steuer", rf"{_B}idnr", rf"{_B}tin{_B}", "tax[ _-]?id", "identifikationsnummer"),
    "dk_cpr": (rf"{_B}cpr", "personnummer"),
    "es_dni": (rf"{_B}d\.?n\.?i\.?{_B}", rf"{_B}n\.?i\.?[ef]\.?{_B}", "documento nacional"),
    "in_aadhaar": ("aadh?a+r", "uidai", rf"{_B}uid{_B}", "आधार"),
    "kr_rrn": (rf"{_B}rrn", "resident[ _-]?reg", "주민"),
    "nl_bsn": (rf"{_B}bsn", "burgerservice", rf"{_B}sofi"),
    "pl_pesel": ("pesel",),
    "pt_nif": (rf"{_B}nif{_B}", "contribuinte", rf"{_B}fiscal"),
    "se_personnummer": ("personnummer", "personnr", rf"{_B}pers.?nr", "samordning", "personal[ _-]?(?:no|num|identity)", rf"{_B}pnr{_B}"),
    "uk_nhs": (rf"{_B}nhs", "health service"),
    "uk_nino": (rf"{_B}nino{_B}", "national[ _-]?insurance", rf"{_B}ni[ _-]?(?:no|num)", "nat.? ins"),
    "za_id": (rf"{_B}(?:sa[ _-]id|rsa[ _-]?id){_B}", "identity", rf"{_B}id[ _-]?(?:no|num|nr)", "national[ _-]?id"),
}  # fmt: skip

# Between the word and the number: one line, or the next one's start.
TELLING_GAP: Final = r"[^0-9\n{}]*(?:\n[ \t>\"'(</A-Za-z:-]*)?\{?"
_GAP: Final = re.compile(rf"{TELLING_GAP}(?:[0-9][0-9]?[^0-9\n{{}}]+)?[(+]?")
# The telling word has to stand behind the last number of three digits or more; one or two are a count (`phone 2:`).
_NUMBER: Final = re.compile(r"[0-9](?:[ ./()+-]{0,3}[0-9]){2,}")
# What joins the members of a list, of which only the first has its word.
_JOINED: Final = re.compile(
    r"(?i)[\"')\]]{0,2}\s*(?:[,;/|&]|and|or|und|oder|et|ou|y|o|e|vs\.?|en|och)?\s*[\"'(\[+]{0,2}"
)
_LIST: Final = 8
# Between the word and a telephone's or card's number: it is another thing's number, or a time.
_OTHER_THINGS_TEXT: Final = (
    "order invoice ticket case version ver build release port page row line id ids uuid ref reference hash commit tracking parcel size bytes count total "
    "amount price timestamp time date ts since until created updated modified expires expire epoch serial sku isbn ean imei took orders invoices tickets "
    "bestellung rechnung auftrag commande facture pedido factura"
)
_OTHER_THINGS: Final = frozenset(_OTHER_THINGS_TEXT.split())
_NUMBERED: Final = frozenset(("phone", "call", "card"))
_NAMES: Final = re.compile(r"[_.]?[A-Za-z]+")
_OF_NUMBERS: Final = frozenset(("number", "no", "nr", "num"))


def _is_other_thing(gap: str) -> bool:
    """Whether the last word before the number says so: `call_id:`, `order no.`, `phone_updated_at`."""
    names = _NAMES.findall(gap)
    if names and names[-1].lower() in ("_at", "_on"):
        return True
    words = [name.lower().strip("_.") for name in names]
    if words and words[-1] in _OF_NUMBERS:
        words.pop()
    return bool(words) and words[-1] in _OTHER_THINGS


# The first row of a table, and how long one is at most that people read.
_DELIMITERS: Final = (",", ";", "\t", "|")
_ROW: Final = 2_048


_ANY_WORD: Final = re2.compile("(?i)" + "|".join(sorted({word for told_by in WORDS.values() for word in told_by})))
_ANY_ASCII_WORD: Final = re2.compile(_ANY_WORD.pattern.encode())
_WORD_OF: Final = {kind: re2.compile("(?i)" + "|".join(told_by)) for kind, told_by in WORDS.items()}


class TooLong(ValueError):  # noqa: N818  # as its catchers call it
    """The text is longer, or holds more of what has to be looked at, than is screened within the stated time."""


class Told:
    """The telling words of a text, and where they end; `flat` is the same text, a byte a character.  Raises: TooLong."""

    __slots__ = ("_ends", "_text")

    def __init__(self, text: str, flat: bytes) -> None:
        self._text = text
        self._ends: dict[str, list[int]] = {}
        matches = (
            _ANY_ASCII_WORD.finditer(flat)
            if text.isascii()
            else _ANY_WORD.finditer(text.encode("utf-8", "replace").decode())
        )
        for count, match in enumerate(matches):
            start, end = match.span()
            for kind in _kinds_of(text[start:end]):
                self._ends.setdefault(kind, []).append(end)
            if count > MAX_WORDS:
                raise TooLong("more telling words than are looked at")

    def has(self, kind: str) -> bool:
        """Whether the text has a word of this kind at all."""
        return kind in self._ends

    def windows(self, kind: str) -> Iterator[tuple[int, int]]:
        """The parts of the text, in order, where a word of this kind can tell a number: around each, or all of a table."""
        if kind in self._ends and self._first_row() and self._ends[kind][0] <= self._first_row():
            yield 0, len(self._text)
            return
        start = end = 0
        for word in self._ends.get(kind, ()):
            if word - _WINDOW_BEFORE > end:
                if end:
                    yield start, end
                start = max(0, word - _WINDOW_BEFORE)
            end = min(len(self._text), word + _WINDOW_BEHIND)
        if end:
            yield start, end

    def _first_row(self) -> int:
        """Where the first row of a table ends; 0 if the text is none."""
        end = self._text.find("\n", 0, _ROW)
        return end if end > 0 and any(sign in self._text[:end] for sign in _DELIMITERS) else 0

    def tells(self, kind: str, start: int, end: int) -> bool:
        """Whether a word of this kind stands before the number, with no other number between, or right behind it, or over it."""
        if kind not in self._ends:
            return False
        return self.gap(kind, start) is not None or self._is_behind(kind, end) or self._is_in_column(kind, start)

    def gap(self, kind: str, start: int) -> str | None:
        """What stands between the telling word and the number, or the list that the number is in; None if there is none."""
        for _ in range(_LIST):
            word = self._last(kind, start)
            before = self._text[max(0, start - _REACH) : start] if word is None else self._text[word:start]
            number = _last_number(before)
            if number is None:
                if word is None or not _GAP.fullmatch(before):
                    return None
                return None if kind in _NUMBERED and _is_other_thing(before) else before
            if not _JOINED.fullmatch(before, number.end()):
                return None
            start -= len(before) - number.start()
        return None

    def _last(self, kind: str, start: int) -> int | None:
        ends = self._ends.get(kind, [])
        place = bisect_right(ends, start) - 1
        return ends[place] if place >= 0 and start - ends[place] <= _REACH else None

    def _is_behind(self, kind: str, end: int) -> bool:
        """`4155550132 (mobile)`, `… is my cell`."""
        lead = _LEAD.match(self._text, end)
        if lead is None:
            return False
        ends = self._ends[kind]
        place = bisect_right(ends, lead.end())
        return (
            place < len(ends)
            and ends[place] - lead.end() <= _LONGEST_BEHIND
            and self._text[lead.end() : ends[place]].isalpha()
        )

    def _is_in_column(self, kind: str, start: int) -> bool:
        """Whether the first row of a table calls this column so."""
        text = self._text
        row = text.rfind("\n", max(0, start - _ROW), start) + 1
        first = self._first_row()
        if not row or self._ends[kind][0] > first:
            return False
        delimiter = next((sign for sign in _DELIMITERS if sign in text[:first]), None)
        if delimiter is None:
            return False
        column, place = text.count(delimiter, row, start), bisect_right(self._ends[kind], first)
        return any(text.count(delimiter, 0, end) == column for end in self._ends[kind][:place])


_LEAD: Final = re.compile(r" ?[(\[]| (?:is|was) (?:my|his|her|the|our) | = ")
_LONGEST_BEHIND: Final = 12


@lru_cache(maxsize=_REMEMBERED)
def _kinds_of(word: str) -> tuple[str, ...]:
    return tuple(kind for kind, pattern in _WORD_OF.items() if pattern.fullmatch(word))


def _last_number(text: str) -> re.Match[str] | None:
    found = None
    for found in _NUMBER.finditer(text):  # noqa: B007  # the last one
        pass
    return found
