"""`callgate audit`: is the log what the gate wrote, and can it be shown to others?"""

import time
from pathlib import Path
from typing import Final

import click

from callgate.audit.checkpoint import VerifierKey
from callgate.audit.lines import UnusableInput
from callgate.audit.lookup import ids_beginning, is_id
from callgate.audit.places import Places
from callgate.audit.proof import MAX_PROOF_BYTES, BadProof, Proof
from callgate.audit.proof import check as check_proof
from callgate.audit.proving import prove as prove_record
from callgate.audit.reading import UnreadableLog, size_of
from callgate.audit.verify import verify as verify_log
from callgate.cli.audit_init import init, key
from callgate.cli.audit_report import as_json, as_text, proof_words
from callgate.cli.auditor_key import auditor_key
from callgate.cli.happened import find
from callgate.cli.log_options import CannotShow, log_folder, log_options
from callgate.cli.progress import Progress
from callgate.cli.verifier_key import read_verifier_key, verifier_key
from callgate.wire.members import number_of

# Decision ids have 32 digits; no log has so many records.
_MAX_NUMBER_DIGITS: Final = 18


_key_option = click.option(
    "--key",
    "verifier",
    required=True,
    metavar="PUB",
    callback=read_verifier_key,
    help="The log's verifier key, NAME+ID+KEY, or the file it stands in.  Not one from beside the log: keep your own.",
)


@click.group("audit")
def audit() -> None:
    """Prove what is in the log: make its key, verify it, prove single records to others.

    Everything but init works offline, on a copy, and needs nothing of the gate's but its public key.
    """


@audit.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@_key_option
@click.option(
    "--checkpoint",
    "kept",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Checkpoints that were kept elsewhere: signed notes, or lines as the gate writes them.  Repeatable.",
)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def verify(folder: Path, verifier: VerifierKey, kept: tuple[Path, ...], form: str) -> None:
    """Tell whether the log in DIR is what the gate wrote, and where it is not.

    Finds records that were edited, dropped, moved or put in, and ends that were cut off.  What is cut off together with
    the checkpoints beside the log can be seen by checkpoints that were kept elsewhere: --checkpoint.

    Findings go to stdout as `file:line: code: what is wrong`, with what is proved and what is not below them.  Exit
    status: 0 whole, 1 findings, 2 a wrong command line, or no log that could be looked at.

    \b
      callgate audit verify audit --key key.pub --checkpoint /mnt/witness/checkpoints.jsonl
    """  # noqa: D301  # click's \b
    started = time.monotonic()
    progress = Progress()
    try:
        verdict = verify_log(folder, verifier, kept, lambda done, size: progress.tell(lambda: _far(done, size)))
    except UnusableInput as fault:
        raise CannotShow(fault) from None
    finally:
        progress.clear()
    took_s = time.monotonic() - started
    click.echo(as_json(verdict, verifier) if form == "json" else as_text(verdict, verifier, took_s))
    click.get_current_context().exit(0 if verdict.is_whole else 1)


@audit.command()
@click.argument("record", metavar="ID")
@log_options
@click.option(
    "--key",
    "verifier",
    metavar="PUB",
    callback=read_verifier_key,
    help="The log's verifier key, or its file.  [key.pub in the log's folder]",
)
@click.option("-o", "--output", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="[stdout]")
def prove(
    record: str, log: Path | None, config: Path | None, verifier: VerifierKey | None, output: Path | None
) -> None:
    """Write a proof that a record is in the log, which can be checked without the log.

    ID is the number of a record, or a decision id or the beginning of one: the proof is then of the request's record,
    its intent or its refusal.  The proof holds the record itself and a signed checkpoint, in the C2SP tlog-proof
    format.

    Exit status: 0 written, 1 it cannot be written or a configuration is not good, 2 no such record, or not proved.
    """
    folder = log_folder(log, config)
    known = verifier or _key_beside(folder)
    try:
        index = _number_of(folder, record)
        proof, checkpoint = prove_record(folder, known, index)
    except (UnusableInput, UnreadableLog) as fault:
        raise CannotShow(fault) from None
    _write(output, str(proof))
    where = f" in {output}" if output else ""
    click.echo(f"record {index} of {known.origin}, proved under {checkpoint.size} records{where}", err=True)


@audit.command()
@click.argument("proof", metavar="PROOF", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@_key_option
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def check(proof: Path, verifier: VerifierKey, form: str) -> None:
    """Check a proof without the log, and show the record that it proves.

    json is the record alone, byte for byte as it stands in the log.  Exit status: 0 proved, 1 not proved (nothing is
    shown), 2 a wrong command line, or a file that cannot be read.
    """
    try:
        with click.open_file(str(proof), "rb") as file:
            text = file.read(MAX_PROOF_BYTES + 1).decode("utf-8", "replace")
    except OSError as error:
        raise CannotShow(f"{proof}: {error.strerror}") from None
    found = Proof.parse(text)
    checkpoint = check_proof(found, verifier) if isinstance(found, Proof) else found
    if isinstance(checkpoint, BadProof) or isinstance(found, BadProof):
        why = checkpoint.why if isinstance(checkpoint, BadProof) else ""
        raise click.ClickException(f"nothing is proved: {why}")
    if form == "json":
        click.echo(found.record)
    else:
        click.echo(proof_words(found, checkpoint))


def _far(done: int, size: int) -> str:
    return f"{done * 100 // max(size, 1)} % of {size / 1e6:,.0f} MB"


def _key_beside(folder: Path) -> VerifierKey:
    path = Path(Places(folder).public_key)
    if not path.is_file():
        raise click.UsageError(f"there is no file {path}; name the verifier key by --key")
    return verifier_key(str(path))


def _number_of(folder: Path, text: str) -> int:
    """Of a record, or of the one of a decision.  Raises UsageError and UnreadableLog."""
    is_number = text.isascii() and text.isdecimal() and len(text) <= _MAX_NUMBER_DIGITS
    if is_number and (int(text) < size_of(folder) or not (is_id(text) and ids_beginning(folder, "decision", text))):
        return int(text)
    entry = find(folder, "decision", text)
    if entry.outcome is not None:
        outcome = number_of(entry.outcome, "seq")
        click.echo(f"its outcome is record {outcome}: callgate audit prove {outcome}", err=True)
    return entry.seq


def _write(output: Path | None, text: str) -> None:
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"cannot write {output}: {error.strerror}") from None


for _command in (init, key, auditor_key):
    audit.add_command(_command)
