"""The whole of it: an agent's call waits, a person signs in at a real provider, reads, answers, and the agent hears it.

A real gate, the official client, a real OpenID provider and a real browser; nothing stands in for any of them.
"""

from collections.abc import Iterator
from typing import Final

import pytest
from playwright.sync_api import Locator, Route, expect

from callgate.dev.agent import Allowed, CallTool, Denied, ListTools, StepResult
from support.approvers import People, cookie_of, people_at, says, seen, tabs_to
from support.asking_gate import AGENT, AskingGate, World, asking_gates
from support.browser import Tab, chromium

# Gates, provider and browser start in some ten seconds of processor time.
pytestmark = pytest.mark.timeout(180)

APPROVAL_REQUIRED: Final = -31202
APPROVAL_DENIED: Final = -31403
SQL: Final = "ALTER TABLE invoices DROP COLUMN paid_at;\n-- ask dana@acme.test\nSELECT 1"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with asking_gates(tmp_path_factory.mktemp("asking")) as running:
        yield running


@pytest.fixture(scope="module")
def everybody(world: World) -> Iterator[People]:
    with chromium() as browser, people_at(world, browser) as people:
        yield people


@pytest.fixture
def people(everybody: People) -> Iterator[People]:
    yield everybody
    everybody.go_home()
    assert everybody.complaints == []


@pytest.fixture
def gate(world: World) -> AskingGate:
    return world.gate


def approve(tab: Tab) -> Locator:
    return tab.page.get_by_role("button", name="Approve this call")


def deny(tab: Tab) -> Locator:
    return tab.page.get_by_role("button", name="Deny")


def was_let_through(result: StepResult) -> None:
    assert isinstance(result, Allowed), result
    assert result.text == "done"


def was_refused(result: StepResult, code: int) -> Denied:
    assert isinstance(result, Denied), result
    assert result.code == code
    return result


def test_a_person_signs_in_reads_and_approves_by_keyboard_alone(people: People, gate: AskingGate) -> None:
    call = gate.playing(
        ListTools(), CallTool("get_invoice", {"number": "INV-7"}), CallTool("run_sql", {"query": SQL, "rows": [1, 2]})
    )
    tab = people.newcomer()
    page = tab.page
    page.goto(f"{gate.url}/approvals")
    people.signs_in(tab, "carol")
    people.cookies[gate.log, "carol"] = cookie_of(tab)
    expect(page.locator("h1")).to_have_text("Approvals")
    expect(page).to_have_title("(1) Approvals · callgate")
    expect(page.locator("header")).to_contain_text("carol")
    seen(tab, "whole-list")

    tabs_to(tab, f"#request-{call.id}")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("May this call go on?")
    assert_all_is_there(tab)
    seen(tab, "whole-request")

    tabs_to(tab, "button[value=approve]")
    page.keyboard.press("Enter")
    says(tab, "You approved this")
    was_let_through(call.result())
    expect(page.locator("h1")).to_have_text("Approved and used")
    says(tab, "You approved this", "The call went on; the approval cannot be used again.")
    seen(tab, "whole-approved")
    assert gate.happened(call) == ["asked", "seen", "approved", "used"]


def assert_all_is_there(tab: Tab) -> None:
    """Who asks, for what, why, what came before, and how much time is left."""
    page = tab.page
    who, what = page.get_by_role("region", name="Who asks"), page.get_by_role("region", name="What it would do")
    expect(who).to_contain_text(AGENT)
    expect(what.locator(".tool-name")).to_have_text("ledger run_sql")
    expect(what).to_contain_text("Runs one statement on the ledger's database.")
    expect(what).to_contain_text("destructiveHint: true")
    program = page.get_by_role("region", name="SQL (postgres) in query")
    expect(program).to_contain_text("Destructive, or cannot be told")
    expect(program).to_contain_text("Tables: invoices")
    expect(program.locator("mark").filter(has_text="DROP")).to_be_visible()
    expect(program.locator("mark").filter(has_text="--")).to_be_visible()
    expect(what.locator(".findings")).to_contain_text("email stands in the arguments")
    lines = page.get_by_role("list", name="Arguments").get_by_role("listitem")
    expect(lines.filter(has_text="query:")).to_contain_text("shown above")
    expect(lines).to_contain_text(["query:", "rows:", "1", "2"])
    why = page.get_by_role("region", name="Why a person is asked")
    expect(why).to_contain_text("changes-of-the-schema")
    expect(why).to_contain_text("payments-leads")
    expect(page.get_by_role("region", name="What this agent did before")).to_contain_text("get_invoice")
    expect(page.locator(".request-left")).to_contain_text("9 min")


