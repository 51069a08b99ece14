"""What is asked of people, and what their answers come to.

A request for approval is a value; every change makes a new one, one revision on, and the store keeps it only where
nobody changed it meanwhile.  So that whatever races, one approval is used as often as it says, and never once more.
Pure: `Moment`s come in as parameters.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from hashlib import sha256
from typing import Final

from callgate.policy.approval import Approval, Owners, Repeat, Steps, repeat_of
from callgate.users.user_token import folded
from callgate.wire.json_strict import JsonObject, JsonValue, canonical

MAX_REASON_CHARACTERS: Final = 500
# Clocks that are kept in step differ by less.
_STEP_S: Final = 5.0
# Whoever comes by the admin socket is in this group, and nobody else is, whatever an identity provider says.
LOCAL_GROUP: Final = "local"
LOCAL_PREFIX: Final = "local:"
# Whoever runs the asking process on this machine, and the kernel does not say who: that may be anybody.
UNKNOWN_USER: Final = -1


class State(StrEnum):
    """Where a request stands.  All but the first two are its end."""

    WAITING = "waiting"
    APPROVED = "approved"
    DENIED = "denied"
    USED = "used"
    EXPIRED = "expired"
    # What it was asked for is no more: the policy is another one, or the clock was set back.
    VOID = "void"


class Verdict(StrEnum):
    """What a person says."""

    APPROVE = "approve"
    DENY = "deny"


class Means(StrEnum):
    """How a person proved who it is."""

    OIDC = "oidc"
    SOCKET = "socket"
    SLACK = "slack"


class VoteRefusal(StrEnum):
    """Why an answer does not count: stable codes, told by the admin API."""

    UNKNOWN = "approval_unknown"
    FINISHED = "approval_finished"
    EXPIRED = "approval_expired"
    POLICY_CHANGED = "policy_changed"
    # What was read is not what is asked for.
    BINDING_MISMATCH = "binding_mismatch"
    NOT_AN_APPROVER = "not_an_approver"
    OWNER = "owner_of_the_workload"
    # The same user of this machine runs the agent that asks.
    AGENTS_OWN_USER = "agents_own_user"
    ALREADY_SAID = "already_said"
    SIGN_IN_TOO_OLD = "sign_in_too_old"
    REASON_NEEDED = "reason_needed"
    REASON_TOO_LONG = "reason_too_long"
    COVER_NOT_ALLOWED = "cover_not_allowed"
    # The log takes no records, or the store no changes: then no answer counts.
    UNAVAILABLE = "approvals_unavailable"


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment by two clocks: Unix seconds, and seconds since this machine started, which nobody can set.

    `boot` tells one start of the machine from another.
    """

    wall: float
    boot: str
    since_boot: float


@dataclass(frozen=True, slots=True)
class Deadline:
    """`lasts_s` seconds from a moment.  A clock that is set back never makes it later."""

    since: Moment
    lasts_s: float

    def passed(self, now: Moment) -> bool:
        """Whether it is over; also where `now` is before its beginning."""
        elapsed = now.wall - self.since.wall
        if elapsed >= self.lasts_s or elapsed < -_STEP_S:
            return True
        return now.boot == self.since.boot and now.since_boot - self.since.since_boot >= self.lasts_s

    def left_s(self, now: Moment) -> float:
        """How much of it is left, in seconds; 0 where it is over."""
        if self.passed(now):
            return 0.0
        left = self.lasts_s - max(0.0, now.wall - self.since.wall)
        if now.boot == self.since.boot:
            left = min(left, self.lasts_s - (now.since_boot - self.since.since_boot))
        return left

    @property
    def ends(self) -> float:
        """When it ends by the wall clock, in Unix seconds."""
        return self.since.wall + self.lasts_s


@dataclass(frozen=True, slots=True)
class Person:
    """Who answers.  `name` is what policies call them; `issuer` and `subject` are their identity provider's, if any.

    `signed_in`: Unix seconds; by the socket the kernel tells anew at each request who is there.  `uid`: the user of this
    machine, for `Means.SOCKET`.
    """

    name: str
    groups: frozenset[str]
    means: Means
    signed_in: float
    issuer: str = ""
    subject: str = ""
    uid: int | None = None


