"""National identifiers: by their form and check digits, and by a telling word where those alone are too weak."""

import re
from collections.abc import Callable
from typing import Final

from callgate.screening.checks import ean, iso7064_mod11_10, luhn, verhoeff, weighted
from callgate.screening.seeking import Check, Rule, Span
from callgate.screening.views import View

# Below cards and accounts, above telephone numbers.
_RANK: Final = 35
_SSN_RANK: Final = 32
_DIGIT: Final = re.compile("[0-9]")
_ALNUM: Final = re.compile("[0-9A-Za-z]")


def _plain(text: str) -> str:
    return "".join(_ALNUM.findall(text)).upper()


def _is_date(year: int, month: int, day: int) -> bool:
    """A day of the calendar, near enough; the year only where its century is said."""
    return 1 <= month <= 12 and 1 <= day <= 31 and (year < 100 or 1850 <= year <= 2099)


def _yymmdd(digits: str) -> bool:
    return _is_date(int(digits[:2]), int(digits[2:4]), int(digits[4:6]))


def _ddmmyy(digits: str) -> bool:
    return _is_date(int(digits[4:6]), int(digits[2:4]), int(digits[:2]))


def _is_us_ssn(said: str) -> bool:
    """SSA, POMS RM 10201.035: no area 000, 666 or above 899, no group 00, no serial 0000; two that were printed on cards."""
    return (
        said[:3] not in ("000", "666")
        and said[0] != "9"
        and said[3:5] != "00"
        and said[5:] != "0000"
        and said not in ("078051120", "219099999")
    )


def _is_au_tfn(said: str) -> bool:
    return weighted(said, (1, 4, 3, 7, 5, 8, 6, 9, 10)) % 11 == 0


def _is_br_cpf(said: str) -> bool:
    """Receita Federal: two check digits, MOD 11; all digits alike are none."""
    first = weighted(said, range(10, 1, -1)) * 10 % 11 % 10
    second = weighted(said, range(11, 1, -1)) * 10 % 11 % 10
    return said[9:] == f"{first}{second}" and len(set(said)) > 1


def _is_ca_sin(said: str) -> bool:
    return said[0] not in "08" and luhn(said)


def _is_ch_ahv(said: str) -> bool:
    return said.startswith("756") and ean(said)


def _is_cn_ric(said: str) -> bool:
    """GB 11643-1999: date of birth, ISO 7064 MOD 11-2."""
    check = "10X98765432"[weighted(said[:17], (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)) % 11]
    return _is_date(int(said[6:10]), int(said[10:12]), int(said[12:14])) and said[17] == check


def _is_de_tax_id(said: str) -> bool:
    """§ 139b AO: of the first ten digits one is there twice or thrice, and ISO 7064 MOD 11,10 holds."""
    most = max(said[:10].count(digit) for digit in said[:10])
    return said[0] != "0" and most in (2, 3) and len(set(said[:10])) in (8, 9) and iso7064_mod11_10(said)


def _is_dk_cpr(said: str) -> bool:
    return _ddmmyy(said)


def _is_es_dni(said: str) -> bool:
    """Real Decreto 1553/2005; NIE: X, Y, Z stand for 0, 1, 2."""
    number = said[:-1].translate(str.maketrans("XYZ", "012"))
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23] == said[-1]


def _is_fi_hetu(said: str) -> bool:
    digits = said[:6] + said[7:10]
    return _ddmmyy(said) and "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(digits) % 31] == said[10]


def _is_fr_nir(said: str) -> bool:
    """INSEE: key 97 - n mod 97; Corsica's departments 2A and 2B count as 19 and 18."""
    number = said[:13].replace("2A", "19").replace("2B", "18")
    month = int(said[3:5])
    return (1 <= month <= 12 or 20 <= month <= 42 or month >= 50) and 97 - int(number) % 97 == int(said[13:])


def _is_in_aadhaar(said: str) -> bool:
    return said[0] not in "01" and verhoeff(said)


def _is_it_codice_fiscale(said: str) -> bool:
    """DM 23/12/1976: values of the odd places by table, of the even ones by order."""
    odd = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)
    places = [int(character) if character.isdigit() else ord(character) - 65 for character in said[:15]]
    total = sum(odd[place] if index % 2 == 0 else place for index, place in enumerate(places))
    return chr(65 + total % 26) == said[15]


