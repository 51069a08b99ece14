"""`callgate audit auditor-key`: a key pair for whoever may read recorded sessions."""

from pathlib import Path

import click

from callgate.audit.age import KeyPair
from callgate.audit.identities import write_identity


@click.command("auditor-key")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def auditor_key(file: Path) -> None:
    """Make a key pair for an auditor: the private key into FILE, the public one to stdout.

    The public key, age1…, goes into audit.recipients of callgate.yaml; what is recorded in full from then on can be
    read with FILE, and with nothing else.  Keep FILE where no gate runs, and a copy of it: nobody can make it again.

    FILE is an identity file of age (https://age-encryption.org), so that `age --decrypt --identity FILE` reads single
    objects as well.  A file that exists is not overwritten.  Exit status: 0, or 1 where FILE cannot be written.
    """
    pair = KeyPair.generate()
    try:
        write_identity(file, pair)
    except FileExistsError:
        raise click.ClickException(f"{file} exists; a key that is overwritten cannot be brought back") from None
    except OSError as error:
        raise click.ClickException(f"cannot write {file}: {error.strerror}") from None
    click.echo(pair.recipient)
