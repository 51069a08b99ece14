"""What a policy file says of approvals: who has to agree to a call, and who answers for the workload that asks."""

from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from callgate.policy.approval import DEFAULT_STANDS_S, DEFAULT_WAITS_S, Approval, Repeat
from callgate.policy.mask_entries import Place, steps_of
from callgate.yaml_model import Items, LongSeconds, Seconds, StrictModel, seconds_from_zero, text_form

# As names of users in rules: an address or an identity provider's subject.
MAX_PERSON_CHARACTERS: Final = 512
# As many as a rule has patterns; who are more are a group.
MAX_PEOPLE: Final = 1_000
# A call for which more have to agree wants a meeting.
MAX_NEEDED: Final = 10
# Shorter, and nobody has read it; longer, and nobody remembers why it was asked.
MIN_STANDS_S: Final = 60
MAX_STANDS_S: Final = 7 * 24 * 3600
# Of the 15 minutes after which the connections of many proxies are cut; a client asks again later.
MAX_WAITS_S: Final = 600
# Shorter, and no page is read before it is over; longer, and it is a session.
MIN_SIGN_IN_S: Final = 60
MAX_SIGN_IN_S: Final = 24 * 3600
# What is covered for longer than a day, or more often, is a grant.
MAX_REPEAT_S: Final = 24 * 3600
MAX_REPEAT_CALLS: Final = 1_000
# Each is read on each call.
MAX_SAME: Final = 32

# Whoever comes by the admin socket is in this group and has a name of this form (`callgate.approvals.model`).
LOCAL_GROUP: Final = "local"
LOCAL_PREFIX: Final = "local:"
_AGENT: Final = "spiffe://"


def _check_name(text: str) -> str:
    if text != text.strip() or not text.isprintable():
        raise ValueError("must be one line of printable characters, without spaces around them")
    return text


def _check_person(text: str) -> str:
    if text.lower().startswith(_AGENT):
        raise ValueError(f"must be people: '{_AGENT}…' is a workload, and an agent can never approve")
    return _check_name(text)


def _check_stands(seconds: int) -> int:
    if not MIN_STANDS_S <= seconds <= MAX_STANDS_S:
        raise ValueError(f"must be from {MIN_STANDS_S // 60}m to {MAX_STANDS_S // (24 * 3600)}d")
    return seconds


def _check_waits(seconds: int) -> int:
    if seconds > MAX_WAITS_S:
        raise ValueError(f"must be at most {MAX_WAITS_S // 60}m: after it, the agent sends the same call again")
    return seconds


def _check_sign_in(seconds: int) -> int:
    if not MIN_SIGN_IN_S <= seconds <= MAX_SIGN_IN_S:
        raise ValueError(f"must be from {MIN_SIGN_IN_S // 60}m to {MAX_SIGN_IN_S // 3600}h")
    return seconds


def _check_repeat(seconds: int) -> int:
    if seconds > MAX_REPEAT_S:
        raise ValueError(f"must be at most {MAX_REPEAT_S // 3600}h")
    return seconds


_NAME_FORM: Final = r"\S(?:.*\S)?"
Person = Annotated[
    str,
    Field(min_length=1, max_length=MAX_PERSON_CHARACTERS),
    AfterValidator(_check_person),
    text_form(rf"(?![sS][pP][iI][fF][fF][eE]://){_NAME_FORM}", "carol@acme.test", "local:ada"),
]
Group = Annotated[
    str,
    Field(min_length=1, max_length=MAX_PERSON_CHARACTERS),
    AfterValidator(_check_name),
    text_form(_NAME_FORM, "payments-leads", "local"),
]
StandsSeconds = Annotated[LongSeconds, AfterValidator(_check_stands)]
WaitsSeconds = Annotated[
    int,
    BeforeValidator(seconds_from_zero),
    AfterValidator(_check_waits),
    text_form("0s|[1-9][0-9]{0,6}[smh]", "30s", "0s"),
]
SignInSeconds = Annotated[Seconds, AfterValidator(_check_sign_in)]
RepeatSeconds = Annotated[Seconds, AfterValidator(_check_repeat)]
People = Annotated[Items[Person], Field(min_length=1, max_length=MAX_PEOPLE)]
Groups = Annotated[Items[Group], Field(min_length=1, max_length=MAX_PEOPLE)]

_GROUPS_OR_PEOPLE: Final = ConfigDict(json_schema_extra={"anyOf": [{"required": ["groups"]}, {"required": ["people"]}]})


class RepeatEntry(StrictModel):
    """What one approval may cover beyond one call; whoever approves may say so, and need not.

    `same`: arguments, by name or by JSON pointer, that have to be as they were.  Without it, any.
    """

    same: Items[Place] = Field(default=(), max_length=MAX_SAME)
    lasts_s: RepeatSeconds = Field(alias="for")
    calls: int = Field(ge=1, le=MAX_REPEAT_CALLS)


class ApprovalEntry(StrictModel):
    """Who has to agree to each call, and for how long they are asked.

    Whoever is in one of `groups` or is one of `people` may agree, and `needed` of them have to.  Without `sign_in` it
    does not matter when they signed in.
    """

    model_config = _GROUPS_OR_PEOPLE

    groups: Groups | None = None
    people: People | None = None
    needed: int = Field(default=1, ge=1, le=MAX_NEEDED)
    stands_s: StandsSeconds = Field(default=DEFAULT_STANDS_S, alias="stands")
    waits_s: WaitsSeconds = Field(default=DEFAULT_WAITS_S, alias="waits")
    reason: Literal["optional", "required"] = "optional"
    four_eyes: bool = False
    sign_in_s: SignInSeconds | None = Field(default=None, alias="sign_in")
    repeat: RepeatEntry | None = None
    asks: Literal["always", "on_hold"] = "always"

    @model_validator(mode="after")
    def _can_be_met(self) -> Self:
        if self.groups is None and self.people is None:
            raise ValueError("must have 'groups' or 'people': somebody has to be asked")
        people = len(set(self.people or ()))
        if self.groups is None and self.needed > people:
            raise ValueError(f"needs {self.needed} who agree and names {people}, so that it could never be given")
        if self.waits_s > self.stands_s:
            raise ValueError("must not let a call wait ('waits') for longer than the request stands ('stands')")
        return self


class OwnedEntry(StrictModel):
    """Who answers for workloads: the people and groups that an approval with `four_eyes` does not count."""

    model_config = _GROUPS_OR_PEOPLE

    people: People | None = None
    groups: Groups | None = None

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if self.groups is None and self.people is None:
            raise ValueError("must have 'groups' or 'people': an owner is somebody")
        return self


def compiled_approval(rule: str, entry: ApprovalEntry) -> Approval:
    """What the grant of that id obliges to."""
    return Approval(
        rule=rule,
        groups=frozenset(entry.groups or ()),
        people=frozenset(entry.people or ()),
        needed=entry.needed,
        stands_s=entry.stands_s,
        waits_s=entry.waits_s,
        needs_reason=entry.reason == "required",
        four_eyes=entry.four_eyes,
        sign_in_s=entry.sign_in_s,
        repeat=_repeat(entry.repeat) if entry.repeat else None,
        only_held=entry.asks == "on_hold",
    )


def _repeat(entry: RepeatEntry) -> Repeat:
    return Repeat(tuple(dict.fromkeys(map(steps_of, entry.same))), entry.lasts_s, entry.calls)
