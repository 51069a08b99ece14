"""`callgate schema`: the JSON Schemas of the files, for editors."""

import click

from callgate.schemas import FORMATS, schema_text


@click.command()
@click.argument("file", type=click.Choice(tuple(FORMATS)), default="policy")
def schema(file: str) -> None:
    """Print the JSON Schema (2020-12) of a policy, of callgate.yaml (config) or of policy tests (policy-test).

    Editors with the YAML language server read it where the first line of a file says
    "# yaml-language-server: $schema=policy.schema.json".
    """
    click.echo(schema_text(file), nl=False)