@dataclass(frozen=True, slots=True)
class Binding:
    """What an approval is for; nothing else is ever let through by it.

    `arguments`: SHA-256 of their canonical form (RFC 8785), in hex, as they go to the tool server.  `definition`: the
    digest of the tool's definition, "" where it is not known.  `user`: on whose behalf, as (issuer, subject), "" for none.
    `scopes`: what the call's token says beside those that the gate writes; they can hang on what the agent says of itself,
    and, where an approval covers other calls, on what may differ in them.
    """

    caller: str
    server: str
    tool: str
    arguments: str
    definition: str
    policy: str
    user: tuple[str, str] = ("", "")
    scopes: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 over all of it, in hex."""
        return _digest(["once", self.arguments, list(self.scopes), *self._rest()])

    def standing(self, same: Sequence[Steps], arguments: JsonObject) -> str:
        """The same for all calls whose arguments at `same` are those of `arguments`; in hex."""
        values: list[JsonValue] = [[list(steps), _at(arguments, steps)] for steps in same]
        return _digest(["repeat", values, *self._rest()])

    def _rest(self) -> list[JsonValue]:
        return [self.caller, self.server, self.tool, self.definition, self.policy, list(self.user)]


@dataclass(frozen=True, slots=True)
class Before:
    """One call that the same agent made before in the same session.  `at`: Unix seconds; `reason`: "" where it was allowed."""

    at: float
    server: str
    tool: str
    decision: str
    reason: str


@dataclass(frozen=True, slots=True)
class Ask:
    """What a person is shown: who asks for what, and why a person has to agree.

    `arguments` are those that go to the tool server.  `definition`: the tool's, as JSON text; "" where it is not known.
    `why`: one sentence for each rule that asks.  `before`: what the agent did before in its session, the latest last.
    `found`: what screening found, one sentence each.  `session`, `decision` and `trace` are ids of the log.  `uid`: the
    user of this machine that runs the asking process, None for another machine.  `svid`: from when until when its
    certificate is valid, in Unix seconds.  `has_digests`: whether the log may hold digests of the arguments, which can be
    guessed; not where nothing of the call goes on record.
    """

    binding: Binding
    arguments: JsonObject
    approvals: tuple[Approval, ...]
    owners: Owners = field(default_factory=Owners)
    definition: str = ""
    why: tuple[str, ...] = ()
    found: tuple[str, ...] = ()
    before: tuple[Before, ...] = ()
    user: str = ""
    purpose: str = ""
    session: str = ""
    decision: str = ""
    trace: str = ""
    svid: tuple[float, float] = (0.0, 0.0)
    uid: int | None = None
    has_digests: bool = True

    @property
    def stands_s(self) -> int:
        """How long it can be decided on and used, in seconds."""
        return min(approval.stands_s for approval in self.approvals)

    @property
    def repeat(self) -> Repeat | None:
        """What an approval may cover beyond this call."""
        return repeat_of(self.approvals)


@dataclass(frozen=True, slots=True)
class Cover:
    """What an approver lets through: `calls` calls within `lasts_s` seconds that agree in what the policy says."""

    calls: int
    lasts_s: int


@dataclass(frozen=True, slots=True)
class Vote:
    """One answer.  `cover` is None for this call alone.  `at`: Unix seconds."""

    person: Person
    verdict: Verdict
    reason: str
    at: float
    cover: Cover | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One request for approval, as it stands.

    `id`: 32 hex digits, no secret.  `key`: what a call must come to in order to use it.  `deadline`: until when it can be
    decided on and used.  `calls`: how many it lets through once it is approved, `used` how many it did.  `seen` are the
    names of those who looked at it.  `ended`: when it came to its end, and `asks` how often it was asked for.
    `revision` grows by one with every change.
    """

    id: str
    ask: Ask
    asked: Moment
    key: str
    deadline: Deadline
    state: State = State.WAITING
    votes: tuple[Vote, ...] = ()
    calls: int = 1
    used: int = 0
    seen: tuple[str, ...] = ()
    ended: Moment | None = None
    asks: int = 1
    revision: int = 0

    @property
    def is_open(self) -> bool:
        """Whether it can still let a call through."""
        return self.state in {State.WAITING, State.APPROVED}

    @property
    def denial(self) -> Vote | None:
        """Who denied it."""
        return next((vote for vote in self.votes if vote.verdict is Verdict.DENY), None)


