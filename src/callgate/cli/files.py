"""The two files that a gate is started with, read and checked together."""

from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import click

from callgate.config import Config, load_config, outline
from callgate.policy.compile import Policy, load_policy
from callgate.policy.model import POLICY_LIMITS
from callgate.yaml_strict import DEFAULT_LIMITS, Problem, decode


class FileProblems(click.ClickException):
    """What is wrong with the files, all of it; one line each on stderr, and exit code 1."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the lines alone: editors find `file:line:column:` at the start of a line."""
        click.echo(self.message, file=file, err=file is None)


def read_config(path: Path) -> tuple[Config, Policy]:
    """Read callgate.yaml and the policy file that it names.  Raises FileProblems with the mistakes in both."""
    text = _read(path, DEFAULT_LIMITS.max_bytes)
    if isinstance(text, Problem):
        raise FileProblems([text])
    config = load_config(text, str(path))
    if isinstance(config, Config):
        policy = read_policy(path.parent / config.policy, frozenset(config.servers))
        if isinstance(policy, Policy):
            return config, policy
        raise FileProblems(policy)
    policy_path, servers = outline(text, str(path))
    policy = read_policy(path.parent / policy_path, servers) if policy_path else ()
    raise FileProblems(config if isinstance(policy, Policy) else (*config, *policy))


def read_policy(path: Path, servers: frozenset[str] | None) -> Policy | tuple[Problem, ...]:
    """Read one policy file, or say all that is wrong with it; `servers` as in `load_policy`."""
    text = _read(path, POLICY_LIMITS.max_bytes)
    return (text,) if isinstance(text, Problem) else load_policy(text, str(path), servers)


def _read(path: Path, max_bytes: int) -> str | Problem:
    try:
        with path.open("rb") as file:
            # One byte more than may be: enough to be refused as too large.
            data = file.read(max_bytes + 1)
    except (OSError, ValueError) as error:
        return Problem(str(path), 0, 0, f"cannot be read: {getattr(error, 'strerror', None) or error}")
    if len(data) > max_bytes:
        return Problem(str(path), 0, 0, f"is larger than {max_bytes} bytes")
    return decode(data, str(path))