def test_the_agent_is_told_why_it_was_denied(people: People, gate: AskingGate) -> None:
    call = gate.asked("refund", number="INV-1", amount=900)
    tab = people.tab("carol", call.path)
    tab.page.get_by_label("Reason").press_sequentially("Ask Dana first <b>please</b>")
    deny(tab).click()
    says(tab, "You denied this", "told the agent the reason")
    seen(tab, "whole-denied")
    assert was_refused(call.result(), APPROVAL_DENIED).said == "Ask Dana first <b>please</b>"
    assert gate.happened(call) == ["asked", "seen", "denied"]


def test_a_page_that_is_open_says_when_time_is_up(people: People, world: World) -> None:
    with world.clocked("expiry") as gate:
        call = gate.asked("open_account", number="A-1")
        tab, late = people.tab("bob", call.path, gate=gate), people.tab("bob", call.path, gate=gate)
        expect(tab.page.locator(".request-left")).to_contain_text("left to decide")
        late.page.get_by_label("Reason").press_sequentially("Looks fine")
        gate.clock.ahead_s += 61.0
        expect(tab.page.locator("h1")).to_have_text("Expired")
        expect(approve(tab)).to_have_count(0)
        seen(tab, "whole-expired")
        # Where somebody is at it, what is typed stays.
        expect(approve(late)).to_be_disabled()
        expect(late.page.get_by_label("Reason")).to_have_value("Looks fine")
        seen(late, "whole-expired-while-typing")
        # Whatever the page lets through, the gate does not.
        late.page.evaluate("document.querySelectorAll('button').forEach((each) => { each.disabled = false; })")
        approve(late).click()
        says(late, "The time is up", "Nothing was let through")
        seen(late, "whole-too-late")
        assert was_refused(call.result(), APPROVAL_REQUIRED).approval == call.id
        assert gate.called("open_account") == []
        people.go_home()


def test_the_second_of_two_approvers_sees_the_first_agree(people: People, gate: AskingGate) -> None:
    call = gate.asked("close_month", number="2026-10")
    first, second = people.tab("carol", call.path), people.tab("bob", call.path)
    reason = second.page.get_by_label("Reason")
    reason.press_sequentially("I am still")
    approve(first).click()
    says(first, "You approved this", "1 more person has to agree")
    seen(first, "whole-one-of-two")
    expect(second.page.get_by_role("region", name="So far")).to_contain_text("carol approved this")
    expect(second.page.get_by_role("region", name="Why a person is asked")).to_contain_text("1 of 2 people")
    # Neither what was typed is lost by that nor where.
    reason.press_sequentially(" reading")
    expect(reason).to_have_value("I am still reading")
    expect(reason).to_be_focused()
    assert gate.called("close_month") == []
    seen(second, "whole-second-of-two")
    approve(second).click()
    was_let_through(call.result())
    # Without a reload.
    expect(first.page.locator("h1")).to_have_text("Approved and used")
    assert gate.happened(call, "seen") == ["asked", "agreed", "approved", "used"]


@pytest.mark.parametrize("scripts", [True, False])
def test_a_double_click_is_one_answer_and_one_call(people: People, gate: AskingGate, scripts: bool) -> None:
    number = f"INV-2-{scripts}"
    call = gate.asked("refund", number=number, amount=900)
    people.tab("carol")
    tab = people.tab("carol", call.path, scripts=scripts)
    approve(tab).dblclick()
    says(tab, "You approved this")
    was_let_through(call.result())
    assert gate.happened(call) == ["asked", "seen", "approved", "used"]
    assert gate.called("refund").count({"number": number, "amount": 900}) == 1


