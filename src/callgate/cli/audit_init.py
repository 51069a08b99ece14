"""`callgate audit init` and `key`: the key that signs a log's checkpoints, and its public half."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from callgate.audit.keys import load_key, make_key
from callgate.audit.note import UnusableNoteKey
from callgate.audit.opening import CannotOpenLog
from callgate.audit.places import Places
from callgate.cli.log_options import CONFIG, read_config

_FOLDER_MODE: Final = 0o700
_OPEN_TO_OTHERS: Final = 0o077
_config_option = click.option(
    "-c",
    "--config",
    "config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where things are; names the log's folder, key and origin.  callgate.yaml, unless --folder is given.",
)


@dataclass(frozen=True, slots=True)
class _Asked:
    """Which log it is about."""

    folder: Path
    key: Path
    origin: str


@click.command("init")
@_config_option
@click.option(
    "--folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False), help="The log's folder instead."
)
@click.option("--origin", metavar="NAME", help="What the log is called, with --folder: gate.acme.test/audit.")
def init(config: Path | None, folder: Path | None, origin: str | None) -> None:
    """Make the key of a log: key.pem, which only the gate may read, and key.pub beside it.

    Prints the verifier key, the public half, alone on stdout: give it to those who audit, before the log begins, and
    where nobody who can write to the log can change it.  A key that exists is not overwritten.

    Exit status: 0 made, 1 there is a key already or it cannot be written, 2 a wrong command line.
    """
    asked = _asked(config, folder, origin)
    try:
        asked.folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        key = make_key(asked.key, asked.origin)
        mode = asked.folder.stat().st_mode
    except FileExistsError:
        raise click.ClickException(
            f"{asked.key} exists, and a log is only as good as the key that it was begun with; "
            "callgate audit key prints its public half"
        ) from None
    except UnusableNoteKey as fault:
        raise click.BadParameter(str(fault), param_hint="--origin") from None
    except OSError as error:
        raise click.ClickException(f"cannot make {asked.key}: {error.strerror}") from None
    click.echo(
        f"made {asked.key} (back it up where no one else can read it) and {asked.key.with_suffix('.pub')}", err=True
    )
    if mode & _OPEN_TO_OTHERS:
        click.echo(f"warning: {asked.folder} is open to others; chmod 700 it", err=True)
    click.echo("the verifier key, for auditors to keep:", err=True)
    click.echo(key.vkey)
    click.echo(f"they check the log with: callgate audit verify {asked.folder} --key {key.vkey}", err=True)


@click.command("key")
@_config_option
def key(config: Path | None) -> None:
    """Print the verifier key of the log that callgate.yaml names, made from its private key.

    Exit status: 0, 1 a configuration or a key that is not good, 2 a wrong command line.
    """
    asked = _asked(config, None, None)
    try:
        click.echo(load_key(asked.key, asked.origin).vkey)
    except CannotOpenLog as fault:
        raise click.ClickException(str(fault)) from None


def _asked(config: Path | None, folder: Path | None, origin: str | None) -> _Asked:
    """Raises UsageError, and FileProblems for a configuration that is not good."""
    if folder is not None or origin is not None:
        if config is not None:
            raise click.UsageError("--folder and --origin say what --config would; give the one or the other")
        if folder is None or origin is None:
            raise click.UsageError("--folder and --origin need each other: the key signs for the log of that name")
        return _Asked(folder, Path(Places(folder).key), origin)
    path = config or CONFIG
    if config is None and not path.exists():
        raise click.UsageError(f"there is no {path} here; name one by --config, or give --folder and --origin")
    audit = read_config(path).audit
    log = path.parent / audit.folder
    return _Asked(log, path.parent / audit.key if audit.key else Path(Places(log).key), audit.origin)
