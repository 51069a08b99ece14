"""What one workload may do, as a tree and as JSON."""

from collections.abc import Iterator, Sequence

from callgate.cli.approval_terms import approval_json, approval_text
from callgate.cli.branches import Mark, Node
from callgate.cli.durations import duration_text
from callgate.cli.explained import limit_json, limit_text, place_of
from callgate.cli.masked import held_json, masks_json, masks_text, screen_line
from callgate.identity.spiffe_id import SpiffeId
from callgate.policy.moments import written
from callgate.policy.permissions import Cut, Permission, ServerPermissions, Standing
from callgate.policy.rule import Rule
from callgate.policy.screens import Screen
from callgate.wire.json_strict import JsonObject, JsonValue


def as_tree(caller: SpiffeId, now: float, servers: Sequence[ServerPermissions], notes: Sequence[str]) -> Node:
    """By server; what is not granted is denied, and stands nowhere."""
    branches = (*map(_server, servers), *(Node(Mark.NOTE, note) for note in notes))
    if not servers:
        return Node(Mark.NO, f"{caller} may do nothing: no grant names it", branches)
    return Node(Mark.NONE, str(caller), branches, (f"at {written(now)}, {_expiry(servers)}",))


def _expiry(servers: Sequence[ServerPermissions]) -> str:
    ends = expires(servers)
    return "and for as long as the policy stands" if ends is None else f"and until {written(ends)}"


def expires(servers: Sequence[ServerPermissions]) -> float | None:
    """Up to when all of it holds, Unix seconds; None: for as long as the policy stands."""
    return min((each.expires for each in servers if each.expires is not None), default=None)


def _server(found: ServerPermissions) -> Node:
    mark = Mark.YES if found.can_reach else Mark.NO
    words = "" if found.can_reach else "  nothing now: no grant is in force"
    screens = (Node(Mark.NOTE, screen_line(each)) for each in found.screens if each.answers or each.arguments)
    return Node(mark, f"{found.server}{words}", (*map(_permission, found.permissions), *screens))


def _permission(permission: Permission) -> Node:
    grant = permission.grant
    mark = Mark.APPLIES if grant.is_active and not grant.rule.shadow else Mark.PASSES
    tools = ", ".join(tool.text for tool in grant.rule.tools)
    branches = (*_terms(grant), *map(_cut, permission.cuts))
    return Node(mark, f"grant {_named(grant)}  {place_of(grant.rule)}: {tools}", branches)


def _named(standing: Standing) -> str:
    return f"{standing.rule.id}{' (in shadow: not enforced)' if standing.rule.shadow else ''}"


def _terms(standing: Standing) -> Iterator[Node]:
    rule = standing.rule
    yield Node(Mark.NONE, standing.workload)
    if rule.scopes:
        yield Node(Mark.NONE, f"scopes {' '.join(scope.text for scope in rule.scopes)}")
    if rule.users is not None:
        yield Node(Mark.NONE, f"for {rule.users.text}")
    if rule.condition is not None:
        yield Node(Mark.NONE, f"when {rule.condition.text}")
    if rule.limit is not None:
        yield Node(Mark.NONE, limit_text(rule.limit))
    if rule.approval is not None:
        yield Node(Mark.NONE, f"approval of {approval_text(rule.approval)}")
    if rule.ttl_s is not None:
        yield Node(Mark.NONE, f"token for {duration_text(rule.ttl_s)}")
    if rule.record is not None:
        yield Node(Mark.NONE, f"record: {rule.record}")
    yield from (Node(Mark.NONE, line) for line in _masks(rule))
    if standing.state is not None:
        yield Node(Mark.YES if standing.state.active else Mark.NO, _time(standing))


def _masks(rule: Rule) -> Iterator[str]:
    if rule.mask:
        yield f"masked in answers: {masks_text(rule.mask)}"
    if rule.unmask:
        yield f"not masked, where every grant that applies says so: {', '.join(rule.unmask)}"
    if rule.mask_arguments:
        yield f"masked in arguments: {masks_text(rule.mask_arguments)}"


def _time(standing: Standing) -> str:
    state = standing.state
    if state is None:
        return ""
    if state.changes is None or written(state.changes) in state.why:
        return state.why
    return f"{state.why}; {'ends' if state.active else 'begins'} {written(state.changes)}"


def _cut(cut: Cut) -> Node:
    rule = cut.denial.rule
    when = f" when {rule.condition.text}" if rule.condition is not None else ""
    users = f" for {rule.users.text}" if rule.users is not None else ""
    asleep = "" if cut.denial.is_active else f" (not now: {_time(cut.denial)})"
    text = f"but denial {_named(cut.denial)}{asleep}  {place_of(rule)}{users}{when}: {', '.join(cut.tools)}"
    # With a condition, or for some users, it takes some calls and not others: which, only a call tells.
    takes_all = cut.denial.is_active and not rule.shadow and rule.condition is None and rule.users is None
    return Node(Mark.NO if takes_all else Mark.PASSES, text)


def as_json(caller: SpiffeId, now: float, servers: Sequence[ServerPermissions], notes: Sequence[str]) -> JsonObject:
    """All of it."""
    ends = expires(servers)
    return {
        "who": str(caller),
        "at": written(now),
        "expires": None if ends is None else written(ends),
        "servers": [_server_json(found) for found in servers],
        "notes": [*notes],
    }


def _server_json(found: ServerPermissions) -> JsonObject:
    return {
        "server": found.server,
        "can_reach": found.can_reach,
        "expires": None if found.expires is None else written(found.expires),
        "grants": [_permission_json(permission) for permission in found.permissions],
        "screening": [_screen_json(screen) for screen in found.screens],
    }


def _screen_json(screen: Screen) -> JsonObject:
    return {
        "tools": [tool.text for tool in screen.tools],
        "mask": masks_json(screen.answers),
        "mask_arguments": masks_json(screen.arguments),
        "hold": [*held_json(screen.arguments)],
    }


def _permission_json(permission: Permission) -> JsonObject:
    rule = permission.grant.rule
    return _standing_json(permission.grant) | {
        "tools": [tool.text for tool in rule.tools],
        "scopes": [scope.text for scope in rule.scopes],
        "ttl": None if rule.ttl_s is None else duration_text(rule.ttl_s),
        "limit": None if rule.limit is None else limit_json(rule.limit),
        "approval": None if rule.approval is None else approval_json(rule.approval),
        "record": rule.record,
        "mask": masks_json(rule.mask),
        "unmask": [*rule.unmask],
        "mask_arguments": masks_json(rule.mask_arguments),
        "hold": [*held_json(rule.mask_arguments)],
        "denials": [_cut_json(cut) for cut in permission.cuts],
    }


def _cut_json(cut: Cut) -> JsonValue:
    tools: list[JsonValue] = [*cut.tools]
    return _standing_json(cut.denial) | {"tools": tools}


def _standing_json(standing: Standing) -> JsonObject:
    rule, state = standing.rule, standing.state
    return {
        "id": rule.id,
        "file": rule.file,
        "line": rule.line,
        "shadow": rule.shadow,
        "active": standing.is_active,
        "changes": written(state.changes) if state is not None and state.changes is not None else None,
        "workload": standing.workload,
        "users": rule.users.text if rule.users is not None else None,
        "when": rule.condition.text if rule.condition is not None else None,
    }
