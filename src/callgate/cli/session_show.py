"""`callgate session show`: one session, request by request."""

import sys
from pathlib import Path

import click

from callgate.audit.age import Identity
from callgate.cli.kept import identities_of
from callgate.cli.log_options import log_folder, log_options
from callgate.cli.session_content import (
    JSON,
    TERMINAL,
    ContentReader,
    identity_option,
    kept_words,
    recipients_of,
)
from callgate.cli.session_json import step_json, story_json
from callgate.cli.session_log import Story, open_story, readable
from callgate.cli.session_remarks import remark_words
from callgate.cli.session_text import as_tree, head
from callgate.cli.words import counted


@click.command("show")
@log_options
@click.argument("session_id", metavar="ID")
@identity_option
@click.option("-n", "--last", type=click.IntRange(min=1), metavar="N", help="The last N requests alone.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def show(
    *, log: Path | None, config: Path | None, session_id: str, identity: Path | None, last: int | None, form: str
) -> None:
    """Tell what happened in session ID, request by request; the first digits of ID are enough.

    Each with its decision path, the rules that decided, what is known of its token, how it ended, and with --identity
    what was asked and answered.  json has the records as they stand in the log.  Exit status: 0 shown, 1 a
    configuration or a key that is not good, 2 a wrong command line, no such session, or a log that cannot be read.
    """
    identities = identities_of(identity)
    with readable():
        story = open_story(log_folder(log, config), session_id)
        if form == "json":
            _show_json(story, identities, last)
        else:
            _show_text(story, identities, last, recipients_of(log, config))


def _show_json(story: Story, identities: tuple[Identity, ...], last: int | None) -> None:
    contents = ContentReader(story, identities, JSON)
    steps = (step_json(step, contents.of(step)) for step in story.steps(last))
    for piece in story_json(story.overview, story.left_out(last), steps):
        click.echo(piece, nl=False)


def _show_text(story: Story, identities: tuple[Identity, ...], last: int | None, recipients: tuple[str, ...]) -> None:
    contents = ContentReader(story, identities, TERMINAL)
    colour = sys.stdout.isatty()
    for line in head(story.overview, kept_words(story, recipients, has_identity=bool(identities))):
        click.echo(line)
    for remark in story.remarks():
        click.echo(f"  note: {remark_words(remark)}")
    if left_out := story.left_out(last):
        click.echo(f"  {counted(left_out, 'earlier request')} not shown")
    for step in story.steps(last):
        click.echo(f"\n{as_tree(step, contents.of(step), colour=colour)}")