def new_request(id_: str, ask: Ask, now: Moment) -> Request:
    """A request that nobody has looked at."""
    return Request(id_, ask, now, _key(ask.binding.digest, ask.approvals), Deadline(now, ask.stands_s))


def keys_of(binding: Binding, arguments: JsonObject, approvals: tuple[Approval, ...]) -> tuple[str, ...]:
    """What an approval's `key` may be, so that this call can use it.

    `approvals`: what people have to agree to for this very call.  The same call can need more people at another time, and
    one with other arguments, which an approval covers otherwise, too: those who agreed did not agree for them.
    """
    repeat = repeat_of(approvals)
    digests = (binding.digest, *((binding.standing(repeat.same, arguments),) if repeat else ()))
    return tuple(_key(digest, approvals) for digest in digests)


def settled(request: Request, now: Moment, policy: str) -> Request:
    """The request as it stands at `now` under that policy: what is over has ended, one revision on; else the same."""
    if not request.is_open:
        return request
    if request.ask.binding.policy != policy:
        return _ended(request, State.VOID, now)
    return _ended(request, State.EXPIRED, now) if request.deadline.passed(now) else request


def voted(request: Request, vote: Vote, now: Moment, policy: str) -> Request | VoteRefusal:
    """What an answer comes to.

    One denial denies, also what was approved and is not used up; an approval counts for each grant whose approver the
    person is.
    """
    refusal = _refused(request, vote, now, policy)
    if refusal is not None:
        return refusal
    after = replace(request, votes=(*request.votes, vote), revision=request.revision + 1)
    if vote.verdict is Verdict.DENY:
        return replace(after, state=State.DENIED, ended=now)
    return _approved(after, now) if missing(after) == 0 else after


def missing(request: Request) -> int:
    """How many more people have to agree, at least."""
    lacks = (approval.needed - len(_agreeing(request, approval)) for approval in request.ask.approvals)
    return max(0, *lacks)


def may_answer(request: Request, person: Person, verdict: Verdict) -> VoteRefusal | None:
    """Whether this person's answer can count at all, whatever else is wrong; None where it can."""
    concerned = [approval for approval in request.ask.approvals if is_named(approval, person)]
    if not concerned:
        return VoteRefusal.NOT_AN_APPROVER
    if person.uid is not None and request.ask.uid in {person.uid, UNKNOWN_USER}:
        return VoteRefusal.AGENTS_OWN_USER
    if verdict is Verdict.APPROVE and any(each.four_eyes for each in request.ask.approvals):
        owners = request.ask.owners
        # Providers write names as people typed them; who refuses by a name takes all spellings of it.
        is_owner = folded(person.name) in set(map(folded, owners.people))
        if is_owner or not owners.groups.isdisjoint(person.groups):
            return VoteRefusal.OWNER
    return None


def is_named(approval: Approval, person: Person) -> bool:
    """Whether the policy names this person for that approval."""
    return person.name in approval.people or not approval.groups.isdisjoint(person.groups)


def used_once(request: Request, now: Moment, policy: str) -> Request | None:
    """The same with one use more; None where it lets nothing through at `now`."""
    if request.state is not State.APPROVED or settled(request, now, policy) is not request:
        return None
    used = request.used + 1
    after = replace(request, used=used, revision=request.revision + 1)
    return replace(after, state=State.USED, ended=now) if used >= request.calls else after


def looked_at(request: Request, name: str) -> Request:
    """The same, seen by one more person."""
    return replace(request, seen=(*request.seen, name), revision=request.revision + 1)


def asked_again(request: Request) -> Request:
    """The same, asked for once more."""
    return replace(request, asks=request.asks + 1, revision=request.revision + 1)


