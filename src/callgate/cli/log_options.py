"""Which log a command reads: `--log DIR`, or the folder that callgate.yaml names."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from callgate.cli.files import FileProblems
from callgate.config import Config, load_config
from callgate.policy_files import read_text
from callgate.telemetry.visible import visible
from callgate.yaml_strict import DEFAULT_LIMITS, Problem

F = TypeVar("F", bound=Callable[..., Any])

CONFIG: Final = Path("callgate.yaml")
# A path or two, and a sentence.
_MAX_MESSAGE: Final = 2000


def log_options(command: F) -> F:
    """Add --log and --config to a command, which takes them as `log` and `config`; `log_folder` reads the two."""
    config = click.option(
        "-c",
        "--config",
        "config",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Where things are; names the log's folder.  callgate.yaml, unless --log is given.",
    )
    log = click.option(
        "--log",
        "log",
        metavar="DIR",
        type=click.Path(path_type=Path, file_okay=False),
        help="The log's folder instead: no configuration is read.",
    )
    return log(config(command))


def log_folder(log: Path | None, config: Path | None) -> Path:
    """The folder of the log.  Raises UsageError, and FileProblems for a configuration that is not good."""
    if log is not None and config is not None:
        raise click.UsageError("--log and --config exclude each other")
    if log is not None:
        try:
            is_there = log.is_dir()
        except OSError as error:
            # A folder above it that may not be searched, a name that is too long.
            raise click.UsageError(f"{visible(str(log), _MAX_MESSAGE)}: {error.strerror}") from None
        if not is_there:
            raise click.UsageError(f"there is no folder {visible(str(log), _MAX_MESSAGE)}")
        return log
    if config is None and not CONFIG.exists():
        raise click.UsageError(f"there is no {CONFIG} here; name one by --config, or the log's folder by --log")
    path = config or CONFIG
    return path.parent / read_config(path).audit.folder


class CannotShow(click.ClickException):
    """What is asked about cannot be read, or not to its end: one sentence on stderr, and exit code 2."""

    exit_code = 2

    def __init__(self, fault: Exception | str) -> None:
        super().__init__(visible(str(fault), _MAX_MESSAGE))


def read_config(path: Path) -> Config:
    """The configuration alone: a log can be looked at while there is something wrong with the policy.

    Raises FileProblems.
    """
    text = read_text(path, DEFAULT_LIMITS.max_bytes)
    if isinstance(text, Problem):
        raise FileProblems([text])
    config = load_config(text, str(path))
    if not isinstance(config, Config):
        raise FileProblems(config)
    return config