def test_of_two_browsers_at_once_one_wins_and_the_other_is_told(people: People, gate: AskingGate) -> None:
    call = gate.asked("refund", number="INV-3", amount=900)
    yes, no = people.tab("carol", call.path), people.tab("bob", call.path)
    held: list[Route] = []
    for tab, button in ((yes, approve(yes)), (no, deny(no))):
        tab.page.route("**", lambda route: held.append(route) if route.request.method == "POST" else route.continue_())
        with tab.page.expect_request(lambda request: request.method == "POST"):
            button.click(no_wait_after=True)
    # Both are on their way before either arrives; while one page waits, Playwright tells what another asked for.
    while len(held) < 2:
        yes.page.wait_for_timeout(10)
    for route in held:
        route.continue_()
    for tab in (yes, no):
        tab.page.locator("#outcome").wait_for()
    titles = [tab.page.locator("#outcome h2").inner_text() for tab in (yes, no)]
    if titles == ["You approved this", "Somebody else was faster"]:
        was_let_through(call.result())
        assert gate.happened(call, "seen") == ["asked", "approved", "used"]
        seen(no, "whole-somebody-was-faster")
    else:
        # What was approved a moment ago and is not used yet can be denied.
        assert titles in (["Somebody else was faster", "You denied this"], ["You approved this", "You denied this"])
        was_refused(call.result(), APPROVAL_DENIED)
        assert gate.happened(call, "seen", "approved") == ["asked", "denied"]


def test_who_signed_in_long_ago_signs_in_afresh_and_then_it_works(people: People, world: World) -> None:
    # A gate whose clock is half a minute behind its provider's takes its word, and when it has gone on by a minute the
    # sign-in is as old; one that is made then is half a minute old.
    with world.clocked("fresh", ahead_s=-25.0) as gate:
        tab = people.tab("carol", gate=gate)
        gate.clock.ahead_s += 61.0
        call = gate.asked("send_money", number="M-1")
        tab.page.goto(f"{gate.url}{call.path}")
        expect(tab.page.locator("#part-decide")).to_contain_text("Sign in afresh to approve.")
        expect(approve(tab)).to_have_count(0)
        expect(deny(tab)).to_be_enabled()
        seen(tab, "whole-sign-in-afresh")
        tab.page.get_by_role("link", name="Sign in afresh").click()
        people.signs_in(tab, "carol")
        expect(tab.page).to_have_url(f"{gate.url}{call.path}")
        approve(tab).click()
        says(tab, "You approved this")
        was_let_through(call.result())
        people.go_home()


def test_an_owner_of_the_workload_is_told_why_not(people: People, gate: AskingGate) -> None:
    call = gate.asked("run_sql", query="DROP TABLE refunds", note="dana@acme.test")
    owner = people.tab("olivia", call.path)
    expect(owner.page.locator("#cannot")).to_contain_text("You own the workload that asks")
    expect(owner.page.get_by_role("button", name="Approve")).to_have_count(0)
    seen(owner, "whole-owner")
    deny(owner).click()
    says(owner, "You denied this")
    was_refused(call.result(), APPROVAL_DENIED)


def test_who_is_no_approver_sees_nothing_of_it(people: People, gate: AskingGate) -> None:
    stranger = people.tab("alice")
    call = gate.asked("refund", number="INV-4", amount=900)
    carol = people.tab("carol", call.path)
    expect(stranger.page.get_by_role("heading", name="Nothing waits for an answer")).to_be_visible()
    stranger.page.goto(f"{gate.url}{call.path}")
    expect(stranger.page.locator("h1")).to_have_text("You are not an approver of this call")
    expect(stranger.page.locator("main")).not_to_contain_text("refund")
    expect(stranger.page.locator("main")).not_to_contain_text("You can read it")
    seen(stranger, "whole-no-approver")
    stranger.page.goto(f"{gate.url}/approvals")
    expect(stranger.page).to_have_title("Approvals · callgate")
    expect(stranger.page.locator("main")).not_to_contain_text("refund")
    seen(stranger, "whole-nothing-waits")
    deny(carol).click()
    was_refused(call.result(), APPROVAL_DENIED)
    assert "alice" not in str(gate.happened(call))