def _is_kr_rrn(said: str) -> bool:
    """Resident Registration Act: the check digit holds for numbers given before October 2020, the date for all."""
    return _yymmdd(said) and said[6] in "12345678"


def _is_nl_bsn(said: str) -> bool:
    return weighted(said, (9, 8, 7, 6, 5, 4, 3, 2, -1)) % 11 == 0 and len(set(said)) > 1


def _is_no_fnr(said: str) -> bool:
    """Skatteetaten: two check digits, MOD 11; D numbers add 4 to the day, H numbers 4 to the month."""
    day, month = int(said[:2]) % 40, int(said[2:4]) % 40
    holds = (
        weighted(said, (3, 7, 6, 1, 8, 9, 4, 5, 2, 1)) % 11 == 0
        and weighted(said, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1)) % 11 == 0
    )
    return _is_date(0, month, day) and holds


def _is_pl_pesel(said: str) -> bool:
    month = int(said[2:4]) % 20
    return _is_date(0, month, int(said[4:6])) and weighted(said, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)) % 10 == 0


def _is_pt_nif(said: str) -> bool:
    check = 11 - weighted(said[:8], range(9, 1, -1)) % 11
    return said[0] in "1235689" and int(said[8]) == (0 if check > 9 else check)


def _is_se_personnummer(said: str) -> bool:
    """Skatteverket: Luhn over ten digits; co-ordination numbers add 60 to the day."""
    short = said[-10:]
    return _is_date(0, int(short[2:4]), int(short[4:6]) % 60) and luhn(short)


def _is_uk_nhs(said: str) -> bool:
    check = 11 - weighted(said[:9], range(10, 1, -1)) % 11
    return int(said[9]) == check % 11 and len(set(said)) > 1


def _is_uk_nino(said: str) -> bool:
    """HMRC, NIM39110: letters that are not used, and prefixes that are not given."""
    return (
        said[0] not in "DFIQUV"
        and said[1] not in "DFIQUVO"
        and said[:2] not in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ")
    )


def _is_za_id(said: str) -> bool:
    return _yymmdd(said) and said[10] in "012" and luhn(said)


def _stands_alone(view: View, start: int, end: int) -> bool:
    """Whether no further letter or digit hangs on it by a sign."""
    before, behind = view.before(start, 2), view.text[end : end + 2]
    hangs = re.search(r"[0-9][./-]\Z", before) or re.match(r"[./-][0-9]", behind)
    return not hangs and not view.is_in_uuid(start, end)


def _check(entity: str, holds: Callable[[str], bool], *, has_to_be_told: bool) -> Check:
    def check(view: View, start: int, end: int) -> Span | None:
        said = view.text[start:end]
        if not _stands_alone(view, start, end) or not _is_even(said) or not holds(_kept(entity, said)):
            return None
        if has_to_be_told and not view.told.tells(entity, start, end):
            return None
        return start, end

    return check


def _kept(entity: str, said: str) -> str:
    """The Finnish sign tells the century and is part of the number; others' signs are not."""
    return said.upper() if entity == "fi_hetu" else _plain(said)


