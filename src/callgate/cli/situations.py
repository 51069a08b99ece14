"""A situation from the flags of a command, or from a file and flags."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from pydantic import ValidationError

from callgate.cli.files import FileProblems
from callgate.errors import Refusal
from callgate.policy.model import check_server_name
from callgate.policy.moments import parse_moment
from callgate.policy.situation import CallEntry, Situation, read_free, workload
from callgate.policy_files import read_text
from callgate.wire.json_strict import JsonLimits, JsonObject, loads
from callgate.yaml_strict import DEFAULT_LIMITS, Problem, decode

T = TypeVar("T")

_MAX_BYTES: Final = DEFAULT_LIMITS.max_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """The flags as they were given; None: not."""

    who: str | None = None
    server: str | None = None
    tool: str | None = None
    args: str | None = None
    args_file: str | None = None
    method: str | None = None
    purpose: str | None = None
    user: str | None = None
    history: str | None = None
    at: str | None = None
    svid_age: str | None = None
    call: str | None = None


def situation_of(flags: Flags) -> Situation:
    """What file and flags say together.  Raises click's errors, each naming the flag that it is about."""
    base = Situation() if flags.call is None else _read(_text_at(flags.call), flags.call)
    said: dict[str, Any] = {}
    if flags.who is not None:
        said["who"] = _checked(flags.who, workload, "--who")
    if flags.at is not None:
        said["at"] = _checked(flags.at, parse_moment, "--at")
    # Each of these is read as the value of its key, so that its mistakes are told as those of a file are.
    if flags.user is not None:
        said["user"] = _read_part("user", flags.user, "--user").user
    if flags.svid_age is not None:
        said["svid_age_s"] = _read_part("svid_age", flags.svid_age, "--svid-age").svid_age_s
    if flags.history is not None:
        text, name = _given_or_at(flags.history, "--history")
        said["history"] = _read_part("history", text, name).history
    return base.model_copy(update=said | {"call": _call(flags, base.call)})


def _call(flags: Flags, base: CallEntry | None) -> CallEntry | None:
    said: dict[str, Any] = {}
    for key in ("tool", "method", "purpose"):
        if (value := getattr(flags, key)) is not None:
            said[key] = value
    if flags.server is not None:
        said["server"] = _checked(flags.server, check_server_name, "--server")
    args = _args(flags)
    if args is not None:
        said["args"] = args
    if not said:
        return base
    if base is None and flags.server is None:
        raise click.UsageError("--server is missing: which server the call is for")
    known = base.model_dump(exclude_unset=True) if base is not None else {}
    return _validated(known | said)


def _validated(said: dict[str, Any]) -> CallEntry:
    try:
        return CallEntry.model_validate(said)
    except ValidationError as error:
        # The first one is enough for a command line.
        first = error.errors(include_url=False, include_input=False)[0]
        name = f"--{first['loc'][0]}:" if first["loc"] else "the call"
        raise click.UsageError(f"{name} {first['msg'].removeprefix('Value error, ')}") from None


def _args(flags: Flags) -> JsonObject | None:
    if flags.args is not None and flags.args_file is not None:
        raise click.UsageError("--args and --args-file exclude each other")
    if flags.args is not None:
        return _json_object(flags.args, "--args")
    return _json_object(_text_at(flags.args_file), flags.args_file) if flags.args_file is not None else None


def _json_object(text: str, name: str) -> JsonObject:
    """Read as the gate reads what an agent sends, and refused where it would refuse it."""
    found = loads(text.encode("utf-8", "surrogatepass"), JsonLimits(max_bytes=_MAX_BYTES))
    if isinstance(found, Refusal):
        detail = f", {found.detail}" if found.detail else ""
        raise click.BadParameter(f"is not acceptable JSON ({found.reason}{detail})", param_hint=name)
    if not isinstance(found, dict):
        raise click.BadParameter("must be a JSON object", param_hint=name)
    return found


def _read_part(key: str, text: str, name: str) -> Situation:
    """`text` as the value of one key; it begins in a line of its own, so that places in it are right but for that.

    What is wrong with a flag's own text is a wrong command line, and with a file's a file that is not good.
    """
    try:
        return _read(f"{key}:\n{_indented(text)}", name)
    except FileProblems as found:
        moved = [
            Problem(p.file, max(p.line - 1, 0), p.column and max(p.column - 1, 1), p.message) for p in found.problems
        ]
        if name.startswith("--"):
            raise click.UsageError("\n".join(map(str, moved))) from None
        raise FileProblems(moved) from None


def _indented(text: str) -> str:
    return "\n".join(f" {line}" for line in text.splitlines())


def _read(text: str, name: str) -> Situation:
    found = read_free(text, name, Situation)
    if isinstance(found, tuple):
        raise FileProblems(found)
    return found.value


def _given_or_at(text: str, flag: str) -> tuple[str, str]:
    return (text, flag) if text.lstrip().startswith("[") else (_text_at(text), text)


def _text_at(path: str) -> str:
    found = _from_stdin() if path == "-" else read_text(Path(path), _MAX_BYTES)
    if isinstance(found, Problem):
        raise FileProblems([found])
    return found


def _from_stdin() -> str | Problem:
    data = sys.stdin.buffer.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        return Problem("-", 0, 0, f"is larger than {_MAX_BYTES} bytes")
    return decode(data, "-")


def _checked(text: str, check: Callable[[str], T], flag: str) -> T:
    try:
        return check(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=flag) from None
