"""A log's verifier key on the command line."""

from pathlib import Path
from typing import Final

import click

from callgate.audit.checkpoint import VerifierKey
from callgate.audit.note import UnusableNoteKey
from callgate.telemetry.visible import visible

# A verifier key has less than 400 bytes, and people put a comment beside what they keep.
_MAX_KEY_BYTES: Final = 16 * 1024
# Between its three parts, and some in the last.
_PLUSES: Final = 2
_SHOWN_CHARS: Final = 200


def read_verifier_key(_ctx: click.Context, _param: click.Parameter, given: str | None) -> VerifierKey | None:
    """For an option, as its callback.  Raises BadParameter."""
    return verifier_key(given) if given is not None else None


def verifier_key(given: str) -> VerifierKey:
    """The key itself, or the file that it stands in.  Raises BadParameter."""
    text = given
    try:
        if given.count("+") < _PLUSES or Path(given).exists():
            with Path(given).open("rb") as file:
                text = file.read(_MAX_KEY_BYTES).decode("utf-8", "replace")
    except OSError as error:
        raise click.BadParameter(f"{visible(given, _SHOWN_CHARS)}: {error.strerror}") from None
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    try:
        return VerifierKey.parse(lines[0] if len(lines) == 1 else "")
    except UnusableNoteKey as fault:
        raise click.BadParameter(str(fault)) from None
