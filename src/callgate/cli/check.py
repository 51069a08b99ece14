"""`callgate check`: are the configuration and the policy good?"""

from pathlib import Path

import click

from callgate.cli.files import read_config


@click.command()
@click.option(
    "-c",
    "--config",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("callgate.yaml"),
    show_default=True,
    help="Where things are; names the policy file.",
)
def check(path: Path) -> None:
    """Check the configuration and the policy that it names, and start nothing.

    Prints every mistake in both files as `file:line:column: message` on stderr and exits 1; or else what was read, and
    exits 0.
    """
    config, policy = read_config(path)
    click.echo(f"{path}: {_counted(len(config.servers), 'server')} ({', '.join(config.servers)})")
    rules = f"{_counted(policy.count('grant'), 'grant')}, {_counted(policy.count('denial'), 'denial')}"
    click.echo(f"{path.parent / config.policy}: {rules}, digest {policy.digest}")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
