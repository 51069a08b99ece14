"""What a posted form of the pages says, read strictly: whatever the pages do not send is unreadable."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from callgate.approvals.model import Cover, Verdict
from callgate.approvals.site.views import MAX_DENIED_AT_ONCE

ID: Final = re.compile(r"[0-9a-f]{32}")
_BINDING: Final = re.compile(r"[0-9a-f]{64}")
_CHOSEN: Final = re.compile(r"([0-9a-f]{32})\.([0-9a-f]{64})")
# What a number field may say; what it may come to is the policy's.
_NUMBER: Final = re.compile(r"[0-9]{1,6}")


@dataclass(frozen=True, slots=True)
class Typed:
    """What stood in the form's fields, so that it stands there again."""

    reason: str = ""
    cover: str = "once"
    cover_calls: str = ""
    cover_minutes: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, to what has that binding; `cover` is None for this call alone."""

    binding: str
    verdict: Verdict
    cover: Cover | None
    typed: Typed


def answer_of(fields: Mapping[str, str], longest_s: int | None) -> Answer | None:
    """The answer in a form; None where it is none.

    `longest_s`: what the policy lets an approval cover, in seconds.  A limit below whole minutes is said as a minute
    more, and is kept to here.
    """
    typed = typed_of(fields)
    binding, verdict = fields.get("binding", ""), fields.get("verdict")
    if not _BINDING.fullmatch(binding) or verdict not in set(Verdict) or typed.cover not in {"once", "repeat"}:
        return None
    if typed.cover == "once" or verdict == Verdict.DENY:
        return Answer(binding, Verdict(verdict), None, typed)
    if not _NUMBER.fullmatch(typed.cover_calls) or not _NUMBER.fullmatch(typed.cover_minutes):
        return None
    lasts_s = int(typed.cover_minutes) * 60
    if longest_s is not None and longest_s < 60 and lasts_s == 60:
        lasts_s = longest_s
    return Answer(binding, Verdict(verdict), Cover(int(typed.cover_calls), lasts_s), typed)


def typed_of(fields: Mapping[str, str]) -> Typed:
    """What stood in the form's fields."""
    names = ("reason", "cover", "cover_calls", "cover_minutes")
    return Typed(**{name: fields[name] for name in names if name in fields})


def chosen_of(fields: Mapping[str, str]) -> Mapping[str, str] | None:
    """The bindings of the requests that a form is about, by their ids; None where it says none, or too many."""
    words = fields.get("chosen", "").split(" ")
    found = [_CHOSEN.fullmatch(word) for word in words]
    if len(words) > MAX_DENIED_AT_ONCE or not all(found):
        return None
    return {each[1]: each[2] for each in found if each is not None}
