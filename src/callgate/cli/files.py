"""The files that a gate is started with, read and checked together."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import click

from callgate.audit.recipients import UnusableRecipient, load_recipients
from callgate.config import Config, Outline, load_config, outline
from callgate.policy_files import PolicyFiles, policy_files, read_text
from callgate.policy_source import PolicySource
from callgate.yaml_strict import DEFAULT_LIMITS, Problem

SHADOW = "shadow policy"


class FileProblems(click.ClickException):
    """What is wrong with the files, all of it; one line each on stderr, and exit code 1."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the lines alone: editors find `file:line:column:` at the start of a line."""
        click.echo(self.message, file=file, err=file is None)


@dataclass(frozen=True, slots=True)
class GateFiles:
    """callgate.yaml, the folder that it stands in, and the policies that it names, each ready to follow its files."""

    folder: Path
    config: Config
    policy: PolicySource
    shadow: PolicySource | None

    @property
    def policies(self) -> Mapping[str, PolicySource]:
        """Both by their role, as metrics call it."""
        return {"enforced": self.policy} | ({"shadow": self.shadow} if self.shadow else {})


def open_files(path: Path) -> GateFiles:
    """Read callgate.yaml and the policies that it names.  Raises FileProblems with the mistakes in all of them."""
    text = read_text(path, DEFAULT_LIMITS.max_bytes)
    if isinstance(text, Problem):
        raise FileProblems([text])
    config = load_config(text, str(path))
    if not isinstance(config, Config):
        raise FileProblems([*config, *_problems_beside(path, outline(text, str(path)))])
    policy = PolicySource.open(_files_of(path.parent, config, config.policy))
    shadow = None
    if config.shadow_policy:
        shadow = PolicySource.open(_files_of(path.parent, config, config.shadow_policy), what=SHADOW)
    problems = _unusable_recipients(path, config)
    if isinstance(policy, PolicySource) and not isinstance(shadow, tuple) and not problems:
        return GateFiles(path.parent, config, policy, shadow)
    of_policies = (problem for found in (policy, shadow) if isinstance(found, tuple) for problem in found)
    raise FileProblems([*problems, *of_policies])


def _files_of(folder: Path, config: Config, paths: tuple[str, ...]) -> PolicyFiles:
    return policy_files(
        folder,
        paths,
        frozenset(config.servers),
        has_auditors=config.has_auditors,
        has_approvals=config.has_approvals,
    )


def _unusable_recipients(path: Path, config: Config) -> list[Problem]:
    """Whatever keeps recorded content from being encrypted is found before the first call."""
    if not config.has_auditors:
        return []
    try:
        load_recipients(config.audit.recipients, path.parent)
    except UnusableRecipient as fault:
        return [Problem(str(path), 0, 0, f"audit.recipients: {fault}")]
    return []


def _problems_beside(path: Path, found: Outline) -> Iterator[Problem]:
    """What is wrong with the policies of a configuration that is refused."""
    for paths in (found.policy, found.shadow_policy):
        files = policy_files(
            path.parent,
            paths,
            found.servers,
            has_auditors=found.has_auditors,
            has_approvals=found.has_approvals,
        )
        policy = files.load() if paths else ()
        if isinstance(policy, tuple):
            yield from policy
