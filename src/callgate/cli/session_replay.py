"""`callgate session replay`: a recorded session through a gate again, and what differs."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

import click

from callgate.audit.age import Identity
from callgate.cli.kept import identities_of
from callgate.cli.log_options import log_folder, log_options
from callgate.cli.running import run
from callgate.cli.session_log import Story, open_story
from callgate.cli.session_replay_client import CannotReplay, base_of, open_gate
from callgate.cli.session_replayed import Summary, as_json, as_lines, heading, summary_json
from callgate.cli.session_replaying import Replay, recorded_of
from callgate.cli.shown_json import json_line
from callgate.cli.words import counted
from callgate.dev.identity import workload_identity
from callgate.errors import GatewayError
from callgate.identity.spiffe_id import InvalidSpiffeId, SpiffeId
from callgate.telemetry.visible import visible

_CANNOT: Final = 2
_MESSAGE_CHARS: Final = 500


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked for.  `endpoint`: of the Workload API.  `user`: a value for Authorization, a secret."""

    story: Story
    base: str
    gate: SpiffeId
    endpoint: str | None
    identities: Sequence[Identity]
    dry_run: bool
    form: str
    user: str | None = field(repr=False)


@click.command("replay")
@click.argument("session_id", metavar="ID")
@click.option("--to", "url", required=True, metavar="URL", help="The gate, such as https://localhost:8443.")
@click.option("--gate", "gate_id", required=True, metavar="SPIFFE_ID", help="Who the gate must prove to be.")
@click.option(
    "--workload-api",
    envvar="SPIFFE_ENDPOINT_SOCKET",
    show_envvar=True,
    help="Where the SVID to call with comes from, as in unix:///run/spire/agent.sock.",
)
@click.option(
    "--identity",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="An auditor's private key: what was said is encrypted to the auditors.",
)
@click.option(
    "--user-token", "token_file", type=click.File("r"), metavar="FILE", help="A user's access token; - is stdin."
)
@click.option("--send", is_flag=True, help="Make the calls.  Without it the gate only decides, and forwards nothing.")
@click.option("--yes", is_flag=True, help="With --send: do not ask first.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@log_options
def replay(*, log: Path | None, config: Path | None, yes: bool, **options: Any) -> None:  # noqa: ANN401  # click's own types
    """Send recorded session ID through a gate again, and show what differs; its first digits are enough.

    Without --send it is a dry run: the gate decides on each request and forwards none, and a gate that does not know
    dry runs is sent none.  With --send every call is made, at the tool servers behind that gate.  Requests go in their
    order, each after the answer to the one before, as the workload whose SVID the Workload API gives; legacy sessions
    are opened anew.  Conditions on what was done before see what that gate remembers now.  Only requests that were
    recorded in full (record: full) can be sent.

    Exit status: 0 when all that was sent went as it did then, 1 when something differs, 2 when nothing was or could be
    sent.

    \b
      callgate session replay 5e5e --to https://localhost:8443 --gate spiffe://acme.test/gate \\
          --identity auditor.key --workload-api unix:///run/spire/agent.sock
    """  # noqa: D301  # click's \b
    with _exit_code():
        asked = _asked(log_folder(log, config), _Options(**options))
        if not (asked.dry_run or yes):
            _confirm(asked)
        summary = run(partial(_replay, asked))
    raise SystemExit(summary.exit_code)


class _Cannot(click.ClickException):
    """1 says that something differs: whatever else goes wrong is 2."""

    exit_code = _CANNOT


@contextmanager
def _exit_code() -> Iterator[None]:
    try:
        yield
    except click.UsageError:
        raise
    except click.ClickException as fault:
        raise _Cannot(fault.message) from None
    except (GatewayError, OSError) as fault:
        raise _Cannot(visible(str(fault), _MESSAGE_CHARS)) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """The command line's, as click gives them."""

    session_id: str
    url: str
    gate_id: str
    workload_api: str | None
    identity: Path | None
    token_file: IO[str] | None
    send: bool
    form: str


def _asked(folder: Path, given: _Options) -> _Asked:
    try:
        gate, base = SpiffeId.parse(given.gate_id), base_of(given.url)
    except InvalidSpiffeId as error:
        raise click.BadParameter(str(error), param_hint="--gate") from None
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--to") from None
    story = open_story(folder, given.session_id)
    if not story.overview.kept_in_full:
        raise CannotReplay(
            f"nothing of session {story.overview.id} was recorded in full, so that it cannot be sent again; record: full "
            "of a server or a grant keeps what passes from then on"
        )
    if given.identity is None:
        raise click.UsageError("--identity is missing: what was said is encrypted to the auditors' keys")
    user = f"Bearer {given.token_file.read().strip()}" if given.token_file else None
    identities = identities_of(given.identity)
    return _Asked(story, base, gate, given.workload_api, identities, not given.send, given.form, user)


def _confirm(asked: _Asked) -> None:
    if not sys.stdin.isatty():
        raise click.UsageError("--send makes the calls again; where nobody can be asked, --yes says that this is meant")
    overview = asked.story.overview
    question = f"Make up to {counted(overview.kept_in_full, 'call')} of session {overview.id} again, by {asked.base}?"
    if not click.confirm(question, err=True):
        raise CannotReplay("nothing was sent")


async def _replay(asked: _Asked) -> Summary:
    identity = await workload_identity(asked.endpoint)
    story, summary, is_text = asked.story, Summary(), asked.form == "text"
    if is_text:
        has_user = asked.user is not None
        about = heading(story.overview, asked.base, identity.svid.id, dry_run=asked.dry_run, has_user=has_user)
        click.echo("\n".join(about))
    recorded = partial(recorded_of, story.folder, identities=asked.identities)
    async with open_gate(asked.base, asked.gate, identity) as client:
        sending = Replay(client, dry_run=asked.dry_run, user=asked.user)
        # What is read from disk keeps nobody waiting but this.
        for step in story.steps():
            found = await sending.send(step, recorded(step.entry))
            summary.add(found)
            click.echo("\n".join(as_lines(found)) if is_text else json_line(as_json(found)))
    counts = summary_json(story.overview, asked.base, summary, dry_run=asked.dry_run)
    click.echo(summary.words() if is_text else json_line(counts))
    return summary