def _refused(request: Request, vote: Vote, now: Moment, policy: str) -> VoteRefusal | None:  # noqa: PLR0911  # a table
    person = vote.person
    refusal = may_answer(request, person, vote.verdict)
    if refusal is not None:
        return refusal
    if request.ask.binding.policy != policy or request.state is State.VOID:
        return VoteRefusal.POLICY_CHANGED
    if request.state is State.EXPIRED or (request.is_open and request.deadline.passed(now)):
        return VoteRefusal.EXPIRED
    # What was approved and not used yet can be denied after all, also by who agreed.
    if request.state is not State.WAITING and not (request.state is State.APPROVED and vote.verdict is Verdict.DENY):
        return VoteRefusal.FINISHED
    if any(_is_same(said.person, person) and said.verdict is vote.verdict for said in request.votes):
        return VoteRefusal.ALREADY_SAID
    if len(vote.reason) > MAX_REASON_CHARACTERS:
        return VoteRefusal.REASON_TOO_LONG
    return _approval_refused(request, vote, now) if vote.verdict is Verdict.APPROVE else None


def _approval_refused(request: Request, vote: Vote, now: Moment) -> VoteRefusal | None:
    approvals = request.ask.approvals
    if any(each.needs_reason for each in approvals) and not vote.reason.strip():
        return VoteRefusal.REASON_NEEDED
    oldest = min((each.sign_in_s for each in approvals if each.sign_in_s is not None), default=None)
    age_s = now.wall - vote.person.signed_in
    # By a clock that was set back, a sign-in of the future: how old it is cannot be told.
    if oldest is not None and not -_STEP_S <= age_s <= oldest:
        return VoteRefusal.SIGN_IN_TOO_OLD
    repeat = request.ask.repeat
    if vote.cover is not None and not (
        repeat is not None and 1 <= vote.cover.calls <= repeat.calls and 1 <= vote.cover.lasts_s <= repeat.lasts_s
    ):
        return VoteRefusal.COVER_NOT_ALLOWED
    return None


def _is_same(one: Person, other: Person) -> bool:
    """Also under another name: people may change what their provider calls them, and its subject stays (OIDC Core, 2)."""
    has_account = one.issuer and one.subject
    return one.name == other.name or bool(has_account and (one.issuer, one.subject) == (other.issuer, other.subject))


def _agreeing(request: Request, approval: Approval) -> frozenset[str]:
    """The names of those who agreed and whom this approval names."""
    approving = (vote.person for vote in request.votes if vote.verdict is Verdict.APPROVE)
    return frozenset(person.name for person in approving if is_named(approval, person))


def _approved(request: Request, now: Moment) -> Request:
    """As few calls, and for as short, as any of those who agreed said."""
    covers = [vote.cover for vote in request.votes if vote.verdict is Verdict.APPROVE]
    wide = [cover for cover in covers if cover is not None]
    repeat = request.ask.repeat
    if repeat is None or len(wide) < len(covers):
        return replace(request, state=State.APPROVED)
    return replace(
        request,
        state=State.APPROVED,
        key=_key(request.ask.binding.standing(repeat.same, request.ask.arguments), request.ask.approvals),
        calls=min(cover.calls for cover in wide),
        deadline=Deadline(now, min(cover.lasts_s for cover in wide)),
    )


def _ended(request: Request, state: State, now: Moment) -> Request:
    return replace(request, state=state, ended=now, revision=request.revision + 1)


def _key(digest: str, approvals: tuple[Approval, ...]) -> str:
    """`digest` binds the policy, and with it what each of these grants says."""
    rules: list[JsonValue] = [approval.rule for approval in approvals]
    return _digest(["terms", digest, rules])


def _at(arguments: JsonObject, steps: Steps) -> JsonValue:
    """What stands there, in a list of its own so that nothing is another thing than null."""
    found: JsonValue = arguments
    for step in steps:
        if isinstance(found, dict) and isinstance(step, str):
            if step not in found:
                return []
            found = found[step]
            continue
        if not isinstance(found, list) or not isinstance(step, int) or not 0 <= step < len(found):
            return []
        found = found[step]
    return [found]


def _digest(value: list[JsonValue]) -> str:
    return sha256(canonical(value)).hexdigest()
