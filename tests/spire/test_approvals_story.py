"""Calls that wait for a person, on a real SPIRE that renews SVIDs meanwhile.

Played once: one call is approved while its SVID is new, one after SPIRE has renewed it, and one after its agent has died
and come back with a renewed SVID.
"""

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import trio

from callgate.dev.demo_files import AGENT_ID
from callgate.wire.json_strict import JsonObject
from spire.stage import Stage, StepSpec, gate_and_ledger, server_spans
from spire.watching import until, watching
from spire.workloads import REFUND_AGENT, Json, Spire, Workload
from support.collector import Collector, ReceivedSpan

pytestmark = [pytest.mark.spire, pytest.mark.timeout(180, func_only=True)]

_STORY_S = 150
_LOOK_S = 0.1
AT_ONCE, RENEWED, RETURNED = 250, 260, 270


@dataclass(frozen=True, slots=True)
class Story:
    """`waited`: each request as the person saw it, `said`: what its agent says of it, both by the amount."""

    waited: dict[int, JsonObject]
    said: dict[int, Json]
    ended: list[JsonObject]
    tokens_seen: list[Json]
    spans: tuple[ReceivedSpan, ...]


@pytest.fixture(scope="module")
def story(spire: Spire, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with Collector() as collector:
        yield trio.run(played, spire, tmp_path_factory.mktemp("approvals"), collector)


async def played(spire: Spire, directory: Path, collector: Collector) -> Story:
    with trio.fail_after(_STORY_S):
        async with gate_and_ledger(spire, directory, collector) as stage, watching(spire, REFUND_AGENT) as watcher:
            waited, said = await answered(stage, watcher)
            ended = await trio.to_thread.run_sync(stage.people.listed, "ended")
    return Story(waited, said, ended, stage.tokens_seen, tuple(server_spans(collector)))


async def answered(stage: Stage, watcher: Workload) -> tuple[dict[int, JsonObject], dict[int, Json]]:
    """The three calls, and the person who agrees to each in its time."""
    waited: dict[int, JsonObject] = {}
    said: dict[int, Json] = {}
    async with refunding(stage, RETURNED):
        waited[RETURNED] = await asked(stage, RETURNED)
    async with refunding(stage, AT_ONCE) as at_once, refunding(stage, RENEWED) as renewed:
        waited[AT_ONCE] = await asked(stage, AT_ONCE)
        waited[RENEWED] = await asked(stage, RENEWED)
        await approve(stage, waited[AT_ONCE])
        said[AT_ONCE] = await at_once.next_line()
        newest = max(svid_until(each) for each in waited.values())
        await until(watcher, lambda state: state["id"] is not None and state["not_after"] > newest)
        await approve(stage, waited[RENEWED])
        said[RENEWED] = await renewed.next_line()
    await approve(stage, waited[RETURNED])
    said[RETURNED] = await stage.play(REFUND_AGENT, refund(RETURNED))
    return waited, said


def refunding(stage: Stage, amount: int) -> AbstractAsyncContextManager[Workload]:
    """An agent that makes this one call and ends."""
    return stage.agent(REFUND_AGENT, "once", [refund(amount)])


def refund(amount: int) -> StepSpec:
    return ("refund", {"number": "INV-1001", "amount": amount})


async def asked(stage: Stage, amount: int) -> JsonObject:
    """The request for that refund as a person sees it, once there is one."""
    while True:
        for each in await trio.to_thread.run_sync(stage.people.listed, "open"):
            found = await trio.to_thread.run_sync(stage.people.request, str(each["id"]))
            if found["arguments"] == {"number": "INV-1001", "amount": amount}:
                return found
        await trio.sleep(_LOOK_S)


async def approve(stage: Stage, request: JsonObject) -> None:
    said: JsonObject = {"binding": request["binding"], "verdict": "approve", "reason": "ticket 4711"}
    await trio.to_thread.run_sync(partial(stage.people.decide, str(request["id"]), said))


def svid_until(request: JsonObject) -> float:
    """Until when the SVID was good with which the call came."""
    svid = request["caller_svid"]
    assert isinstance(svid, dict)
    ends = svid["until"]
    assert isinstance(ends, int | float)
    return ends


def result(said: Json) -> Json:
    [only] = said["results"]
    assert isinstance(only, dict)
    return only


def test_a_person_sees_which_workload_asks_by_the_id_that_spire_gave_it(story: Story) -> None:
    assert {(each["caller"], each["tool"]) for each in story.waited.values()} == {(AGENT_ID, "refund")}


def test_a_call_that_waited_gets_its_answer_once_a_person_agreed(story: Story) -> None:
    told = result(story.said[AT_ONCE])
    assert (told["kind"], told["text"]) == ("Allowed", "refunded 250 EUR of INV-1001 to customer")


def test_a_call_that_waits_goes_out_though_its_svid_was_renewed_meanwhile(story: Story) -> None:
    told, before = story.said[RENEWED], svid_until(story.waited[RENEWED])
    assert (result(told)["kind"], result(told)["text"]) == ("Allowed", "refunded 260 EUR of INV-1001 to customer")
    # The connection is that of the first SVID, which is still good.
    assert told["not_after"] == before


def test_an_approval_is_the_workloads_whichever_svid_it_comes_back_with(story: Story) -> None:
    told, before = story.said[RETURNED], svid_until(story.waited[RETURNED])
    assert (result(told)["kind"], result(told)["text"]) == ("Allowed", "refunded 270 EUR of INV-1001 to customer")
    assert told["not_after"] > before


def test_nobody_was_asked_twice_and_each_approval_was_used_once(story: Story) -> None:
    assert {each["id"] for each in story.ended} == {each["id"] for each in story.waited.values()}
    assert [each["state"] for each in story.ended] == ["used"] * len(story.waited)


def test_the_token_of_a_call_that_waited_is_bound_to_the_gates_certificate_of_then(story: Story) -> None:
    assert len(story.tokens_seen) >= len(story.waited)
    assert all(token["bound_to"] == token["certificate"] for token in story.tokens_seen)


def test_its_trace_has_approve_in_its_path(story: Story) -> None:
    let_through = [span for span in story.spans if "approve=ok" in str(span.attributes["callgate.decision.path"])]
    assert len(let_through) == len(story.waited)
    assert {span.attributes["callgate.workload.spiffe_id"] for span in let_through} == {AGENT_ID}
