"""What a person has to agree to is found in arguments whatever else becomes of it, and nothing is let through by it."""

import json
from typing import Any

import pytest

from callgate.errors import Reason, Refusal
from callgate.identity.spiffe_id import SpiffeId
from callgate.policy.call import Call
from callgate.policy.compile import Policy, load_policy
from callgate.policy.decide import decide
from callgate.screening.mask import Tally
from callgate.screening.messages import screen_arguments
from callgate.screening.terms import MaskRule, Mode, Screening
from callgate.wire.json_strict import JsonObject

KEY = b"k" * 32
EMAIL = "ada.lindqvist@kestrel-quarry.com"
CARD = "4033530085275872"
HOLD_CARDS = MaskRule(Mode.HOLD, "card", entity="card")


def held(arguments: JsonObject, *rules: MaskRule, masked: tuple[MaskRule, ...] = ()) -> tuple[object, Tally]:
    tally = Tally()
    return screen_arguments(arguments, Screening(arguments=masked, held=rules), KEY, tally), tally


def test_what_is_held_stays_as_it_is_and_is_named() -> None:
    arguments: JsonObject = {"note": f"pay {CARD} now"}

    shown, tally = held(arguments, HOLD_CARDS)
    assert shown is arguments
    assert (tally.held, tally.denied, tally.counts) == (["card"], [], {})


def test_nothing_that_is_held_leaves_nothing_named() -> None:
    arguments: JsonObject = {"note": "pay"}

    shown, tally = held(arguments, HOLD_CARDS)
    assert shown is arguments
    assert tally.held == []


@pytest.mark.parametrize("mode", [Mode.REDACT, Mode.PARTIAL, Mode.PSEUDONYM, Mode.DROP])
def test_what_is_held_and_masked_is_both(mode: Mode) -> None:
    shown, tally = held({"note": CARD}, HOLD_CARDS, masked=(MaskRule(mode, "card", entity="card"),))

    assert CARD not in json.dumps(shown)
    assert (tally.held, tally.counts) == (["card"], {"card": 1})


def test_what_is_held_and_denied_is_denied() -> None:
    shown, tally = held({"note": CARD}, HOLD_CARDS, masked=(MaskRule(Mode.DENY, "card", entity="card"),))

    assert isinstance(shown, Refusal)
    assert shown.reason is Reason.ARGUMENTS_DENIED
    assert tally.held == ["card"]


@pytest.mark.parametrize(
    ("rule", "arguments"),
    [
        (MaskRule(Mode.HOLD, "own", key="Account_No"), {"a": [{"accountno": None}]}),
        (MaskRule(Mode.HOLD, "own", key="account"), {"account": False}),
        (MaskRule(Mode.HOLD, "own", pointer="/rows/*/iban"), {"rows": [{}, {"iban": ""}]}),
        (MaskRule(Mode.HOLD, "own", pattern="EMP-[0-9]{6}"), {"EMP-123456": 1}),
        (MaskRule(Mode.HOLD, "own", pattern="EMP-[0-9]{6}"), {"text": '{"a": "\\u0045MP-123456"}'}),
        (MaskRule(Mode.HOLD, "own", pattern="EMP-[0-9]{6}"), {"deep": [[["EMP-123456"]]]}),
        (HOLD_CARDS, {"number": int(CARD)}),
    ],
)
def test_it_is_found_wherever_a_mask_would_find_it(rule: MaskRule, arguments: JsonObject) -> None:
    shown, tally = held(arguments, rule)

    assert shown is arguments
    assert tally.held == [rule.name]


def test_each_of_several_is_named_once() -> None:
    shown, tally = held({"a": CARD, "b": [CARD, EMAIL]}, HOLD_CARDS, MaskRule(Mode.HOLD, "email", entity="email"))

    assert not isinstance(shown, Refusal)
    assert sorted(tally.held) == ["card", "email"]


def test_what_cannot_be_looked_through_is_refused() -> None:
    text: object = CARD
    for _ in range(8):
        text = json.dumps([text])

    shown, _ = held({"a": str(text)}, HOLD_CARDS)
    assert isinstance(shown, Refusal)
    assert shown.reason is Reason.ARGUMENTS_DENIED


def test_in_answers_and_where_it_is_asked_for_as_a_mask_it_denies() -> None:
    shown = screen_arguments({"a": CARD}, Screening(arguments=(HOLD_CARDS,)), KEY, Tally())

    assert isinstance(shown, Refusal)
    assert shown.reason is Reason.ARGUMENTS_DENIED


# As a policy says it


def screening_of(screening: list[dict[str, Any]], *grants: dict[str, Any]) -> Screening:
    rules = [
        {"id": f"g{n}", "workloads": ["spiffe://acme.test/*"], "server": "crm", "tools": ["get"], **grant}
        for n, grant in enumerate(grants)
    ]
    whole = {"version": 1, "trust_domains": ["acme.test"], "screening": screening, "grants": rules}
    policy = load_policy(json.dumps(whole if screening else {k: v for k, v in whole.items() if v}), "p.yaml")
    assert isinstance(policy, Policy), policy
    caller = SpiffeId.parse("spiffe://acme.test/a")
    call = Call(caller=caller, server="crm", method="tools/call", tool="get", arguments={}, now=1.8e9)
    permit = decide(policy, call).permit
    assert permit is not None
    return permit.screening


def hold(name: str) -> dict[str, str]:
    return {"entity": name, "mode": "hold"}


def test_a_server_and_grants_hold_and_no_mask_takes_it_away() -> None:
    masks = [{"entity": "card", "mode": "redact"}, "iban"]
    found = screening_of(
        [{"server": "crm", "mask_arguments": [hold("card")]}],
        {"mask_arguments": [hold("email")]},
        {"mask_arguments": masks},
    )

    assert {rule.name for rule in found.held} == {"card", "email"}
    assert {rule.mode for rule in found.held} == {Mode.HOLD}
    assert {(rule.name, rule.mode) for rule in found.arguments} == {("card", Mode.REDACT), ("iban", Mode.REDACT)}


def test_a_hold_weakens_no_mask() -> None:
    found = screening_of(
        [], {"mask_arguments": [hold("card")]}, {"mask_arguments": [{"entity": "card", "mode": "partial"}]}
    )

    assert [rule.mode for rule in found.arguments] == [Mode.PARTIAL]
    assert [rule.name for rule in found.held] == ["card"]


def test_a_group_is_held_as_its_entities_and_answers_are_untouched() -> None:
    found = screening_of([{"server": "crm", "mask_arguments": [hold("ip")]}], {})

    assert {rule.name for rule in found.held} == {"ipv4", "ipv6"}
    assert found.answers == ()
    assert found.arguments == ()


def test_a_tool_that_an_entry_does_not_name_holds_nothing() -> None:
    assert screening_of([{"server": "crm", "tools": ["put"], "mask_arguments": [hold("card")]}], {}).held == ()
