"""`callgate session export`: one session as an HTML page."""

import time
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Final

import click

from callgate.audit.checkpoint import VerifierKey
from callgate.audit.continuity import continuity
from callgate.audit.lines import UnusableInput
from callgate.audit.verify import verify
from callgate.cli.kept import identities_of
from callgate.cli.log_options import log_folder, log_options
from callgate.cli.session_content import (
    PAGE,
    ContentReader,
    identity_option,
    kept_words,
    recipients_of,
)
from callgate.cli.session_log import Story, open_story, readable
from callgate.cli.session_page import Page, page
from callgate.cli.session_remarks import LogVerdict, of_continuity, of_verification
from callgate.cli.verifier_key import read_verifier_key
from callgate.cli.words import counted, moment

# A page of 2,000 steps is 5 MB; more than that nobody reads, and browsers become slow over it.
_PAGE_STEPS: Final = 2_000
_MAX_PAGE_STEPS: Final = 10_000


@click.command("export")
@log_options
@click.argument("session_id", metavar="ID")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.html",
    help="Where the page goes; a file that is there is replaced.",
)
@identity_option
@click.option(
    "-n",
    "--last",
    type=click.IntRange(1, _MAX_PAGE_STEPS),
    default=_PAGE_STEPS,
    show_default=True,
    metavar="N",
    help=f"The last N requests, at most {_MAX_PAGE_STEPS}; the page says what was left out.",
)
@click.option(
    "--key",
    metavar="PUB",
    callback=read_verifier_key,
    help="The log's verifier key, or its file: verify the log first, and say what came of it.",
)
@click.option(
    "--checkpoint",
    "checkpoints",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="With --key: a checkpoint that was kept elsewhere.",
)
def export(
    *,
    session_id: str,
    output: Path,
    identity: Path | None,
    last: int,
    key: VerifierKey | None,
    checkpoints: tuple[Path, ...],
    **where: Path | None,
) -> None:
    """Write session ID as one HTML page that opens offline, for people who have no callgate.

    The page loads nothing and runs nothing.  With --identity it has the content in plain: keep it as you keep the key.
    It says whether the session's records hang together; with --key whether the whole log is as the gate signed it.
    Exit status as of `show`, whatever was found; 1 also where FILE cannot be written.
    """
    identities = identities_of(identity)
    if checkpoints and key is None:
        raise click.UsageError("--checkpoint needs --key, the log's public key that `callgate audit init` printed")
    with readable():
        story = open_story(log_folder(**where), session_id)
        content = kept_words(story, recipients_of(**where), has_identity=bool(identities))
        told_of = _page(story, last, content, _verdict(story, key, checkpoints))
        contents = ContentReader(story, identities, PAGE)
        _write(output, page(told_of, (contents.of(step) for step in told_of.steps)))
    click.echo(f"{output}: {counted(len(told_of.steps), 'request')}", err=True)


def _page(story: Story, last: int, content: str, verdict: LogVerdict) -> Page:
    return Page(
        session=story.overview,
        steps=tuple(story.steps(last)),
        earlier=story.left_out(last),
        remarks=story.remarks(),
        verdict=verdict,
        content=content,
        made=f"callgate {version('callgate')} at {moment(time.time_ns())}",
    )


def _verdict(story: Story, key: VerifierKey | None, checkpoints: tuple[Path, ...]) -> LogVerdict:
    overview = story.overview
    if key is None:
        return of_continuity(continuity(story.folder, overview.first_seq, overview.last_seq))
    try:
        found = verify(story.folder, key, checkpoints)
    except UnusableInput as fault:
        raise click.UsageError(str(fault)) from None
    return of_verification(found, str(key), overview.last_seq)


def _write(path: Path, pieces: Iterable[str]) -> None:
    """With plain content in it, perhaps: for its owner's eyes, from the first byte on."""
    unfinished = path.with_name(f".{path.name}.new")
    try:
        unfinished.unlink(missing_ok=True)
        unfinished.touch(mode=0o600, exist_ok=False)
        with unfinished.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(pieces)
        unfinished.replace(path)
    except OSError as fault:
        raise click.ClickException(f"cannot write {path}: {fault.strerror}") from None
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
