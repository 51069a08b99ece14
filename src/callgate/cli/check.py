"""`callgate check`: are the configuration and the policy good, and do they say what they seem to?"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
from click.core import ParameterSource

from callgate.cli.files import FileProblems, open_files
from callgate.cli.report import as_json, as_sarif, as_text
from callgate.cli.tools_option import read_tool_lists
from callgate.config import Config
from callgate.policy.compile import Policy
from callgate.policy.lint import Surroundings, lint
from callgate.policy.model import POLICY_LIMITS
from callgate.policy.moments import parse_moment
from callgate.policy.remarks import Level, Remark
from callgate.policy_files import TEST_ENDINGS, PolicyFiles, policy_files, read_text
from callgate.tool_lists import ToolList


@dataclass(frozen=True, slots=True)
class _Read:
    """What there is to check: the configuration, None without one, and each policy by where it stands, in words."""

    config: Config | None
    policies: Mapping[str, Policy]


@click.command()
@click.argument("policies", nargs=-1, metavar="[POLICY]...", type=click.Path(path_type=Path))
@click.option(
    "-c",
    "--config",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("callgate.yaml"),
    show_default=True,
    help="Where things are; names the policy files.",
)
@click.option(
    "--tools",
    "tool_lists",
    multiple=True,
    metavar="SERVER=FILE|URL",
    help="What the server says to tools/list: a JSON file, or the URL of a server that is asked without credentials.",
)
@click.option(
    "--format",
    "style",
    type=click.Choice(["text", "json", "sarif"]),
    default="text",
    show_default=True,
    help="json and sarif go to stdout, with all findings.",
)
@click.option(
    "--fail-on",
    type=click.Choice([level.value for level in Level]),
    default=Level.ERROR.value,
    show_default=True,
    help="Exit with 1 for a finding of this level or a worse one.",
)
@click.option("--notes", is_flag=True, help="Show notes in text, too.")
@click.option(
    "--at", "moment", metavar="MOMENT", help="Check for this moment, as in 2026-12-31T18:00:00Z.  [default: now]"
)
def check(
    *,
    policies: tuple[Path, ...],
    path: Path,
    tool_lists: tuple[str, ...],
    style: str,
    fail_on: str,
    notes: bool,
    moment: str | None,
) -> None:
    """Check the configuration and the policies that it names, and start nothing.

    With POLICY, a file or a folder of them, that policy is checked; against callgate.yaml only where -c is given.
    Several are checked as the one policy that they make together.

    Finds what makes a file be refused, and rules that are accepted and dead, or wider than they look.  Prints what was
    read on stdout and each finding as `file:line:column: level code message` on stderr.  Exit status: 0 nothing of
    --fail-on or worse, 1 findings, 2 a wrong command line.
    """
    ctx = click.get_current_context()
    now = _moment(moment)
    chosen = ctx.get_parameter_source("path") is not ParameterSource.DEFAULT
    with_config = not policies or chosen
    _refuse_what_is_meant_otherwise(policies, None if chosen or policies else path)
    read: _Read | None = None
    try:
        read = _read(path if with_config else None, policies)
        found = _linted(read, read_tool_lists(tool_lists, _servers(read)), now)
    except FileProblems as refused:
        found = [Remark.of_problem(problem) for problem in refused.problems]
    if style == "text":
        _print_text(read, path, found, notes=notes)
    else:
        click.echo(as_json(found) if style == "json" else as_sarif(found), nl=False)
    ctx.exit(int(any(remark.level.weight >= Level(fail_on).weight for remark in found)))


def _refuse_what_is_meant_otherwise(policies: Sequence[Path], default: Path | None) -> None:
    """What a newcomer tries first is answered with what to try next."""
    if default is not None and not default.exists():
        raise click.UsageError(f"there is no {default} here; name one with -c, or a policy: callgate check policy.yaml")
    for policy in policies:
        if policy.name.endswith(TEST_ENDINGS):
            raise click.UsageError(f"{policy} holds tests of a policy; run them with: callgate test {policy}")


def _moment(text: str | None) -> float:
    if text is None:
        return time.time()
    try:
        return parse_moment(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--at") from None


def _read(path: Path | None, given: Sequence[Path]) -> _Read:
    """Raises FileProblems."""
    if path is None:
        return _Read(None, _loaded(given))
    files = open_files(path)
    config = files.config
    if given:
        return _Read(config, _loaded(given, config))
    policies = {str(policy_files(path.parent, config.policy)): files.policy.current}
    if files.shadow is not None:
        policies[f"{policy_files(path.parent, config.shadow_policy)} (in shadow)"] = files.shadow.current
    return _Read(config, policies)


def _loaded(paths: Sequence[Path], config: Config | None = None) -> dict[str, Policy]:
    """Against the configuration, if there is one."""
    files = PolicyFiles(tuple(paths))
    if config is not None:
        files = replace(
            files,
            servers=frozenset(config.servers),
            has_auditors=config.has_auditors,
            has_approvals=config.has_approvals,
        )
    policy = files.load()
    if isinstance(policy, tuple):
        raise FileProblems(policy)
    return {str(files): policy}


def _servers(read: _Read) -> frozenset[str] | None:
    return None if read.config is None else frozenset(read.config.servers)


def _linted(read: _Read, tools: Mapping[str, ToolList], now: float) -> list[Remark]:
    issuers = None if read.config is None else frozenset(issuer.rules.issuer for issuer in read.config.user_issuers())
    known = Surroundings(now, tools, issuers)
    found = (remark for policy in read.policies.values() for remark in lint(policy, tuple(_texts(policy)), known))
    # A file may be part of both policies.
    return list(dict.fromkeys(found))


def _texts(policy: Policy) -> Iterator[tuple[str, str]]:
    """The files once more, for the places in them."""
    for name in policy.files:
        text = read_text(Path(name), POLICY_LIMITS.max_bytes)
        if isinstance(text, str):
            yield name, text


def _print_text(read: _Read | None, path: Path, found: Sequence[Remark], *, notes: bool) -> None:
    for line in as_text(found, notes=notes):
        click.echo(line, err=True)
    if read is None:
        return
    if read.config is not None:
        click.echo(f"{path}: {_counted(len(read.config.servers), 'server')} ({', '.join(read.config.servers)})")
    for where, policy in read.policies.items():
        rules = f"{_counted(policy.count('grant'), 'grant')}, {_counted(policy.count('denial'), 'denial')}"
        click.echo(f"{where}: {rules}, digest {policy.digest}")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
