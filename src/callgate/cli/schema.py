"""`callgate schema`: the JSON Schemas of the files, for editors, and of audit records."""

import click

from callgate.schemas import SCHEMAS, schema_text


@click.command()
@click.argument("file", type=click.Choice(tuple(SCHEMAS)), default="policy")
def schema(file: str) -> None:
    """Print the JSON Schema (2020-12) of a policy, of callgate.yaml (config) or of policy tests (policy-test).

    audit-record is that of one line of the log of calls.

    Editors with the YAML language server read it where the first line of a file says
    "# yaml-language-server: $schema=policy.schema.json".
    """
    click.echo(schema_text(file), nl=False)
