"""`callgate approvals approve` and `deny`: a person's answer, bound to what was shown."""

import re
import sys
from pathlib import Path
from typing import Final

import click

from callgate.approvals.client import AdminSocket, NotTaken
from callgate.approvals.model import MAX_REASON_CHARACTERS, VoteRefusal
from callgate.approvals.site.said import REFUSALS
from callgate.cli.approvals_place import NOT_TAKEN, asking, gate_at, place_options
from callgate.cli.approvals_text import as_lines, summary
from callgate.cli.approvals_words import number, seen_json, text
from callgate.cli.words import counted
from callgate.wire.json_strict import JsonObject, JsonValue

# As in a policy: `for: 15m`.
_REPEAT: Final = re.compile(r"([1-9][0-9]{0,5})/([1-9][0-9]{0,6})(s|m|h)")
_UNIT_S: Final = {"s": 1, "m": 60, "h": 3600}
_MANY_LINES: Final = 20


def _read_repeat(_ctx: click.Context, _param: click.Parameter, said: str | None) -> JsonValue:
    if said is None:
        return None
    found = _REPEAT.fullmatch(said)
    if found is None:
        raise click.BadParameter("must say how many calls, and within what time, as in 5/15m")
    return {"calls": int(found[1]), "seconds": int(found[2]) * _UNIT_S[found[3]]}


def _read_reason(_ctx: click.Context, _param: click.Parameter, said: str) -> str:
    if len(said) > MAX_REASON_CHARACTERS:
        raise click.BadParameter(f"must have at most {MAX_REASON_CHARACTERS} characters")
    return said


@click.command("approve")
@click.argument("request_id", metavar="ID")
@place_options
@click.option(
    "--reason", default="", callback=_read_reason, help="Why: on record, and needed where the policy says so."
)
@click.option(
    "--repeat",
    "cover",
    metavar="CALLS/DURATION",
    callback=_read_repeat,
    help="More such calls, where the policy lets you: 5/15m.",
)
@click.option("--yes", is_flag=True, help="Do not ask; needed where there is no terminal.")
def approve(
    request_id: str, *, socket: Path | None, config: Path | None, reason: str, cover: JsonValue, yes: bool
) -> None:
    """Show request ID, ask whether it is exactly that, and approve it; the beginning of the id is enough.

    What is approved is what was shown: this workload, this tool and these arguments, once.  Exit status: 0 taken, 1 no
    gate answers, or a configuration that is not good, 2 a wrong command line or no such request, 3 not approved: you
    said no, or the gate does not take your answer.

    \b
      callgate approvals approve 3f2a
      callgate approvals approve 3f2a --reason "ticket 4711" --repeat 5/15m
    """  # noqa: D301  # click's \b
    if not yes and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("there is no terminal to ask at: --yes approves without a question")
    with asking():
        gate = gate_at(socket, config)
        request = gate.request(request_id)
        for line in as_lines(request):
            click.echo(line)
        click.echo()
        _refuse_what_cannot_count(request, "may_approve")
        if not yes and not click.confirm(_question(request, cover)):
            click.echo("not approved, and not denied either", err=True)
            raise click.exceptions.Exit(NOT_TAKEN)
        _decide(gate, request, {"verdict": "approve", "reason": reason, "cover": cover})


@click.command("deny")
@click.argument("request_id", metavar="ID")
@place_options
@click.option("--reason", required=True, callback=_read_reason, help="Why: on record, and told to the agent.")
def deny(request_id: str, *, socket: Path | None, config: Path | None, reason: str) -> None:
    """Deny request ID; the beginning of the id is enough.

    The same call is denied again for a while without anybody being asked (approvals.cool_down).  Exit status as of
    approve.
    """
    with asking():
        gate = gate_at(socket, config)
        request = gate.request(request_id)
        click.echo(summary(request))
        _decide(gate, request, {"verdict": "deny", "reason": reason, "cover": None})


def _refuse_what_cannot_count(request: JsonObject, what: str) -> None:
    """Nobody reads through a request to be told afterwards.  Raises NotTaken."""
    you = request.get("you")
    if isinstance(you, dict) and you.get(what) is False:
        code = text(you, "why")
        raise NotTaken(
            code, REFUSALS[VoteRefusal(code)].sentence if code in REFUSALS else "your answer would not count"
        )


def _question(request: JsonObject, cover: JsonValue) -> str:
    lines = sum(1 for _ in seen_json(request.get("arguments")))
    # What is long has scrolled away.
    about = f"{summary(request)}, with {lines} lines of arguments\n" if lines > _MANY_LINES else ""
    wide = ""
    if isinstance(cover, dict):
        wide = f" and up to {counted(int(number(cover, 'calls')), 'such call')} within {number(cover, 'seconds'):g} s"
    return f"{about}approve exactly this{wide}?"


def _decide(gate: AdminSocket, request: JsonObject, said: JsonObject) -> None:
    """With the binding of what was shown."""
    after = gate.decide(text(request, "id"), {"binding": request.get("binding"), **said})
    state, missing = text(after, "state"), int(number(after, "missing"))
    if state == "waiting":
        click.echo(f"you agreed; {missing} more to agree")
    else:
        click.echo(state)
