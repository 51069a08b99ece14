"""`callgate approvals watch`: each request as it comes, with a bell and a note on the desktop."""

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import click

from callgate.approvals.client import AdminSocket, NotTaken, WentAway
from callgate.approvals.model import VoteRefusal
from callgate.cli.approvals_place import asking, gate_at, place_options
from callgate.cli.approvals_text import short_id, summary
from callgate.cli.approvals_words import call_of, state_of, text
from callgate.cli.shown_json import json_line
from callgate.telemetry.visible import visible
from callgate.wire.json_strict import JsonObject

# A gate starts within a second or two.
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 5.0
_ASKED: Final = "asked"
_OPEN: Final = ("waiting", "approved")
_BELL: Final = "\a"
# A desktop shows a line or two.
_NOTE_CHARACTERS: Final = 120
_TITLE: Final = "callgate"


@click.command("watch")
@place_options
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def watch(*, socket: Path | None, config: Path | None, form: str) -> None:
    """Print each request as it comes, and what becomes of it, until Ctrl-C.

    On a terminal it rings the bell and asks the terminal for a desktop notification.  json: one line for each event,
    {"event": "asked", "request": {…}}; the others are approved, denied, used, expired and void.  Where the gate starts
    anew, it waits for that.  Exit status: 0 stopped by Ctrl-C, 1 no gate answers at the start, or a configuration that
    is not good, 2 a wrong command line, 3 the gate refuses.
    """
    with asking():
        gate = gate_at(socket, config)
        try:
            _follow(gate, _View(as_json=form == "json", rings=form == "text" and sys.stdout.isatty()))
        except KeyboardInterrupt:
            return


@dataclass(slots=True)
class _View:
    """What was told.  `known`: the requests that are open, and their states."""

    as_json: bool
    rings: bool
    known: Mapping[str, str] = field(default_factory=dict)

    def look(self, gate: AdminSocket) -> None:
        """Tell what has changed since it last looked."""
        found = gate.listed("open")
        states = {text(each, "id"): text(each, "state") for each in found}
        new = [each for each in found if text(each, "id") not in self.known]
        changed = [
            each for each in found if self.known.get(text(each, "id"), text(each, "state")) != text(each, "state")
        ]
        gone = self.known.keys() - states.keys()
        ended = [each for each in gate.listed("ended") if text(each, "id") in gone] if gone else []
        self.known = states
        for request in new:
            self._tell(_ASKED, request)
        for request in (*changed, *ended):
            self._tell(text(request, "state"), request)
        waiting = [each for each in new if text(each, "state") == _OPEN[0]]
        if self.rings and waiting:
            click.echo(_BELL + _notification(_note(waiting)), nl=False)
        sys.stdout.flush()

    def _tell(self, event: str, request: JsonObject) -> None:
        if self.as_json:
            click.echo(json_line({"event": event, "request": request}))
        elif event == _ASKED:
            click.echo(f"{summary(request)}  {state_of(request)}")
        else:
            click.echo(f"{short_id(request)}  {call_of(request)}  {state_of(request)}")


def _follow(gate: AdminSocket, view: _View) -> None:
    """Until the gate refuses; raises WentAway only where there was none to begin with."""
    pause_s, is_known, is_here = _FIRST_PAUSE_S, False, True
    while True:
        try:
            for _ in gate.changes():
                view.look(gate)
                pause_s, is_known, is_here = _FIRST_PAUSE_S, True, True
        except (WentAway, NotTaken) as fault:
            if not is_known or (isinstance(fault, NotTaken) and fault.code != VoteRefusal.UNAVAILABLE):
                raise
            if is_here:
                click.echo(f"{fault}; waiting for it", err=True)
        is_here = False
        time.sleep(pause_s)
        pause_s = min(_LONGEST_PAUSE_S, 2 * pause_s)


def _note(requests: list[JsonObject]) -> str:
    """Of a storm one note, and not one for each."""
    if len(requests) > 1:
        return f"{len(requests)} agents' calls wait for an answer"
    return visible(f"{call_of(requests[0])} waits for an answer", _NOTE_CHARACTERS)


def _notification(note: str) -> str:
    """What terminals make a desktop notification of; those that know it not show nothing.

    OSC 9 is iTerm2's and Windows Terminal's, OSC 777 urxvt's, which foot, Ghostty, WezTerm and VTE took over: one of the
    two, since some know both.
    """
    if os.environ.get("TERM_PROGRAM") == "iTerm.app" or "WT_SESSION" in os.environ:
        return f"\x1b]9;{_TITLE}: {note}{_BELL}"
    return f"\x1b]777;notify;{_TITLE};{note.replace(';', ',')}{_BELL}"
