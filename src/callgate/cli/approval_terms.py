"""What a grant asks of people, in words and as JSON."""

from collections.abc import Iterable, Iterator

from callgate.cli.durations import duration_text
from callgate.policy.approval import Approval, Owners, Repeat
from callgate.policy.mask_entries import place_of
from callgate.wire.json_strict import JsonObject


def approval_text(approval: Approval) -> str:
    """`2 people of group payments-leads or carol@acme.test; …`: who has to agree, and all that is said of how."""
    return "; ".join((_who(approval), *_how(approval)))


def _who(approval: Approval) -> str:
    groups = [f"group {name}" for name in sorted(approval.groups)]
    named = _either([*groups, *sorted(approval.people)])
    return f"{approval.needed} {'person' if approval.needed == 1 else 'people'} of {named}"


def _how(approval: Approval) -> Iterator[str]:
    if approval.only_held:
        yield "only where the arguments hold what is masked with mode hold"
    if approval.needs_reason:
        yield "with a reason"
    if approval.four_eyes:
        yield "no owner of the workload"
    if approval.sign_in_s is not None:
        yield f"signed in within {duration_text(approval.sign_in_s)}"
    yield f"stands {duration_text(approval.stands_s)}, the call waits {duration_text(approval.waits_s)}"
    if approval.repeat is not None:
        yield _repeat_text(approval.repeat)


def _repeat_text(repeat: Repeat) -> str:
    same = f" with the same {', '.join(map(place_of, repeat.same))}" if repeat.same else ""
    calls = f"{repeat.calls} call{'' if repeat.calls == 1 else 's'}"
    return f"may cover {calls} in {duration_text(repeat.lasts_s)}{same}"


def approval_json(approval: Approval) -> JsonObject:
    """An approval as it stands in a policy, and whose it is."""
    return {
        "rule": approval.rule,
        "groups": [*sorted(approval.groups)],
        "people": [*sorted(approval.people)],
        "needed": approval.needed,
        "stands": duration_text(approval.stands_s),
        "waits": duration_text(approval.waits_s),
        "reason": "required" if approval.needs_reason else "optional",
        "four_eyes": approval.four_eyes,
        "sign_in": None if approval.sign_in_s is None else duration_text(approval.sign_in_s),
        "repeat": None if approval.repeat is None else _repeat_json(approval.repeat),
        "asks": "on_hold" if approval.only_held else "always",
    }


def _repeat_json(repeat: Repeat) -> JsonObject:
    return {"same": [*map(place_of, repeat.same)], "for": duration_text(repeat.lasts_s), "calls": repeat.calls}


def owners_text(owners: Owners) -> str:
    """Who answers for the workload, and cannot agree where four eyes are asked for."""
    named = [*(f"group {name}" for name in sorted(owners.groups)), *sorted(owners.people)]
    return f"owners of this workload, who cannot agree: {', '.join(named) or 'none is declared'}"


def owners_json(owners: Owners) -> JsonObject:
    """The same as JSON."""
    return {"groups": [*sorted(owners.groups)], "people": [*sorted(owners.people)]}


def _either(names: Iterable[str]) -> str:
    *before, last = names
    return f"{', '.join(before)} or {last}" if before else last
