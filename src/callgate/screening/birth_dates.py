"""Dates of birth: a date beside a word that tells it."""

import re
from typing import Final

from callgate.screening.seeking import Rule, Span
from callgate.screening.views import View

_RANK: Final = 50

# Names of members, lower case, without `_`, `-` and blanks.
BIRTH_DATE_KEYS: Final = frozenset(
    {
        "dob", "dateofbirth", "birthdate", "birthday", "bday", "born", "bornon", "birth", "birthdt", "dobdate", "patientdob", "birthdatetime", "dayofbirth",
        "userdob", "customerdob", "memberdob", "bdate", "birthtime", "yearofbirth", "birthyear",
        "geburtsdatum", "gebdatum", "geburtstag", "geburt", "gebdat", "geboren", "geborenam",
        "datenaissance", "datedenaissance", "naissance", "ddn", "fechanacimiento", "fechadenacimiento", "nacimiento", "fnac",
        "datanascimento", "datadenascimento", "nascimento", "datanascita", "datadinascita", "nascita", "geboortedatum",
        "fodelsedatum", "födelsedatum", "fodselsdato", "fødselsdato", "fodselsdag", "fødselsdag", "syntymäaika", "syntymaaika",
        "dataurodzenia", "datanarozeni", "datumnarozeni", "datumnarození", "datanasterii", "szuletesidatum", "születésidátum",
        "dogumtarihi", "doğumtarihi", "датарождения", "деньрождения", "датанародження", "生年月日", "出生日期", "出生年月日",
        "出生年月", "생년월일", "생일", "תאריךלידה", "تاريخالميلاد", "जन्मतिथि", "ημερομηνιαγεννησησ", "ngaysinh", "ngàysinh",
    }
)  # fmt: skip


def _births(view: View, start: int, end: int) -> Span | None:
    gap = view.told.gap("birth_date", start)
    is_told = _GAP.fullmatch(gap) if gap is not None else view.told.tells("birth_date", start, end)
    return (start, end) if is_told and _is_day(view.text[start:end]) else None


# Between the word and the date: signs, and at most three short words.
_GAP: Final = re.compile(r"_?[^\W\d]{0,12}(?:[^\w\n]{1,6}[^\W\d]{1,12}){0,2}[^\w\n]{0,8}\n?[^\w\n]{0,8}")


def _is_day(said: str) -> bool:
    numbers = [int(number) for number in re.findall("[0-9]+", said)]
    if said.isdigit():
        return any(
            _is_calendar(said[a : a + 4], said[b : b + 2], said[c : c + 2])
            for a, b, c in ((0, 4, 6), (4, 2, 0), (4, 0, 2))
        )
    return all(number <= 31 or 1880 <= number <= 2100 or 32 <= number <= 99 for number in numbers)


def _is_calendar(year: str, month: str, day: str) -> bool:
    return 1880 <= int(year) <= 2100 and 1 <= int(month) <= 12 and 1 <= int(day) <= 31


_FORM: Final = (
    r"\b(?:[0-9]{4}[ ]?[./\xfe\xff-][ ]?[0-9]{1,2}[ ]?[./\xfe\xff-][ ]?[0-9]{1,2}"
    r"|[0-9]{1,2}[ ]?[./-][ ]?[0-9]{1,2}[ ]?[./-][ ]?(?:[0-9]{4}|[0-9]{2})"
    r"|[0-9]{8}"
    r"|[0-9]{1,2}(?:st|nd|rd|th|\.|\xfe)?[ /.-](?:of |de )?[A-Za-z\xff]{3,10}\.?,?[ /.-](?:de |del )?[0-9]{4}"
    r"|[A-Za-z\xff]{3,10}\.? [0-9]{1,2}(?:st|nd|rd|th)?,? [0-9]{4}"
    r"|[0-9]{1,2} [0-9]{1,2} (?:19|20)[0-9]{2})(?:\xff|\b)"
)
RULES: Final = (Rule("birth_date", _FORM, _births, _RANK, is_numeric=True, told_by="birth_date"),)