def test_a_link_from_the_admin_socket_opens_the_page_signed_in_once(people: People, gate: AskingGate) -> None:
    link = str(gate.socket.link()["url"])
    call = gate.asked("refund", number="INV-5", amount=900)
    tab, thief = people.newcomer(), people.newcomer()
    tab.page.goto(link)
    seen(tab, "whole-link")
    tab.page.get_by_role("button", name="Sign in as local:").click()
    expect(tab.page.locator("header")).to_contain_text("local:")
    thief.page.goto(link)
    thief.page.get_by_role("button", name="Sign in as local:").click()
    expect(thief.page.locator("h1")).to_have_text("Not signed in")
    seen(thief, "whole-link-used")
    tab.page.locator(f"#request-{call.id}").click()
    approve(tab).click()
    says(tab, "You approved this")
    was_let_through(call.result())


def test_a_request_that_comes_is_in_an_open_list_and_its_title(people: People, gate: AskingGate) -> None:
    first = gate.asked("refund", number="INV-6", amount=900)
    tab = people.tab("carol")
    expect(tab.page).to_have_title("(1) Approvals · callgate")
    link = tab.page.locator(f"#request-{first.id}")
    link.focus()
    second = gate.asked("refund", number="INV-7", amount=901)
    expect(tab.page.locator(f"#request-{second.id}")).to_be_visible()
    expect(tab.page).to_have_title("(2) Approvals · callgate")
    expect(link).to_be_focused()
    expect(tab.page.get_by_role("status").filter(has_text="2 calls wait for an answer")).to_have_count(1)
    other = people.tab("bob", first.path)
    approve(other).click()
    expect(tab.page).to_have_title("(1) Approvals · callgate")
    expect(tab.page.get_by_role("region", name="Recent decisions")).to_contain_text("approved by bob")
    deny(people.tab("bob", second.path)).click()
    expect(tab.page).to_have_title("Approvals · callgate")
    was_let_through(first.result())
    was_refused(second.result(), APPROVAL_DENIED)
    seen(tab, "whole-list-after")


def test_a_page_that_is_open_says_that_the_gate_is_gone_and_follows_the_next_one(people: People, world: World) -> None:
    month = {"number": "2026-11"}
    with world.clocked("restarted") as gate:
        call = gate.asked("close_month", **month)
        tab = people.tab("bob", call.path, gate=gate)
        reason = tab.page.get_by_label("Reason")
        reason.press_sequentially("I am still reading")
    was_refused(call.result(), APPROVAL_REQUIRED)
    news = tab.page.locator("#news")
    expect(news).to_have_text("The gate does not answer. The page shows what was known before.")
    seen(tab, "whole-gate-gone")
    with world.clocked("restarted") as gate:
        expect(news).to_be_empty()
        call = gate.asked("close_month", **month)
        approve(people.tab("carol", call.path, gate=gate)).click()
        expect(tab.page.get_by_role("region", name="So far")).to_contain_text("carol approved this")
        expect(reason).to_have_value("I am still reading")
        approve(tab).click()
        says(tab, "You approved this")
        was_let_through(call.result())
        # That nobody was there is what this was about.
        tab.complaints[:] = [each for each in tab.complaints if "net::ERR_" not in each]
        people.go_home()


def test_all_of_it_works_without_script(people: People, gate: AskingGate) -> None:
    call = gate.asked("refund", number="INV-8", amount=900)
    tab = people.newcomer(scripts=False)
    tab.page.goto(f"{gate.url}{call.path}")
    people.signs_in(tab, "bob")
    expect(tab.page.locator("h1")).to_have_text("May this call go on?")
    approve(tab).click()
    says(tab, "You approved this")
    was_let_through(call.result())
    tab.page.get_by_role("button", name="Sign out").click()
    expect(tab.page.locator("h1")).to_have_text("Signed out")
