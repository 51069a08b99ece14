"""`callgate session play`: one session in its own time."""

from functools import partial
from pathlib import Path

import click
import trio

from callgate.audit.playback import moments
from callgate.cli.kept import identities_of
from callgate.cli.log_options import log_folder, log_options
from callgate.cli.session_content import (
    TERMINAL,
    ContentReader,
    identity_option,
)
from callgate.cli.session_log import open_story, readable
from callgate.cli.session_player import LONGEST_GAP_S, Pace, Playing, play
from callgate.cli.session_text import head
from callgate.cli.words import offset


@click.command("play")
@log_options
@click.argument("session_id", metavar="ID")
@identity_option
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="10: ten times as fast.",
)
@click.option("--keep-gaps", is_flag=True, help="Pauses as long as they were, and not 3 s at most.")
@click.option("-n", "--last", type=click.IntRange(min=1), metavar="N", help="The last N requests alone.")
def play_session(
    *,
    log: Path | None,
    config: Path | None,
    session_id: str,
    identity: Path | None,
    speed: float,
    keep_gaps: bool,
    last: int | None,
) -> None:
    """Play session ID again: what was asked, what passed and how it ended, when it did.

    Pauses of more than 3 s are cut to that, and said, unless --keep-gaps is given.  Ctrl-C ends it.  Nothing is sent
    anywhere; to send it again: callgate session replay.  Exit status as of `show`.
    """
    identities = identities_of(identity)
    with readable():
        story = open_story(log_folder(log, config), session_id)
        for line in head(story.overview, ""):
            click.echo(line)
        contents = ContentReader(story, identities, TERMINAL)
        told_of = moments(story.steps(last), lambda step: contents.of(step).passed)
        playing = Playing()
        try:
            trio.run(partial(play, told_of, Pace(speed, None if keep_gaps else LONGEST_GAP_S), click.echo, playing))
        except KeyboardInterrupt:
            click.echo(f"\nstopped at {offset(playing.at_us)}, request {playing.step}")
