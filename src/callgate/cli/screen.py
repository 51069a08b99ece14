"""`callgate screen`: what would become of this answer, of these arguments, of this statement?"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
from pydantic import ValidationError

from callgate.cli.files import FileProblems, open_files
from callgate.cli.screen_shown import show_reading, show_screened
from callgate.cli.screened import MAX_BYTES, Asked, Screened, read_input, screen_answer, screen_call, screen_text
from callgate.identity.spiffe_id import InvalidSpiffeId, SpiffeId, TrustDomain
from callgate.policy.compile import Policy
from callgate.policy.mask_entries import MaskEntry
from callgate.policy_files import policy_files
from callgate.screening.shell import read_argv, read_shell
from callgate.screening.sql import DIALECTS, read_sql
from callgate.screening.terms import MaskRule, Screening
from callgate.wire.json_strict import JsonValue
from callgate.yaml_model import did_you_mean

_CONFIG: Final = Path("callgate.yaml")
_STDIN: Final = "-"
_WRONG_FILE: Final = 2
# Whoever calls where no workload is named; no grant can name it.
_NOBODY: Final = SpiffeId(TrustDomain("nobody.invalid"), "/nobody")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Flags:
    """The flags that say by what, as they were given."""

    config: Path | None
    policies: tuple[str, ...]
    server: str | None
    tool: str | None
    workload: str | None
    mask: str | None

    @property
    def names_policy(self) -> bool:
        """Whether a policy is meant."""
        return any((self.config, self.policies, self.server, self.tool, self.workload))


@click.command()
@click.argument("file", default=_STDIN, metavar="[FILE]")
@click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where things are; names the policy.  callgate.yaml, unless --policy is given.",
)
@click.option(
    "-p", "--policy", "policies", multiple=True, metavar="PATH", help="A policy file or folder instead; repeatable."
)
@click.option("--server", help="The tool server that answers or is called.")
@click.option("--tool", help="Its tool; without it, what the policy says of all tools of the server.")
@click.option("--workload", metavar="SPIFFE_ID", help="Who calls: every grant that names it and the tool counts.")
@click.option("--mask", metavar="ENTITIES", help="Mask these without a policy: email,card=partial, or all.")
@click.option("--arguments", is_flag=True, help="The input is the arguments of a call, not an answer.")
@click.option("--text", is_flag=True, help="Look for text that lies, and for nothing else.")
@click.option("--sql", metavar="DIALECT", help="Read the input as one SQL statement.")
@click.option("--shell", is_flag=True, help="Read it as a shell command.")
@click.option("--argv", is_flag=True, help="Read it as an argument list, a JSON array.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def screen(
    *,
    file: str,
    arguments: bool,
    text: bool,
    sql: str | None,
    shell: bool,
    argv: bool,
    form: str,
    **by: str | None,
) -> None:
    """Try the screening: what would become of this answer, of these arguments, of this statement?

    Reads text or JSON from FILE or standard input: a JSON-RPC message, a result, structured content, or plain text.
    What would be passed on is printed on stdout, and what was found on stderr, in names and counts; --format json says
    both on stdout.  No gate is asked, nothing is called, and nothing is recorded.  Pseudonyms are made with a key of
    nobody's: a gate makes others.  Schemas and pins are not looked at, nor the rest of the policy: `callgate explain`
    tells how a call is decided.

    Exit status: 0 nothing found, 1 something was masked, stripped or found (a destructive statement with --sql, --shell
    and --argv), 3 the answer or the call would be refused, 2 a wrong command line or a file that is not good.

    \b
      callgate screen --mask email,card < answer.json
      callgate screen --server crm --tool get_customer --workload spiffe://acme.test/agent answer.json
      echo 'DROP TABLE users' | callgate screen --sql postgres
    """  # noqa: D301  # click's \b
    flags = _Flags(**by)  # type: ignore[arg-type]  # click has checked them
    ctx = click.get_current_context()
    modes = {"--arguments": arguments, "--text": text, "--sql": sql is not None, "--shell": shell, "--argv": argv}
    _refuse_what_excludes_each_other([name for name, given in modes.items() if given], flags)
    if sql is not None and sql not in DIALECTS:
        raise click.BadParameter(
            f"must be one of {', '.join(DIALECTS)}{did_you_mean(sql, DIALECTS)}", param_hint="--sql"
        )
    if sql is not None:
        ctx.exit(show_reading(read_sql(_read(file), sql), form))
    if shell:
        ctx.exit(show_reading(read_shell(_read(file)), form))
    if argv:
        ctx.exit(show_reading(read_argv(_words(_read(file))), form))
    if text:
        ctx.exit(show_screened(screen_text(_read(file)), form))
    try:
        ctx.exit(show_screened(_screened(flags, file, arguments=arguments), form))
    except FileProblems as problems:
        problems.show()
        ctx.exit(_WRONG_FILE)


def _refuse_what_excludes_each_other(modes: Sequence[str], flags: _Flags) -> None:
    if len(modes) > 1:
        raise click.UsageError(f"{' and '.join(modes)} exclude each other")
    if modes and modes != ["--arguments"] and (flags.names_policy or flags.mask):
        raise click.UsageError(f"{modes[0]} asks no policy and masks nothing")
    if flags.mask and flags.names_policy:
        raise click.UsageError("--mask is for a trial without a policy: leave out what names one")
    if flags.config is not None and flags.policies:
        raise click.UsageError("--config and --policy exclude each other")


def _screened(flags: _Flags, file: str, *, arguments: bool) -> Screened:
    """Raises FileProblems."""
    asked = None if flags.mask else _asked(flags)
    screening = asked.screening() if asked else _ad_hoc(flags.mask or "")
    value = read_input(_read(file))
    if not arguments:
        return screen_answer(value, screening)
    if not isinstance(value, dict):
        raise click.UsageError("the arguments of a call must be a JSON object, in one reading and of at most 4 MiB")
    return screen_call(value, screening, tuple(asked.broken(value, _NOBODY, time.time())) if asked else ())


def _asked(flags: _Flags) -> Asked:
    if flags.server is None:
        if not flags.names_policy:
            raise click.UsageError("say by what to screen: --mask email,card, or --server and what names a policy")
        raise click.UsageError("--server is missing: whose answers these are")
    if flags.workload is not None and flags.tool is None:
        raise click.UsageError("--tool is missing: grants are about tools")
    policy = _policy(flags)
    if flags.server not in policy.rules and all(entry.server != flags.server for entry in policy.screening.entries):
        near = did_you_mean(flags.server, sorted(policy.rules))
        raise click.BadParameter(f"the policy says nothing of server '{flags.server}'{near}", param_hint="--server")
    return Asked(policy, flags.server, flags.tool, _workload(flags.workload))


def _policy(flags: _Flags) -> Policy:
    if not flags.policies:
        path = flags.config or _CONFIG
        if flags.config is None and not path.exists():
            raise click.UsageError(f"there is no {path} here; name one by --config, or a policy by --policy")
        return open_files(path).policy.current
    loaded = policy_files(Path(), flags.policies).load()
    if isinstance(loaded, tuple):
        raise FileProblems(loaded)
    return loaded


def _workload(text: str | None) -> SpiffeId | None:
    try:
        return None if text is None else SpiffeId.parse(text)
    except InvalidSpiffeId as error:
        raise click.BadParameter(str(error), param_hint="--workload") from None


def _ad_hoc(names: str) -> Screening:
    rules = tuple(rule for name in names.split(",") for rule in _rules(name.strip()))
    return Screening(answers=rules, arguments=rules)


def _rules(text: str) -> tuple[MaskRule, ...]:
    """`card`, or `card=partial`."""
    entity, equals, mode = text.partition("=")
    try:
        return MaskEntry.model_validate({"entity": entity} | ({"mode": mode} if equals else {})).rules()
    except ValidationError as error:
        message = error.errors(include_url=False, include_input=False)[0]["msg"].removeprefix("Value error, ")
        raise click.BadParameter(message, param_hint="--mask") from None


def _read(file: str) -> str:
    """Raises click's errors for what cannot be read."""
    try:
        if file == _STDIN:
            found = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(file).open("rb") as opened:
                found = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise click.UsageError(f"{file}: {error.strerror or error}") from None
    if len(found) > MAX_BYTES:
        raise click.UsageError(f"{file}: is larger than {MAX_BYTES} bytes, which a gate would refuse")
    try:
        return found.decode()
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{file}: is not UTF-8, at byte {error.start}") from None


def _words(text: str) -> list[str]:
    value: JsonValue = read_input(text)
    words = [word for word in value if isinstance(word, str)] if isinstance(value, list) else None
    if words is None or not isinstance(value, list) or len(words) != len(value):
        raise click.UsageError('an argument list is a JSON array of texts, such as ["rm", "-rf", "/tmp/x"]')
    return words
