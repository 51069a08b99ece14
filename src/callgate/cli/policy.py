"""`callgate policy`: what would another policy have decided, and how narrow could this one be?"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click
from pydantic import TypeAdapter, ValidationError

from callgate.audit.query import COUNTING, Query
from callgate.audit.reading import UnreadableLog
from callgate.cli import policy_changes, policy_suggested
from callgate.cli.files import FileProblems
from callgate.cli.kept import identities_of
from callgate.cli.log_filters import Filters, filter_options, query_of
from callgate.cli.log_options import CannotShow, log_folder, log_options
from callgate.cli.policy_log import LogSources, entries_of
from callgate.cli.shown_json import shown_json
from callgate.errors import GatewayError
from callgate.policy.compile import Policy
from callgate.policy.difference import Change
from callgate.policy.recorded import BY_POLICY
from callgate.policy.replay import Replay
from callgate.policy.suggested_yaml import as_yaml
from callgate.policy.suggestion import suggestion, written
from callgate.policy.tally import Tally
from callgate.policy.unused import grant_reports, log_reach
from callgate.policy.usage import Usage
from callgate.policy_files import policy_files
from callgate.yaml_model import LongSeconds

# OLD, where it is what was really decided.
_RECORDED: Final = frozenset({"-", "recorded"})
_CHANGED: Final = 1
_CANNOT: Final = 2


@click.group("policy")
def policy() -> None:
    """Policies against what is on record: what would change, and what is needed at all."""


@policy.command("diff")
@click.argument("old", metavar="OLD|-")
@click.argument("new", metavar="NEW")
@log_options
@filter_options
@click.option(
    "--identity",
    type=click.Path(path_type=Path, dir_okay=False),
    help="An auditor's private key, to know the arguments of calls that were recorded in full.",
)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def diff(
    *,
    old: str,
    new: str,
    log: Path | None,
    config: Path | None,
    identity: Path | None,
    form: str,
    **filters: str | bool | tuple[str, ...] | None,
) -> None:
    """Decide each recorded call again by the policy NEW, and tell what would change from OLD.

    OLD and NEW are files or folders of them; with - for OLD, NEW is compared with what was really decided.  Arguments,
    a user's claims and a tool's annotations are not in the log: where a decision hangs on them it cannot be told, and
    nothing is guessed.  What a workload did before is what it really did.  Limits are not asked again.

    Exit status: 0 nothing changes, 1 something does, 2 it cannot be told of some decisions and none of the others
    changes; also for a policy that is not good, a wrong command line, or a log that cannot be read.

    \b
      callgate policy diff - new.yaml --log audit
      callgate policy diff policy.yaml new.yaml --since 7d --agent 'spiffe://acme.test/ns/billing/**'
    """  # noqa: D301  # click's \b
    with _cannot():
        folder = log_folder(log, config)
        query = query_of(Filters(**{name: value for name, value in filters.items() if value is not None}), time.time())  # type: ignore[arg-type]  # click's own types
        sources = LogSources(folder, identities_of(identity))
        replay = Replay(None if old in _RECORDED else _loaded(old), _loaded(new), sources.sources)
        tally = Tally()
        for entry in entries_of(folder, query, from_start=replay.asks_past):
            sources.see(entry.record)
            found = replay.see(entry.record, compare=query.matches(entry))
            if found is not None:
                tally.add(entry.record, found)
            elif entry.kind in COUNTING:
                tally.unsaid += sum(query.counted(entry)[reason] for reason in BY_POLICY)
    compared = policy_changes.Compared("what was decided" if old in _RECORDED else old, new, sources.unknown_policies)
    if form == "json":
        click.echo(shown_json(policy_changes.as_json(tally, compared)))
    else:
        click.echo("\n".join(policy_changes.as_text(tally, compared)))
    click.get_current_context().exit(_exit_code(tally))


def _exit_code(tally: Tally) -> int:
    if any(count for change, count in tally.changes.items() if change is not Change.UNKNOWN):
        return _CHANGED
    return _CANNOT if tally.changes[Change.UNKNOWN] or tally.unreadable else 0


class _Cannot(click.ClickException):
    """The command has no answer."""

    exit_code = _CANNOT


class _RefusedFiles(FileProblems):
    """A policy or a configuration is not good."""

    exit_code = _CANNOT


@contextmanager
def _cannot() -> Iterator[None]:
    """Whatever keeps a command from answering ends it with 2: 1 is an answer."""
    try:
        yield
    except UnreadableLog as error:
        raise CannotShow(error) from None
    except FileProblems as error:
        raise _RefusedFiles(error.problems) from None
    except click.ClickException as error:
        if error.exit_code == _CHANGED:
            raise _Cannot(error.message) from None
        raise
    except (GatewayError, OSError) as error:
        raise _Cannot(str(error)) from None


def _loaded(path: str) -> Policy:
    found = policy_files(Path(), (path,)).load()
    if isinstance(found, tuple):
        raise FileProblems(found)
    return found


@policy.command("suggest")
@log_options
@click.option(
    "-p",
    "--policy",
    "policies",
    multiple=True,
    metavar="PATH",
    help="A policy to narrow, a file or a folder; repeatable.",
)
@click.option("--unused", default="30d", show_default=True, metavar="DURATION", help="Call a grant unused after that.")
@click.option("--fold", is_flag=True, help="Workloads of one folder as a pattern, such as ns/billing/sa/*.")
@click.option(
    "--identity",
    type=click.Path(path_type=Path, dir_okay=False),
    help="An auditor's private key, to know the arguments of calls that were recorded in full.",
)
@click.option("--format", "form", type=click.Choice(["text", "yaml", "json"]), default="text", show_default=True)
def suggest(
    *,
    log: Path | None,
    config: Path | None,
    policies: tuple[str, ...],
    unused: str,
    fold: bool,
    identity: Path | None,
    form: str,
) -> None:
    """Suggest the narrowest policy that covers what was used: each workload with the very tools it called.

    With --policy: its own grants, narrowed to who used them for what, with their conditions and all else, and never
    wider; and which of them nobody used.  A tool that never answered is left out.  What a log does not reach back to
    is not called unused.

    Exit status: 0 suggested, 2 there is nothing to suggest, a policy that is not good, a wrong command line, or a log
    that cannot be read.

    \b
      callgate policy suggest --log audit > used.yaml --format yaml
      callgate policy suggest --policy policy.yaml --unused 90d
    """  # noqa: D301  # click's \b
    unused_s = _duration(unused)
    with _cannot():
        folder = log_folder(log, config)
        given, texts = _loaded_with_texts(policies) if policies else (None, ())
        sources = LogSources(folder, identities_of(identity))
        usage = Usage(given, sources.sources)
        for entry in entries_of(folder, Query(), from_start=True):
            sources.see(entry.record)
            usage.see(entry.record)
    found = suggestion(usage, written(texts) if given is not None else None, fold=fold)
    if not found.trust_domains:
        raise _Cannot("the log has no call that was allowed and answered: there is nothing to suggest")
    reach_s = log_reach(usage)
    text = as_yaml(found, policy_suggested.head(usage, reach_s))
    reports = grant_reports(usage, unused_s)
    told = policy_suggested.Told(usage, found, text, reports, unused_s, reach_s, sources.unknown_policies)
    match form:
        case "yaml":
            click.echo(text, nl=False)
        case "json":
            click.echo(shown_json(policy_suggested.as_json(told)))
        case _:
            click.echo("\n".join(policy_suggested.as_text(told)))


def _loaded_with_texts(paths: tuple[str, ...]) -> tuple[Policy, tuple[tuple[str, str], ...]]:
    files = policy_files(Path(), paths)
    reading = files.read_now()
    found = files.compiled(reading)
    if isinstance(found, tuple):
        raise FileProblems(found)
    return found, reading.texts


def _duration(text: str) -> int:
    try:
        return TypeAdapter(LongSeconds).validate_python(text)
    except ValidationError:
        raise click.BadParameter("must be a duration such as '12h' or '30d'", param_hint="--unused") from None
