"""`callgate pin`: approve the definitions of a server's tools, and see what differs from what was approved."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

import click

from callgate.cli.definitions_source import (
    AskedServer,
    NoDefinitions,
    ask_for_definitions,
    check_url,
    identity_of_this_workload,
    read_definitions,
)
from callgate.cli.files import FileProblems
from callgate.cli.pinned import Comparison, as_json, as_text, compare
from callgate.cli.running import run
from callgate.cli.session_replay_client import base_of
from callgate.config import Config, load_config
from callgate.identity.spiffe_id import InvalidSpiffeId, SpiffeId
from callgate.lock_files import load_lock, save_lock
from callgate.policy_files import read_text
from callgate.screening.pins import BadLock, Lock, lock_of
from callgate.wire.json_strict import JsonValue
from callgate.yaml_model import did_you_mean
from callgate.yaml_strict import DEFAULT_LIMITS, Problem

# 1 says that something differs: whatever else goes wrong is 2.
_DIFFERS: Final = 1
_CANNOT: Final = 2


class _Cannot(click.ClickException):
    exit_code = _CANNOT


@click.command()
@click.argument("server")
@click.option(
    "-c",
    "--config",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("callgate.yaml"),
    show_default=True,
    help="Where things are; names the server and its lock file.",
)
@click.option(
    "--from",
    "source",
    metavar="FILE|URL",
    help="What the server says to tools/list: a JSON file, or a URL to ask.  [default: the server's url]",
)
@click.option(
    "--token", "token_file", type=click.File("r"), metavar="FILE", help="A token to show to the URL; - is stdin."
)
@click.option("--through", metavar="URL", help="Ask as an agent, by way of this gate: https://localhost:8443.")
@click.option("--gate", "gate_id", metavar="SPIFFE_ID", help="With --through: who the gate must prove to be.")
@click.option(
    "--workload-api",
    envvar="SPIFFE_ENDPOINT_SOCKET",
    show_envvar=True,
    help="With --through: where the agent's SVID comes from, as in unix:///run/spire/agent.sock.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The lock file.  [default: what the server's 'lock' says, else SERVER.lock.json beside callgate.yaml]",
)
@click.option("--diff", "is_diff", is_flag=True, help="Write nothing: show what differs from the lock file.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def pin(server: str, path: Path, **options: Any) -> None:  # noqa: ANN401  # click's own types
    """Write the lock file of SERVER: the definitions of its tools as they are now, which is to approve them.

    With `lock: FILE` in callgate.yaml the gate hides and refuses any tool of the server that is not in the lock file, or
    that is no longer as it stands there, and shows agents the definitions that were approved.  The file belongs into
    version control, and its changes are reviewed like code: a definition is what a model reads.

    Ask the server itself where you can.  A gate shows the tools that the asking agent may call, and of a server with a
    lock file those that are in it.

    Exit status: 0 written, or nothing differs; 1 something differs (--diff); 2 there is nothing to write or compare.

    \b
      callgate pin ledger --from http://localhost:9000/mcp
      callgate pin ledger --diff
    """  # noqa: D301  # click's \b
    given = _Options(**options)
    with _exit_code():
        config = _config(path)
        target = given.out or _lock_path(config, path.parent, server)
        tools = _listed(given, config, server)
        found = _compared(target, server, tools, must_exist=given.is_diff)
        if not given.is_diff:
            save_lock(target, found.new)
    if given.form == "json":
        click.echo(as_json(found, target, is_written=not given.is_diff), nl=False)
    else:
        for line in as_text(found, target, is_written=not given.is_diff):
            click.echo(line)
    raise SystemExit(_DIFFERS if given.is_diff and found.differs else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """The command line's, as click gives them."""

    source: str | None
    token_file: IO[str] | None
    through: str | None
    gate_id: str | None
    workload_api: str | None
    out: Path | None
    is_diff: bool
    form: str


@contextmanager
def _exit_code() -> Iterator[None]:
    try:
        yield
    except click.UsageError:
        raise
    except click.ClickException as fault:
        raise _Cannot(fault.message) from None
    except (NoDefinitions, BadLock) as fault:
        raise _Cannot(str(fault)) from None
    except OSError as fault:
        raise _Cannot(f"cannot write {fault.filename}: {fault.strerror}") from None


def _config(path: Path) -> Config | None:
    """callgate.yaml, None where there is none: a list in a file takes no other.  Raises FileProblems."""
    if not path.exists():
        return None
    text = read_text(path, DEFAULT_LIMITS.max_bytes)
    if isinstance(text, Problem):
        raise FileProblems([text])
    config = load_config(text, str(path))
    if not isinstance(config, Config):
        raise FileProblems(config)
    return config


def _lock_path(config: Config | None, folder: Path, server: str) -> Path:
    if config is not None and server not in config.servers:
        raise click.BadParameter(
            f"'{server}' is not configured{did_you_mean(server, config.servers)}", param_hint="SERVER"
        )
    named = config.servers[server].lock if config is not None else None
    return folder / (named or f"{server}.lock.json")


def _listed(given: _Options, config: Config | None, server: str) -> Sequence[JsonValue]:
    if given.through is not None:
        return run(partial(_ask_gate, given, server))
    source = given.source or (config.servers[server].url if config is not None else None)
    if source is None:
        raise click.UsageError("there is no callgate.yaml here; say where the definitions are with --from FILE or URL")
    if not source.startswith(("http://", "https://")):
        return read_definitions(Path(source))
    try:
        url = check_url(source)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--from") from None
    token = given.token_file.read().strip() if given.token_file else None
    return run(partial(ask_for_definitions, AskedServer(url, token=token)))


async def _ask_gate(given: _Options, server: str) -> Sequence[JsonValue]:
    if given.source is not None:
        raise click.UsageError("--from and --through are two places; name one")
    if given.gate_id is None:
        raise click.UsageError("--gate is missing: who the gate must prove to be, such as spiffe://acme.test/gate")
    try:
        gate, base = SpiffeId.parse(given.gate_id), base_of(given.through or "")
    except InvalidSpiffeId as error:
        raise click.BadParameter(str(error), param_hint="--gate") from None
    except ValueError:
        raise click.BadParameter(
            "must be the gate alone, such as https://localhost:8443", param_hint="--through"
        ) from None
    identity = await identity_of_this_workload(given.workload_api)
    return await ask_for_definitions(AskedServer(f"{base}/{server}/mcp", gate, identity))


def _compared(target: Path, server: str, tools: Sequence[JsonValue], *, must_exist: bool) -> Comparison:
    """What the server has now beside what was approved; nothing was, where there is no lock file yet."""
    old = Lock(server, {})
    if must_exist or target.exists():
        old = load_lock(target, server)
    return compare(old, lock_of(server, tools))
