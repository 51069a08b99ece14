"""A log decided once more: changes of masks are told, and what cannot be told of programs and packs is not guessed."""

import json
from typing import Any

import pytest

from callgate.policy.compile import Policy, load_policy
from callgate.policy.difference import Change
from callgate.policy.recall import Sources
from callgate.policy.replay import Replay, Replayed
from callgate.wire.json_strict import JsonObject

DIGEST = "b" * 64


def policy_of(**more: object) -> Policy:
    grant = {
        "id": "g",
        "workloads": ["spiffe://acme.test/*"],
        "server": "db",
        "tools": ["query"],
        **_dict(more.pop("grant", {})),
    }
    found = load_policy(json.dumps({"version": 1, "trust_domains": ["acme.test"], "grants": [grant], **more}), "p.yaml")
    assert isinstance(found, Policy), found
    return found


def _dict(value: object) -> dict[str, Any]:
    assert isinstance(value, dict)
    return value


def record(policy: Policy) -> JsonObject:
    return {
        "kind": "intent",
        "seq": 1,
        "time": "2026-11-21T10:00:00.000000000Z",
        "caller": "spiffe://acme.test/a",
        "server": "db",
        "method": "tools/call",
        "tool": "query",
        "args": DIGEST,
        "policy": policy.digest,
        "rules": [{"rule": "g", "kind": "grant", "matched": True}],
        "decision": "1",
    }


def compared(old: Policy, new: Policy, arguments: JsonObject | None = None, *, recorded: bool = False) -> Replayed:
    sources = Sources({old.digest: old}.get, lambda _: arguments)
    found = Replay(None if recorded else old, new, sources).see(record(old))
    assert found is not None
    assert found.is_readable
    return found


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize(
    "new",
    [
        {"grant": {"mask": ["email"]}},
        {"grant": {"mask_arguments": ["email"]}},
        {"screening": [{"server": "db", "mask": ["email"]}]},
        {"screening": [{"server": "db", "base64": "deny"}]},
    ],
)
def test_other_masks_are_other_terms(new: dict[str, Any], recorded: bool) -> None:
    found = compared(policy_of(), policy_of(**new), recorded=recorded).difference

    assert found is not None
    assert (found.change, found.aspects) == (Change.TERMS, ("screening",))


@pytest.mark.parametrize("recorded", [False, True])
def test_masks_that_come_to_the_same_change_nothing(recorded: bool) -> None:
    one = policy_of(screening=[{"server": "db", "mask": ["email", "phone"]}])
    other = policy_of(
        screening=[{"server": "db", "mask": ["phone"]}, {"server": "db", "tools": ["query"], "mask": ["email"]}],
    )
    unmasking = policy_of(screening=[{"server": "db", "mask": ["email", "phone", "card"]}], grant={"unmask": ["card"]})

    assert compared(one, other, recorded=recorded).difference is None
    assert compared(one, unmasking, recorded=recorded).difference is None


PACK = [{"pack": "destructive-sql@1", "server": "db"}]
TOOLS = [{"server": "db", "tools": ["query"], "sql": {"query": "postgres"}}]


def test_without_arguments_a_pack_may_have_denied_the_call() -> None:
    found = compared(policy_of(tools=TOOLS), policy_of(tools=TOOLS, packs=PACK)).difference

    assert found is not None
    assert (found.change, found.needs) == (Change.UNKNOWN, ("args",))
    assert found.hinges == ("breaks destructive-sql@1",)


@pytest.mark.parametrize(("query", "change"), [("DROP TABLE users", Change.DENIED), ("SELECT 1", None)])
def test_with_arguments_a_pack_is_asked(query: str, change: Change | None) -> None:
    found = compared(policy_of(tools=TOOLS), policy_of(tools=TOOLS, packs=PACK), {"query": query}).difference

    assert (found and found.change) == change


def test_the_same_pack_decides_the_same_and_other_declarations_may_not() -> None:
    old = policy_of(tools=TOOLS, packs=PACK)
    other = policy_of(tools=[{"server": "db", "tools": ["query"], "sql": {"query": "mysql"}}], packs=PACK)
    same = policy_of(tools=[*TOOLS, {"server": "x", "tools": ["y"], "sql": {"z": "mysql"}}], packs=PACK)

    assert compared(old, same).difference is None
    found = compared(old, other).difference
    assert found is not None
    assert found.change is Change.UNKNOWN


WHEN = {"when": "!sql(args.query).destructive"}


def test_a_condition_on_a_program_hangs_on_how_that_is_declared() -> None:
    old = policy_of(tools=TOOLS, grant=WHEN)
    other = policy_of(tools=[{"server": "db", "tools": ["query"], "sql": {"query": "mysql"}}], grant=WHEN)
    none = policy_of(grant=WHEN)
    renamed = policy_of(tools=TOOLS, grant={**WHEN, "description": "The same."})

    assert compared(old, renamed).difference is None
    found = compared(old, other).difference
    assert found is not None
    assert found.change is Change.UNKNOWN
    gone = compared(old, none, {"query": "SELECT 1"}).difference
    assert gone is not None
    assert gone.change is Change.DENIED
