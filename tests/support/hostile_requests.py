"""Requests for approval in which every word that an agent, a tool server or a person can choose is the same text."""

import json
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Final

from callgate.approvals.model import Ask, Before, Binding, Means, Moment, Person, Request, Verdict, Vote, new_request
from callgate.policy.approval import Approval, Repeat
from callgate.wire.json_strict import JsonObject

CORPUS: Final = Path(__file__).parents[1] / "corpus" / "approvals" / "xss.json"
NOW: Final = Moment(1_795_309_200.0, "boot", 500.0)
LEAD: Final = Person("alice@acme.test", frozenset({"payments-leads"}), Means.OIDC, NOW.wall)
REFUNDS: Final = Approval("refunds", frozenset({"payments-leads"}), frozenset(), repeat=Repeat((("account",),), 900, 5))
DIGEST: Final = "ab" * 32


def payloads() -> Mapping[str, str]:
    """The corpus: texts by their numbers."""
    return {each["name"]: each["text"] for each in json.loads(CORPUS.read_text())}


def asked(text: str, arguments: JsonObject | None = None, approval: Approval = REFUNDS) -> Ask:
    """`text` wherever somebody else has a say."""
    definition = {"name": text, "title": text, "description": text, "annotations": {text: text, "title": text}}
    given: JsonObject = {"account": text, f"k{text}": text, "list": [text, {text: text}]}
    given = given if arguments is None else arguments
    binding = Binding(f"spiffe://{text}/{text}", text, text, sha256(text.encode()).hexdigest(), DIGEST, DIGEST)
    return Ask(
        binding,
        given,
        (replace(approval, rule=text, groups=approval.groups | {text}, people=frozenset({text})),),
        definition=json.dumps(definition),
        why=(text,),
        found=(text,),
        before=(Before(NOW.wall - 60, text, text, text, text),),
        user=text,
        purpose=text,
        session=text,
        svid=(NOW.wall - 60, NOW.wall + 60),
    )


def request(text: str, arguments: JsonObject | None = None, id_: str = "0" * 32) -> Request:
    """One that waits, with one answer to it so far, and looked at."""
    approval = replace(REFUNDS, needed=2)
    vote = Vote(replace(LEAD, name=text), Verdict.APPROVE, text, NOW.wall)
    return replace(new_request(id_, asked(text, arguments, approval), NOW), votes=(vote,), seen=(text,))