def _is_even(said: str) -> bool:
    """Whether the signs between groups are all the same one, but for CPF's and AHV's own."""
    signs = set(re.findall("[^0-9A-Za-z]+", said))
    return len(signs) <= 1 or bool(re.fullmatch(r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", said))


def _rule(entity: str, form: str, holds: Callable[[str], bool], *, told: bool = False) -> Rule:
    rank = _SSN_RANK if entity == "us_ssn" else _RANK
    check = _check(entity, holds, has_to_be_told=told)
    return Rule(entity, rf"\b{form}\b", check, rank, is_numeric=True, told_by=entity if told else "")


_S: Final = "[ .-]?"
# Those that are told apart by form and check digits alone, then those that a word has to tell.
RULES: Final = (
    _rule("us_ssn", "[0-8][0-9]{2}(?:[ .-]| - )[0-9]{2}(?:[ .-]| - )[0-9]{4}", _is_us_ssn),
    _rule("br_cpf", r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", _is_br_cpf),
    _rule("ch_ahv", r"756(?:\.[0-9]{4}\.[0-9]{4}\.[0-9]{2}| [0-9]{4} [0-9]{4} [0-9]{2}|[0-9]{10})", _is_ch_ahv),
    _rule("cn_ric", "[1-8][0-9]{5}(?:18|19|20)[0-9]{2}[01][0-9][0-3][0-9]{4}[0-9Xx]", _is_cn_ric),
    _rule("fi_hetu", "[0-3][0-9][01][0-9]{3}[A-FU-Y+-][0-9]{3}[0-9A-Y]", _is_fi_hetu),
    _rule("fr_nir", "[1-478] ?[0-9]{2} ?[0-9]{2} ?(?:[0-9]{2}|2[ABab]) ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}", _is_fr_nir),
    _rule(
        "it_codice_fiscale",
        "(?i:[A-Z]{3} ?[A-Z]{3} ?[0-9LMNP-V]{2}[ABCDEHLMPRST][0-9LMNP-V]{2} ?[A-Z][0-9LMNP-V]{3}[A-Z])",
        _is_it_codice_fiscale,
    ),
    _rule("kr_rrn", "[0-9]{2}[01][0-9][0-3][0-9]-[1-8][0-9]{6}", _is_kr_rrn),
    _rule("no_fnr", "[0-7][0-9][0-9]{4} ?[0-9]{5}", _is_no_fnr),
    _rule("uk_nino", "[A-Z]{2} [0-9]{2} [0-9]{2} [0-9]{2} [A-D]", _is_uk_nino),
)
TOLD: Final = (
    _rule("us_ssn", "[0-8][0-9]{8}", _is_us_ssn, told=True),
    _rule("au_tfn", f"[0-9]{{3}}{_S}[0-9]{{3}}{_S}[0-9]{{3}}", _is_au_tfn, told=True),
    _rule("br_cpf", "[0-9]{9}-?[0-9]{2}", _is_br_cpf, told=True),
    _rule("ca_sin", f"[1-79][0-9]{{2}}{_S}[0-9]{{3}}{_S}[0-9]{{3}}", _is_ca_sin, told=True),
    _rule("de_tax_id", "[1-9][0-9] ?[0-9]{3} ?[0-9]{3} ?[0-9]{3}", _is_de_tax_id, told=True),
    _rule("dk_cpr", "[0-3][0-9][01][0-9]{3}[ -]?[0-9]{4}", _is_dk_cpr, told=True),
    _rule(
        "es_dni",
        r"(?i:[0-9]{8}|[XYZ]-?[0-9]{7}|[0-9]{2}\.[0-9]{3}\.[0-9]{3})[ -]?(?i:[A-HJ-NP-TV-Z])",
        _is_es_dni,
        told=True,
    ),
    _rule("in_aadhaar", f"[2-9][0-9]{{3}}{_S}[0-9]{{4}}{_S}[0-9]{{4}}", _is_in_aadhaar, told=True),
    _rule("kr_rrn", "[0-9]{2}[01][0-9][0-3][0-9][1-8][0-9]{6}", _is_kr_rrn, told=True),
    _rule(
        "nl_bsn",
        f"[0-9]{{3,4}}{_S}[0-9]{{2,3}}{_S}[0-9]{{3}}",
        lambda said: len(said) == 9 and _is_nl_bsn(said),
        told=True,
    ),
    _rule("pl_pesel", "[0-9]{11}", _is_pl_pesel, told=True),
    _rule("pt_nif", "[0-9]{3} ?[0-9]{3} ?[0-9]{3}", _is_pt_nif, told=True),
    _rule("se_personnummer", "(?:[0-9]{2})?[0-9]{6}[+-]?[0-9]{4}", _is_se_personnummer, told=True),
    _rule("uk_nhs", "[0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{4}", _is_uk_nhs, told=True),
    _rule("uk_nino", "(?i:[A-Z]{2}[ -]?[0-9]{2}[ -]?[0-9]{2}[ -]?[0-9]{2}[ -]?[A-D])", _is_uk_nino, told=True),
    _rule("za_id", "[0-9]{6} ?[0-9]{4} ?[0-9]{2} ?[0-9]", lambda said: len(said) == 13 and _is_za_id(said), told=True),
)
