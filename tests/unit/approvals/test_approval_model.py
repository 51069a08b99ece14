"""What people's answers come to, whatever races and whatever the clock does."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.approvals.model import (
    MAX_REASON_CHARACTERS,
    Binding,
    Cover,
    Deadline,
    Means,
    Moment,
    Person,
    Request,
    State,
    Verdict,
    Vote,
    VoteRefusal,
    asked_again,
    keys_of,
    looked_at,
    may_answer,
    missing,
    settled,
    used_once,
    voted,
)
from callgate.policy.approval import Approval, Owners, Repeat
from support.approval_values import (
    ARGUMENTS,
    NOW,
    POLICY,
    REFUNDS,
    REPEAT,
    after,
    ask_of,
    binding_of,
    person_of,
    request_of,
    vote_of,
    with_repeat,
)

OTHER_POLICY = "1" * 64
DENY = Verdict.DENY
CAROL = person_of("carol@acme.test", "nobody")
BOB = person_of("bob@acme.test")
# What a clock on the wall may do at each look: run, stand, leap forward, fall back.
leaps = st.floats(-86_400, 86_400)


def decided(request: Request, *votes: Vote, now: Moment = NOW) -> Request:
    for vote in votes:
        found = voted(request, vote, now, POLICY)
        assert isinstance(found, Request), found
        request = found
    return request


def approved(request: Request | None = None) -> Request:
    return decided(request or request_of(), vote_of())


# The binding.


@pytest.mark.parametrize(
    "other",
    [
        replace(binding_of(), caller="other"),
        replace(binding_of(), server="other"),
        replace(binding_of(), tool="other"),
        replace(binding_of(), definition="other"),
        replace(binding_of(), policy="other"),
        replace(binding_of(), user=("https://idp.acme.test", "alice")),
    ],
    ids=["caller", "server", "tool", "definition", "policy", "user"],
)
def test_a_binding_of_anything_else_is_another_one_for_once_and_for_repeats(other: Binding) -> None:
    binding = binding_of()
    assert other.digest != binding.digest
    assert other.standing(REPEAT.same, ARGUMENTS) != binding.standing(REPEAT.same, ARGUMENTS)


def test_a_binding_of_other_arguments_is_another_one() -> None:
    assert binding_of({**ARGUMENTS, "amount": 900.51}).digest != binding_of().digest


def test_users_of_the_same_name_at_two_issuers_are_two() -> None:
    one = replace(binding_of(), user=("https://idp.acme.test", "alice"))
    assert one.digest != replace(one, user=("https://idp.partner.test", "alice")).digest


def test_nothing_moves_from_one_field_of_a_binding_into_the_next() -> None:
    one = Binding("a", "bc", "d", "", "", "")
    assert one.digest != replace(one, caller="ab", server="c").digest


def test_a_standing_approval_is_for_equal_values_at_the_named_places_alone() -> None:
    binding, same = binding_of(), REPEAT.same
    standing = binding.standing(same, ARGUMENTS)
    assert binding_of({**ARGUMENTS, "amount": 1}).standing(same, {**ARGUMENTS, "amount": 1}) == standing
    assert binding.standing(same, {**ARGUMENTS, "account": "A-18"}) != standing
    assert binding.standing(same, {**ARGUMENTS, "customer": {"id": 4712}}) != standing
    assert binding.standing(same, {**ARGUMENTS, "customer": {"id": "4711"}}) != standing


def test_an_argument_that_is_not_there_is_not_null() -> None:
    binding, same = binding_of(), (("account",),)
    assert binding.standing(same, {}) != binding.standing(same, {"account": None})


def test_an_approval_of_one_call_is_none_of_all_calls() -> None:
    binding = binding_of({})
    assert binding.digest != binding.standing((), {})


# Deadlines.


def test_a_deadline_passes_when_its_seconds_are_over_and_not_before() -> None:
    deadline = Deadline(NOW, 900)
    assert not deadline.passed(after(899.9))
    assert deadline.passed(after(900))
    assert deadline.left_s(after(300)) == pytest.approx(600)
    assert deadline.left_s(after(900)) == 0.0


def test_a_clock_set_back_an_hour_does_not_lengthen_it_while_the_machine_runs() -> None:
    deadline = Deadline(NOW, 900)
    assert deadline.passed(after(900, wall=-3600))
    assert deadline.passed(after(10, wall=-3600))


def test_a_clock_set_forward_ends_it() -> None:
    assert Deadline(NOW, 900).passed(after(10, wall=3600))


def test_after_a_restart_the_clock_on_the_wall_counts() -> None:
    deadline = Deadline(NOW, 900)
    restarted = Moment(NOW.wall + 400, "boot-2", 20.0)
    assert not deadline.passed(restarted)
    assert deadline.left_s(restarted) == pytest.approx(500)
    assert deadline.passed(replace(restarted, wall=NOW.wall + 900))
    assert deadline.passed(replace(restarted, wall=NOW.wall - 60))


@given(lasts_s=st.floats(1, 86_400), elapsed=st.floats(0, 86_400), leap=leaps)
def test_no_step_of_the_clock_makes_a_deadline_later_than_the_machine_knows_it_is(
    lasts_s: float, elapsed: float, leap: float
) -> None:
    deadline, now = Deadline(NOW, lasts_s), after(elapsed, wall=elapsed + leap)
    real = lasts_s - (now.since_boot - NOW.since_boot)
    assert deadline.left_s(now) <= max(0.0, real)
    if real <= 0:
        assert deadline.passed(now)


@given(lasts_s=st.floats(1, 86_400), looks=st.lists(st.tuples(st.floats(0, 3600), leaps), max_size=8))
def test_what_is_left_is_never_negative_and_nothing_where_it_is_over(
    lasts_s: float, looks: list[tuple[float, float]]
) -> None:
    deadline = Deadline(NOW, lasts_s)
    for elapsed, leap in looks:
        now = after(elapsed, wall=elapsed + leap)
        left = deadline.left_s(now)
        assert (left == 0.0) if deadline.passed(now) else (0.0 < left <= lasts_s)


# Votes.


def test_one_of_the_named_approves_and_it_is_used_once() -> None:
    request = approved()
    assert (request.state, request.calls, missing(request)) == (State.APPROVED, 1, 0)
    used = used_once(request, after(1), POLICY)
    assert used is not None
    assert (used.state, used.used, used.ended) == (State.USED, 1, after(1))
    assert used_once(used, after(1), POLICY) is None


def test_two_approvers_have_to_be_two_people() -> None:
    request = request_of(ask=ask_of(replace(REFUNDS, needed=2)))
    first = decided(request, vote_of())
    assert (first.state, missing(first)) == (State.WAITING, 1)
    assert voted(first, vote_of(), NOW, POLICY) is VoteRefusal.ALREADY_SAID
    assert used_once(first, NOW, POLICY) is None
    assert decided(first, vote_of(CAROL)).state is State.APPROVED


def test_the_same_account_under_another_name_is_no_second_person() -> None:
    alice = replace(person_of(), issuer="https://idp.acme.test", subject="4711")
    first = decided(request_of(ask=ask_of(replace(REFUNDS, needed=2))), vote_of(alice))
    renamed = replace(alice, name="alice.smith@acme.test")
    assert voted(first, vote_of(renamed), NOW, POLICY) is VoteRefusal.ALREADY_SAID
    for other in (replace(renamed, subject="4712"), replace(renamed, issuer="https://idp.partner.test")):
        found = voted(first, vote_of(other), NOW, POLICY)
        assert isinstance(found, Request)
        assert found.state is State.APPROVED


def test_an_owner_is_an_owner_however_the_provider_writes_the_name() -> None:
    asked = ask_of(replace(REFUNDS, four_eyes=True), owners=Owners(people=frozenset({"bob@acme.test"})))
    for name in ("bob@acme.test", "Bob@Acme.test", "BOB@acme.test"):
        bob = person_of(name, "payments-leads")
        assert voted(request_of(ask=asked), vote_of(bob), NOW, POLICY) is VoteRefusal.OWNER


def test_the_same_person_by_other_means_is_no_second_one() -> None:
    first = decided(request_of(ask=ask_of(replace(REFUNDS, needed=2))), vote_of())
    by_slack = replace(person_of(), means=Means.SLACK, groups=frozenset({"payments-leads", "more"}))
    assert voted(first, vote_of(by_slack), NOW, POLICY) is VoteRefusal.ALREADY_SAID


def test_one_person_counts_for_each_grant_that_names_them_and_all_grants_count() -> None:
    dba = Approval("schema-changes", frozenset({"dba"}), frozenset())
    request = request_of(ask=ask_of(REFUNDS, dba))
    assert decided(request, vote_of(person_of("alice@acme.test", "payments-leads", "dba"))).state is State.APPROVED
    first = decided(request, vote_of())
    assert (first.state, missing(first)) == (State.WAITING, 1)
    assert decided(first, vote_of(person_of("dan@acme.test", "dba"))).state is State.APPROVED


def test_one_denial_denies_whatever_was_agreed_before_and_says_whose_it_was() -> None:
    first = decided(request_of(ask=ask_of(replace(REFUNDS, needed=2))), vote_of())
    denied = decided(first, vote_of(CAROL, DENY, "not this customer"))
    assert (denied.state, denied.ended) == (State.DENIED, NOW)
    assert denied.denial is not None
    assert (denied.denial.person, denied.denial.reason) == (CAROL, "not this customer")
    assert voted(denied, vote_of(BOB), NOW, POLICY) is VoteRefusal.FINISHED


def test_somebody_whom_no_grant_names_counts_neither_for_nor_against() -> None:
    stranger = person_of("mallory@acme.test", "interns")
    for verdict in Verdict:
        assert voted(request_of(), vote_of(stranger, verdict), NOW, POLICY) is VoteRefusal.NOT_AN_APPROVER


def test_a_request_without_approvals_is_for_nobody_to_answer() -> None:
    request = replace(request_of(), ask=replace(ask_of(), approvals=()))
    assert may_answer(request, person_of(), Verdict.APPROVE) is VoteRefusal.NOT_AN_APPROVER


@pytest.mark.parametrize(
    "owners", [Owners(frozenset({"alice@acme.test"})), Owners(groups=frozenset({"payments-leads"}))]
)
def test_with_four_eyes_an_owner_of_the_workload_may_deny_and_not_approve(owners: Owners) -> None:
    request = request_of(ask=ask_of(replace(REFUNDS, four_eyes=True), owners=owners))
    assert voted(request, vote_of(), NOW, POLICY) is VoteRefusal.OWNER
    assert decided(request, vote_of(verdict=DENY)).state is State.DENIED
    without = request_of(ask=ask_of(owners=owners))
    assert decided(without, vote_of()).state is State.APPROVED


def test_four_eyes_of_one_grant_count_for_all() -> None:
    dba = Approval("schema-changes", frozenset({"dba"}), frozenset(), four_eyes=True)
    request = request_of(ask=ask_of(REFUNDS, dba, owners=Owners(frozenset({"alice@acme.test"}))))
    assert voted(request, vote_of(), NOW, POLICY) is VoteRefusal.OWNER


@pytest.mark.parametrize("verdict", Verdict)
def test_the_user_who_runs_the_agent_is_the_agent(verdict: Verdict) -> None:
    approval = replace(REFUNDS, people=frozenset({"local:ada"}))
    request = request_of(ask=replace(ask_of(approval), uid=1001))
    ada = person_of("local:ada", "local", means=Means.SOCKET, uid=1001)
    assert voted(request, vote_of(ada, verdict), NOW, POLICY) is VoteRefusal.AGENTS_OWN_USER
    assert decided(request, vote_of(replace(ada, uid=1002), verdict)).votes
    assert decided(replace(request, ask=ask_of(approval)), vote_of(ada, verdict)).votes


def test_a_reason_where_one_is_needed_and_never_a_long_one() -> None:
    request = request_of(ask=ask_of(replace(REFUNDS, needs_reason=True)))
    assert voted(request, vote_of(reason=" \t\n"), NOW, POLICY) is VoteRefusal.REASON_NEEDED
    assert decided(request, vote_of(reason="the customer called")).state is State.APPROVED
    assert decided(request, vote_of(verdict=DENY)).state is State.DENIED
    for verdict in Verdict:
        long = vote_of(verdict=verdict, reason="x" * (MAX_REASON_CHARACTERS + 1))
        assert voted(request, long, NOW, POLICY) is VoteRefusal.REASON_TOO_LONG


@pytest.mark.parametrize("means", Means)
def test_to_approve_with_a_sign_in_that_is_too_old_takes_a_new_one(means: Means) -> None:
    request = request_of(ask=ask_of(replace(REFUNDS, sign_in_s=300)))
    person = person_of(means=means)
    assert decided(request, vote_of(person), now=after(300)).state is State.APPROVED
    assert voted(request, vote_of(person), after(301), POLICY) is VoteRefusal.SIGN_IN_TOO_OLD
    again = replace(person, signed_in=after(301).wall)
    assert decided(request, vote_of(again), now=after(301)).state is State.APPROVED
    assert decided(request, vote_of(person, DENY), now=after(301)).state is State.DENIED


def test_nobody_answers_after_the_end() -> None:
    request = request_of()
    assert voted(request, vote_of(), after(900), POLICY) is VoteRefusal.EXPIRED
    assert voted(settled(request, after(900), POLICY), vote_of(), after(901), POLICY) is VoteRefusal.EXPIRED
    assert voted(request, vote_of(), NOW, OTHER_POLICY) is VoteRefusal.POLICY_CHANGED
    assert voted(settled(request, NOW, OTHER_POLICY), vote_of(), NOW, POLICY) is VoteRefusal.POLICY_CHANGED


@given(
    needed=st.integers(1, 4),
    votes=st.lists(st.tuples(st.sampled_from("abcde"), st.booleans(), st.sampled_from(Verdict)), max_size=12),
)
def test_it_is_approved_exactly_when_enough_of_the_named_agreed_and_nobody_denied(
    needed: int, votes: list[tuple[str, bool, Verdict]]
) -> None:
    request = request_of(ask=ask_of(replace(REFUNDS, needed=needed, people=frozenset())))
    agreed: set[str] = set()
    state = State.WAITING
    for name, is_lead, verdict in votes:
        person = person_of(name, "payments-leads" if is_lead else "interns")
        is_denial = verdict is DENY and state in {State.WAITING, State.APPROVED}
        counts = is_lead and (is_denial or (verdict is not DENY and name not in agreed and state is State.WAITING))
        found = voted(request, vote_of(person, verdict), NOW, POLICY)
        assert isinstance(found, Request) == counts
        if isinstance(found, Request):
            assert found.revision == request.revision + 1
            request = found
            if verdict is Verdict.APPROVE:
                agreed.add(name)
            state = State.DENIED if verdict is DENY else State.APPROVED if len(agreed) == needed else State.WAITING
        assert request.state is state
        assert missing(request) == needed - len(agreed)


def test_who_agreed_can_deny_after_all_until_it_is_used_up() -> None:
    agreed = decided(request_of(), vote_of())
    assert agreed.state is State.APPROVED
    assert decided(agreed, vote_of(verdict=DENY)).state is State.DENIED
    used = used_once(agreed, NOW, POLICY)
    assert used is not None
    assert voted(used, vote_of(verdict=DENY), NOW, POLICY) is VoteRefusal.FINISHED


# Use, and what ends it.


def test_what_is_only_asked_for_lets_nothing_through() -> None:
    assert used_once(request_of(), NOW, POLICY) is None
    assert used_once(decided(request_of(), vote_of(verdict=DENY)), NOW, POLICY) is None


def test_an_approval_is_not_used_after_its_end_or_under_another_policy() -> None:
    request = approved()
    assert used_once(request, after(900), POLICY) is None
    assert used_once(request, after(1, wall=-60), POLICY) is None
    assert used_once(request, NOW, OTHER_POLICY) is None
    assert used_once(request, after(899), POLICY) is not None


def test_what_is_over_ends_once_and_stays_as_it_ended() -> None:
    request = request_of()
    assert settled(request, after(1), POLICY) is request
    expired = settled(request, after(900), POLICY)
    assert (expired.state, expired.ended, expired.revision) == (State.EXPIRED, after(900), 1)
    assert settled(expired, after(901), OTHER_POLICY) is expired
    assert settled(approved(), NOW, OTHER_POLICY).state is State.VOID


def test_the_shortest_of_several_grants_is_how_long_it_stands() -> None:
    dba = Approval("schema-changes", frozenset({"dba"}), frozenset(), stands_s=60)
    assert request_of(ask=ask_of(REFUNDS, dba)).deadline == Deadline(NOW, 60)


@given(calls=st.integers(1, 5), tries=st.lists(st.floats(0, 1200), max_size=12))
def test_it_is_never_used_more_often_or_longer_than_was_said(calls: int, tries: list[float]) -> None:
    request = decided(request_of(ask=ask_of(with_repeat())), vote_of(cover=Cover(calls, 600)))
    uses = 0
    for seconds in tries:
        found = used_once(request, after(seconds), POLICY)
        if found is not None:
            assert seconds < 600
            uses, request = uses + 1, found
    assert uses == min(calls, sum(seconds < 600 for seconds in tries))
    assert (request.state is State.USED) == (uses == calls)


# What one approval covers beyond one call.


def test_a_cover_lets_calls_through_that_agree_in_what_the_policy_says_as_often_and_long_as_was_said() -> None:
    ask = ask_of(with_repeat())
    request = decided(request_of(ask=ask), vote_of(cover=Cover(3, 600)), now=after(100))
    assert (request.calls, request.deadline) == (3, Deadline(after(100), 600))
    similar = {**ARGUMENTS, "amount": 5}
    other = {**ARGUMENTS, "account": "A-18"}
    assert request.key in keys_of(binding_of(similar), similar, ask.approvals)
    assert request.key not in keys_of(binding_of(other), other, ask.approvals)


def test_without_a_cover_the_approval_is_for_this_call_alone() -> None:
    ask = ask_of(with_repeat())
    waiting = request_of(ask=ask)
    request = approved(waiting)
    similar = {**ARGUMENTS, "amount": 5}
    assert (request.calls, request.key) == (1, waiting.key)
    assert request.key not in keys_of(binding_of(similar), similar, ask.approvals)


@pytest.mark.parametrize("cover", [Cover(6, 900), Cover(5, 901), Cover(0, 900), Cover(5, 0), Cover(-1, -1)])
def test_nobody_covers_more_than_the_policy_allows(cover: Cover) -> None:
    assert (
        voted(request_of(ask=ask_of(with_repeat())), vote_of(cover=cover), NOW, POLICY) is VoteRefusal.COVER_NOT_ALLOWED
    )


def test_no_cover_where_one_of_the_grants_says_nothing_of_it() -> None:
    dba = Approval("schema-changes", frozenset({"payments-leads"}), frozenset())
    request = request_of(ask=ask_of(with_repeat(), dba))
    assert request.ask.repeat is None
    assert voted(request, vote_of(cover=Cover(1, 1)), NOW, POLICY) is VoteRefusal.COVER_NOT_ALLOWED


def test_of_several_grants_a_cover_is_no_wider_than_each_says() -> None:
    dba = Approval("schema-changes", REFUNDS.groups, frozenset(), repeat=Repeat((("amount",),), 300, 9))
    ask = ask_of(with_repeat(), dba)
    assert ask.repeat == Repeat((("account",), ("amount",), ("customer", "id")), 300, 5)


def test_of_several_covers_the_narrowest_counts_and_one_that_said_this_call_alone_is_kept_to() -> None:
    request = request_of(ask=ask_of(replace(with_repeat(), needed=2)))
    both = decided(request, vote_of(cover=Cover(5, 60)), vote_of(CAROL, cover=Cover(2, 600)))
    assert (both.calls, both.deadline.lasts_s) == (2, 60)
    once = decided(request, vote_of(cover=Cover(5, 60)), vote_of(CAROL))
    assert (once.calls, once.key, once.deadline) == (1, request.key, request.deadline)


def test_a_call_without_repeat_is_let_through_by_its_own_binding_alone() -> None:
    assert keys_of(binding_of(), ARGUMENTS, (REFUNDS,)) == (request_of(ask=ask_of()).key,)


@pytest.mark.parametrize("cover", [None, Cover(3, 600)], ids=["once", "repeat"])
def test_an_approval_is_no_good_where_other_grants_ask_than_those_that_people_agreed_for(cover: Cover | None) -> None:
    mine, leads = with_repeat(), replace(with_repeat(), rule="large-refunds", groups=frozenset({"payments-leads"}))
    request = decided(request_of(ask=ask_of(mine)), vote_of(cover=cover))
    assert request.key in keys_of(binding_of(), ARGUMENTS, (mine,))
    for others in ((mine, leads), (leads,), (leads, mine)):
        assert request.key not in keys_of(binding_of(), ARGUMENTS, others)


# Racing: the store keeps a change only where it is made from what it has.


@given(st.lists(st.sampled_from(["approve", "deny", "use", "expire", "see", "ask"]), min_size=1, max_size=30))
def test_however_changes_follow_each_other_one_approval_is_used_once_and_an_end_stays(changes: list[str]) -> None:
    request, uses = request_of(), 0
    for number, change in enumerate(changes):
        before = request
        if change in {"approve", "deny"}:
            voter = person_of(f"person-{number}")
            found = voted(request, vote_of(voter, Verdict(change)), NOW, POLICY)
            request = found if isinstance(found, Request) else request
        elif change == "use":
            used = used_once(request, NOW, POLICY)
            uses += used is not None
            request = used or request
        elif change == "expire":
            request = settled(request, after(900), POLICY)
        elif request.is_open:
            request = looked_at(request, "alice") if change == "see" else asked_again(request)
        assert request is before or request.revision == before.revision + 1
        assert before.is_open or request is before
        assert (request.ended is None) == request.is_open
    assert uses <= 1


def test_a_name_that_is_a_groups_name_is_no_membership() -> None:
    nobody = Person("payments-leads", frozenset(), Means.OIDC, NOW.wall)
    assert voted(request_of(), vote_of(nobody), NOW, POLICY) is VoteRefusal.NOT_AN_APPROVER
