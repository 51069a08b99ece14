"""The admin API over real connections: what people see, and what their answers come to."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from callgate.approvals.happened import Happening
from callgate.approvals.model import Request, State
from callgate.approvals.site.bodies import MAX_BODY_BYTES, MAX_DECISIONS
from callgate.net.local_listener import Credentials
from callgate.policy.approval import Owners
from support.admin_api import check_sent
from support.approval_site import CAROL, LEAD, REFUNDS, STRANGER, Site, approval_site, person, policy_numbered

NO_SUCH_ID = "f" * 32


async def test_shows_an_approver_what_is_asked_and_takes_the_answer(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        request = await site.asked(account="A-1", amount=900)
        alice = await site.browser(LEAD)
        listed = (await alice.get("/api/v1/approvals?state=open")).json["approvals"]
        shown = (await alice.get(f"/api/v1/approvals/{request.id}")).json
        said = site.decision(request, "approve", reason="asked them")
        check_sent("POST", f"/api/v1/approvals/{request.id}/decision", said)
        decided = await alice.post(f"/api/v1/approvals/{request.id}/decision", said)
        used = await site.desk.use(request.id, "decision", "trace")
    assert [each["id"] for each in listed] == [request.id]
    assert not {"arguments", "definition"} & set(listed[0])
    assert shown["arguments"] == {"account": "A-1", "amount": 900}
    assert shown["definition"] == {
        "description": "Pays back.",
        "title": None,
        "annotations": {"destructiveHint": True},
    }
    assert shown["you"] == {"may_approve": True, "may_deny": True, "why": None}
    assert shown["approvers"][0]["needed"] == 1
    assert shown["repeat"] == {"same": ["/account"], "seconds": 900, "calls": 5}
    assert shown["trust_domain"] == "acme.test"
    assert shown["seen"] == ["alice@acme.test"]
    assert (decided.status, decided.json["state"]) == (200, "approved")
    assert [(vote["name"], vote["verdict"], vote["reason"]) for vote in decided.json["votes"]] == [
        ("alice@acme.test", "approve", "asked them")
    ]
    assert used is not None


async def test_that_somebody_looked_is_told_once_and_only_of_who_may(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        request = await site.asked(account="A-1")
        for browser in (await site.browser(STRANGER), await site.browser(LEAD), await site.browser(LEAD)):
            await browser.get(f"/api/v1/approvals/{request.id}")
        seen = [each.person for each in site.happened if each.happening is Happening.SEEN]
    assert seen == ["alice@acme.test"]


async def test_whoever_is_not_named_sees_neither_the_request_nor_its_arguments(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        request = await site.asked(account="A-1")
        stranger = await site.browser(STRANGER)
        listed = await stranger.get("/api/v1/approvals")
        shown = await stranger.get(f"/api/v1/approvals/{request.id}")
        decided = await stranger.post(f"/api/v1/approvals/{request.id}/decision", site.decision(request, "deny"))
        by_many = {"decisions": [{"id": request.id, "binding": request.ask.binding.digest, "verdict": "deny"}]}
        check_sent("POST", "/api/v1/decisions", by_many)
        many = await stranger.post("/api/v1/decisions", by_many)
    assert listed.json["approvals"] == []
    assert {(answer.status, answer.error) for answer in (shown, decided)} == {(403, "not_an_approver")}
    assert b"A-1" not in shown.body
    assert many.json["results"][0]["error"] == "not_an_approver"


async def test_an_owner_sees_what_is_asked_and_cannot_approve_where_four_eyes_are_wanted(tmp_path: Path) -> None:
    owner = person("bob@acme.test", "payments-leads")
    four_eyes = replace(REFUNDS, four_eyes=True)
    async with approval_site(tmp_path) as site:
        request = await site.asked((four_eyes,), Owners(people=frozenset({owner.name})), account="A-1")
        bob = await site.browser(owner)
        shown = (await bob.get(f"/api/v1/approvals/{request.id}")).json
        approved = await bob.post(f"/api/v1/approvals/{request.id}/decision", site.decision(request, "approve"))
        denied = await bob.post(f"/api/v1/approvals/{request.id}/decision", site.decision(request, "deny"))
        only_owner = await site.browser(replace(owner, groups=frozenset()))
        seen = await only_owner.get(f"/api/v1/approvals/{request.id}")
    assert shown["you"] == {"may_approve": False, "may_deny": True, "why": "owner_of_the_workload"}
    assert (approved.status, approved.error) == (403, "owner_of_the_workload")
    assert denied.json["state"] == "denied"
    assert (seen.status, seen.json["you"]["why"]) == (200, "not_an_approver")


async def test_whoever_is_not_signed_in_is_told_so_and_nothing_else(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        request = await site.asked(account="A-1")
        nobody = site.anybody()
        answers = [
            await nobody.get(path)
            for path in (
                "/api/v1/me",
                "/api/v1/approvals",
                f"/api/v1/approvals/{request.id}",
                f"/api/v1/approvals/{NO_SUCH_ID}",
                "/api/v1/events",
            )
        ]
        answers += [
            await nobody.post(path, {})
            for path in (f"/api/v1/approvals/{request.id}/decision", "/api/v1/decisions", "/api/v1/links")
        ]
    assert {(answer.status, answer.error) for answer in answers} == {(401, "not_signed_in")}


async def test_two_approvers_are_two_people(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        request = await site.asked((replace(REFUNDS, needed=2),), account="A-1")
        path, said = f"/api/v1/approvals/{request.id}/decision", site.decision(request, "approve")
        first, second, carol = [await site.browser(who) for who in (LEAD, LEAD, CAROL)]
        answers = [await browser.post(path, said) for browser in (first, second, carol)]
    assert [answer.status for answer in answers] == [200, 409, 200]
    assert [answers[0].json["state"], answers[1].error, answers[2].json["state"]] == [
        "waiting",
        "already_said",
        "approved",
    ]
    assert answers[0].json["missing"] == 1


@pytest.mark.parametrize(
    ("more", "status", "code"),
    [
        ({"binding": "0" * 64}, 409, "binding_mismatch"),
        ({"reason": "x" * 501}, 422, "reason_too_long"),
        ({"reason": " \t"}, 422, "reason_needed"),
        ({"reason": "r", "cover": {"calls": 6, "seconds": 60}}, 422, "cover_not_allowed"),
        ({"reason": "r", "cover": {"calls": 1, "seconds": 901}}, 422, "cover_not_allowed"),
    ],
)
async def test_an_approval_that_does_not_count_says_why(
    tmp_path: Path, more: dict[str, object], status: int, code: str
) -> None:
    async with approval_site(tmp_path) as site:
        request = await site.asked((replace(REFUNDS, needs_reason=True),), account="A-1")
        alice = await site.browser(LEAD)
        answer = await alice.post(f"/api/v1/approvals/{request.id}/decision", site.decision(request, "approve") | more)
        found = await site.desk.opened(request.id, None)
    assert (answer.status, answer.error) == (status, code)
    assert found is not None
    assert found.state is State.WAITING


async def test_an_answer_after_the_end_says_how_it_ended(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        alice = await site.browser(LEAD)
        expired, changed, finished = [await site.asked(number=number) for number in range(3)]
        paths = {each.id: f"/api/v1/approvals/{each.id}/decision" for each in (expired, changed, finished)}
        await alice.post(paths[finished.id], site.decision(finished, "deny"))
        twice = await (await site.browser(CAROL)).post(paths[finished.id], site.decision(finished, "approve"))
        unknown = await alice.post(f"/api/v1/approvals/{NO_SUCH_ID}/decision", site.decision(finished, "approve"))
        site.policies[0] = policy_numbered(2)
        other = await alice.post(paths[changed.id], site.decision(changed, "approve"))
        site.policies[0] = policy_numbered(0)
        site.clock.forward(899)
        late = await site.browser(LEAD)
        site.clock.forward(2)
        over = await late.post(paths[expired.id], site.decision(expired, "approve"))
    assert (twice.status, twice.error) == (409, "approval_finished")
    assert (unknown.status, unknown.error) == (404, "approval_unknown")
    assert (other.status, other.error) == (409, "policy_changed")
    assert (over.status, over.error) == (409, "approval_expired")


async def test_approving_asks_for_a_fresh_sign_in_where_the_policy_does(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        alice = await site.browser(LEAD)
        site.clock.forward(301)
        request = await site.asked((replace(REFUNDS, sign_in_s=300),), account="A-1")
        path, said = f"/api/v1/approvals/{request.id}/decision", site.decision(request, "approve")
        shown = (await alice.get(f"/api/v1/approvals/{request.id}")).json
        old = await alice.post(path, said)
        again = await (await site.browser(LEAD, cookies=alice.cookies)).post(path, said)
    assert shown["you"] == {"may_approve": False, "may_deny": True, "why": "sign_in_too_old"}
    assert shown["sign_in_s"] == 300
    assert (old.status, old.error) == (403, "sign_in_too_old")
    assert again.json["state"] == "approved"


async def test_a_cover_is_kept_as_it_was_given(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        request = await site.asked(account="A-1", amount=1)
        alice = await site.browser(LEAD)
        said = site.decision(request, "approve", cover={"calls": 2, "seconds": 60})
        answer = (await alice.post(f"/api/v1/approvals/{request.id}/decision", said)).json
    assert answer["calls"] == 2
    assert answer["votes"][0]["cover"] == {"calls": 2, "seconds": 60}
    assert answer["left_s"] == pytest.approx(60)


async def test_a_whole_storm_is_denied_by_one_request(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        requests = [await site.asked(number=number) for number in range(20)]
        alice = await site.browser(LEAD)
        listed = (await alice.get("/api/v1/approvals")).json["approvals"]
        decisions = [{"id": each["id"], "binding": each["binding"], "verdict": "deny"} for each in listed]
        decisions.append({"id": NO_SUCH_ID, "binding": "0" * 64, "verdict": "deny"})
        decisions[0] |= {"binding": "0" * 64}
        results = (await alice.post("/api/v1/decisions", {"decisions": decisions})).json["results"]
        left = (await alice.get("/api/v1/approvals?state=open")).json["approvals"]
        ended = (await alice.get("/api/v1/approvals?state=ended")).json["approvals"]
    assert [each["id"] for each in results] == [each["id"] for each in decisions]
    assert results[0]["error"] == "binding_mismatch"
    assert {each.get("state") for each in results[1:20]} == {"denied"}
    assert results[20]["error"] == "approval_unknown"
    assert [each["id"] for each in left] == [requests[0].id]
    assert len(ended) == 19


async def test_a_thousand_are_denied_by_one_request_of_bounded_size(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        requests = []
        async with trio.open_nursery() as nursery:

            async def ask(number: int) -> None:
                requests.append(await site.asked(number=number))

            for number in range(MAX_DECISIONS):
                nursery.start_soon(ask, number)
        alice = await site.browser(LEAD)
        listed = (await alice.get("/api/v1/approvals")).json["approvals"]
        reason = "z" * 500
        decisions = [
            {"id": each["id"], "binding": each["binding"], "verdict": "deny", "reason": reason} for each in listed
        ]
        results = (await alice.post("/api/v1/decisions", {"decisions": decisions})).json["results"]
    assert len(listed) == MAX_DECISIONS
    assert [each["state"] for each in results] == ["denied"] * MAX_DECISIONS


async def clicked(site: Site, *verdicts: str) -> tuple[list[int], Request]:
    """The statuses of these clicks at once, and what the request came to."""
    request = await site.asked(account="A-1")
    alice, path = await site.browser(LEAD), f"/api/v1/approvals/{request.id}/decision"
    statuses: list[int] = []

    async def click(verdict: str) -> None:
        statuses.append((await alice.post(path, site.decision(request, verdict))).status)

    async with trio.open_nursery() as nursery:
        for verdict in verdicts:
            nursery.start_soon(click, verdict)
    found = await site.desk.opened(request.id, None)
    assert found is not None
    return statuses, found


@pytest.mark.parametrize("verdict", ["approve", "deny"])
async def test_of_a_double_click_one_counts(tmp_path: Path, verdict: str) -> None:
    async with approval_site(tmp_path) as site:
        statuses, found = await clicked(site, verdict, verdict)
    assert sorted(statuses) == [200, 409]
    assert len(found.votes) == 1


async def test_of_both_answers_at_once_the_denial_holds(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        statuses, found = await clicked(site, "approve", "deny")
    # What was approved first can be denied after all; what was denied first cannot be approved.
    assert sorted(statuses) in ([200, 200], [200, 409])
    assert found.state is State.DENIED


async def test_a_decision_counts_although_the_browser_has_gone_meanwhile(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        request = await site.asked(account="A-1")
        alice, path = await site.browser(LEAD), f"/api/v1/approvals/{request.id}/decision"
        headers = {"content-type": "application/json", "origin": alice.origin, "x-csrf-token": alice.csrf}
        said = json.dumps(site.decision(request, "deny")).encode()
        async with alice.opened("POST", path, headers, said):
            pass
        found = await site.desk.wait(request.id)
    assert found.state is State.DENIED


async def test_without_its_store_the_site_says_so_and_nobody_is_signed_in(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        request = await site.asked(account="A-1")
        alice = await site.browser(LEAD)
        path, said = f"/api/v1/approvals/{request.id}/decision", site.decision(request, "approve")
        site.stop_store()
        answers = [await alice.get("/api/v1/me"), await alice.get("/api/v1/approvals"), await alice.post(path, said)]
    assert {(answer.status, answer.error) for answer in answers} == {(503, "approvals_unavailable")}


async def test_me_says_who_somebody_is_and_until_when(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        alice = await site.browser(LEAD)
        me = (await alice.get("/api/v1/me")).json
    assert me == {
        "name": "alice@acme.test",
        "groups": ["payments-leads"],
        "means": "oidc",
        "signed_in": 1_000_000.0,
        "csrf": alice.csrf,
        "session_ends": 1_003_600.0,
    }


async def test_by_the_socket_neither_cookie_nor_token_is_needed_and_a_link_is_made(tmp_path: Path) -> None:
    async with approval_site(tmp_path, uids=frozenset({0}), peer=Credentials(77, 0, 0)) as site:
        local = replace(REFUNDS, groups=frozenset({"local"}))
        request = await site.asked((local,), account="A-1")
        root = replace(site.anybody(), host="localhost")
        bare = {"origin": "", "sec-fetch-site": "", "x-csrf-token": ""}
        link = (await root.post("/api/v1/links", {}, bare)).json
        path = f"/api/v1/approvals/{request.id}/decision"
        decided = (await root.post(path, site.decision(request, "approve"), bare)).json
    assert link["url"].startswith(f"{site.parts.url}/approvals/enter?token=")
    assert link["expires_in_s"] == 60
    assert decided["state"] == "approved"
    assert (decided["votes"][0]["name"], decided["votes"][0]["means"]) == ("local:root", "socket")


async def test_the_user_that_runs_the_agent_decides_nothing_by_the_socket(tmp_path: Path) -> None:
    async with approval_site(tmp_path, uids=frozenset({0}), peer=Credentials(77, 0, 0)) as site:
        local = replace(REFUNDS, groups=frozenset({"local"}))
        request = await site.asked((local,), uid=0, account="A-1")
        path = f"/api/v1/approvals/{request.id}/decision"
        answers = [await site.anybody().post(path, site.decision(request, verdict)) for verdict in ("approve", "deny")]
    assert {(answer.status, answer.error) for answer in answers} == {(403, "agents_own_user")}


DIGEST = "a" * 64
ONE = {"id": NO_SUCH_ID, "binding": DIGEST, "verdict": "deny"}
HOSTILE_DECISIONS: list[object] = [
    b"",
    b"{",
    b"null",
    b"[]",
    b'"approve"',
    b'{"binding": "' + b"a" * 64 + b'", "verdict": "deny", "verdict": "approve"}',
    b'\xef\xbb\xbf{"binding": "x"}',
    b'{"binding": "\xff"}',
    b'{"a":' * 100 + b"1" + b"}" * 100,
    b" " * (MAX_BODY_BYTES - 2) + b"[]",
    {},
    {"binding": DIGEST},
    {"verdict": "approve"},
    {"binding": DIGEST, "verdict": "approve", "reason": "", "cover": None, "force": True},
    {"binding": DIGEST, "verdict": "approve", "person": "carol@acme.test"},
    {"binding": DIGEST, "verdict": "Approve"},
    {"binding": DIGEST, "verdict": "approved"},
    {"binding": DIGEST, "verdict": True},
    {"binding": DIGEST, "verdict": ["approve"]},
    {"binding": DIGEST.upper(), "verdict": "deny"},
    {"binding": DIGEST[:-1], "verdict": "deny"},
    {"binding": None, "verdict": "deny"},
    {"binding": DIGEST, "verdict": "deny", "reason": None},
    {"binding": DIGEST, "verdict": "deny", "reason": "x" * 4097},
    {"binding": DIGEST, "verdict": "approve", "cover": {}},
    {"binding": DIGEST, "verdict": "approve", "cover": []},
    {"binding": DIGEST, "verdict": "approve", "cover": {"calls": 1}},
    {"binding": DIGEST, "verdict": "approve", "cover": {"calls": True, "seconds": 1}},
    {"binding": DIGEST, "verdict": "approve", "cover": {"calls": 1.0, "seconds": 1}},
    {"binding": DIGEST, "verdict": "approve", "cover": {"calls": 0, "seconds": 1}},
    {"binding": DIGEST, "verdict": "approve", "cover": {"calls": 1, "seconds": -1}},
    {"binding": DIGEST, "verdict": "approve", "cover": {"calls": 2**53, "seconds": 1}},
    {"binding": DIGEST, "verdict": "approve", "cover": {"calls": 1, "seconds": 1, "arguments": "any"}},
]
HOSTILE_MASSES: list[object] = [
    {},
    {"decisions": None},
    {"decisions": []},
    {"decisions": ONE},
    {"decisions": [ONE, ONE]},
    {"decisions": [ONE], "verdict": "approve"},
    {"decisions": [ONE | {"id": "../me"}]},
    {"decisions": [ONE | {"cover": None}]},
    {"decisions": [{"binding": DIGEST, "verdict": "deny"}]},
    {"decisions": ["*"]},
    {"decisions": [ONE | {"id": f"{number:032x}"} for number in range(MAX_DECISIONS + 1)]},
]


async def test_no_hostile_body_is_a_decision(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        request = await site.asked(account="A-1")
        alice = await site.browser(LEAD)
        paths = [(f"/api/v1/approvals/{request.id}/decision", said) for said in HOSTILE_DECISIONS]
        paths += [("/api/v1/decisions", said) for said in HOSTILE_MASSES]
        for path, said in paths:
            answer = await alice.post(path, said)
            assert (answer.status, answer.error) == (400, "malformed"), str(said)[:200]
        found = await site.desk.opened(request.id, None)
    assert found is not None
    assert found.votes == ()


@pytest.mark.parametrize("id_", ["x", "F" * 32, "f" * 31, "f" * 33, "%00" * 32, "..", "%2e%2e", "f" * 2000, "%ff"])
async def test_what_is_no_id_is_unknown(tmp_path: Path, id_: str) -> None:
    async with approval_site(tmp_path) as site:
        alice = await site.browser(LEAD)
        shown = await alice.get(f"/api/v1/approvals/{id_}")
        decided = await alice.post(f"/api/v1/approvals/{id_}/decision", {"binding": DIGEST, "verdict": "deny"})
    assert {shown.status, decided.status} == {404}


@pytest.mark.parametrize("query", ["?state=all", "?state=", "?limit=1", "?state=open&x=1", "?state=ended&state=open"])
async def test_a_question_that_is_not_known_is_refused(tmp_path: Path, query: str) -> None:
    async with approval_site(tmp_path) as site:
        answer = await (await site.browser(LEAD)).get(f"/api/v1/approvals{query}")
    assert (answer.status, answer.error) == (400, "malformed")
