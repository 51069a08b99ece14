"""`callgate audit`: is the log what the gate wrote, and can it be shown to others?"""

import sys
import time
from pathlib import Path
from typing import Final

import click

from callgate.audit.checkpoint import VerifierKey
from callgate.audit.entries import number_of
from callgate.audit.lines import UnusableInput
from callgate.audit.lookup import ids_beginning, is_id
from callgate.audit.note import UnusableNoteKey
from callgate.audit.proof import MAX_PROOF_BYTES, BadProof, Proof
from callgate.audit.proof import check as check_proof
from callgate.audit.proving import prove as prove_record
from callgate.audit.reading import UnreadableLog, size_of
from callgate.audit.verify import verify as verify_log
from callgate.cli.audit_init import init, key
from callgate.cli.audit_report import as_json, as_text, proof_words
from callgate.cli.auditor_key import auditor_key
from callgate.cli.happened import find
from callgate.cli.log_options import log_folder, log_options
from callgate.telemetry.visible import visible

# A verifier key has less than 400 bytes, and people put a comment beside what they keep.
_MAX_KEY_BYTES: Final = 16 * 1024
# Between its three parts, and some in the last.
_PLUSES: Final = 2
# Decision ids have 32 digits; no log has so many records.
_MAX_NUMBER_DIGITS: Final = 18
_PROGRESS_S: Final = 0.2
_MESSAGE_CHARS: Final = 2_000


class _Unusable(click.ClickException):
    """What was given cannot be looked at: one sentence on stderr, and exit code 2."""

    exit_code = 2

    def __init__(self, fault: Exception | str) -> None:
        super().__init__(visible(str(fault), _MESSAGE_CHARS))


def _read_key(_ctx: click.Context, _param: click.Parameter, given: str | None) -> VerifierKey | None:
    return _key(given) if given is not None else None


def _key(given: str) -> VerifierKey:
    """The key itself, or the file that it stands in.  Raises BadParameter."""
    text = given
    if given.count("+") < _PLUSES or Path(given).exists():
        try:
            with Path(given).open("rb") as file:
                text = file.read(_MAX_KEY_BYTES).decode("utf-8", "replace")
        except OSError as error:
            raise click.BadParameter(f"{visible(given, 200)}: {error.strerror}") from None
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    try:
        return VerifierKey.parse(lines[0] if len(lines) == 1 else "")
    except UnusableNoteKey as fault:
        raise click.BadParameter(str(fault)) from None


_key_option = click.option(
    "--key",
    "verifier",
    required=True,
    metavar="PUB",
    callback=_read_key,
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
    progress = _Progress()
    try:
        verdict = verify_log(folder, verifier, kept, progress)
    except UnusableInput as fault:
        raise _Unusable(fault) from None
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
    callback=_read_key,
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
        raise _Unusable(fault) from None
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
        raise _Unusable(f"{proof}: {error.strerror}") from None
    found = Proof.parse(text)
    checkpoint = check_proof(found, verifier) if isinstance(found, Proof) else found
    if isinstance(checkpoint, BadProof) or isinstance(found, BadProof):
        why = checkpoint.why if isinstance(checkpoint, BadProof) else ""
        raise click.ClickException(f"nothing is proved: {why}")
    if form == "json":
        click.echo(found.record)
    else:
        click.echo(proof_words(found, checkpoint))


class _Progress:
    """A line on a terminal that says how far it is."""

    def __init__(self) -> None:
        self._is_shown = sys.stderr.isatty()
        self._said_at = time.monotonic()

    def __call__(self, done: int, size: int) -> None:
        if self._is_shown and time.monotonic() - self._said_at > _PROGRESS_S:
            self._said_at = time.monotonic()
            click.echo(f"\r{done * 100 // max(size, 1)} % of {size / 1e6:,.0f} MB", err=True, nl=False)

    def clear(self) -> None:
        if self._is_shown:
            click.echo("\r\x1b[K", err=True, nl=False)


def _key_beside(folder: Path) -> VerifierKey:
    path = folder / "key.pub"
    if not path.exists():
        raise click.UsageError(f"there is no {path}; name the verifier key by --key")
    return _key(str(path))


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
