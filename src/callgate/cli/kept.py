"""What a log's folder holds beside the records, read back and held against them: policies, and content for auditors."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import click

from callgate.audit.age import Identity
from callgate.audit.entries import Entry
from callgate.audit.identities import UnusableIdentity, load_identities
from callgate.audit.passed import Unread, read_passed
from callgate.audit.policies import NotKept, kept
from callgate.audit.recording import MessageKind
from callgate.policy.compile import Policy, load_policies
from callgate.policy_files import in_one_line
from callgate.wire.json_strict import JsonObject, canonical
from callgate.wire.members import text_of


def identities_of(path: Path | None) -> tuple[Identity, ...]:
    """An auditor's keys; a warning about a file that is open to others goes to standard error.

    Raises ClickException for a file that holds none.
    """
    if path is None:
        return ()
    try:
        found = load_identities(path)
    except UnusableIdentity as fault:
        raise click.ClickException(str(fault)) from None
    if found.warning:
        click.echo(f"warning: {found.warning}", err=True)
    return found.identities


def kept_policy(folder: Path, record: JsonObject | None) -> Policy | str:
    """The policy that a `policy` record names; or why it cannot be had, in words that follow "the policy … ".  Blocks."""
    if record is None:
        return "is in no record before it, so that its text is not known"
    files = kept(folder, record)
    if isinstance(files, NotKept):
        return files.why
    policy = load_policies(files.files)
    if isinstance(policy, tuple):
        return f"cannot be read by this version: {in_one_line(policy)}"
    return policy if policy.digest == files.digest else f"is not what was kept: that is {policy.digest}"


def kept_arguments(folder: Path, entry: Entry, identities: Sequence[Identity]) -> JsonObject | str:
    """The arguments that were decided on, or why they are not known; "" for a request that has none.  Blocks."""
    digest = text_of(entry.record, "args")
    if entry.method != "tools/call":
        return ""
    if not digest:
        return "the arguments are not known: not even their digest was recorded"
    if not text_of(entry.part("request"), "object"):
        return "the arguments are known by their digest alone: their content was not recorded"
    if not identities:
        return "the arguments were recorded, encrypted to the auditors: --identity FILE shows them"
    found = _recorded_arguments(folder, entry, identities)
    if isinstance(found, dict) and sha256(canonical(found)).hexdigest() != digest:
        return "the arguments that were recorded are not those that were decided on: their digest is another"
    return found


def _recorded_arguments(folder: Path, entry: Entry, identities: Sequence[Identity]) -> JsonObject | str:
    passed = next(read_passed(folder, entry, identities), None)
    if isinstance(passed, Unread):
        return f"the arguments cannot be read: {passed.words}"
    body = passed.body if passed is not None and passed.kind is MessageKind.REQUEST else None
    params = body.get("params") if isinstance(body, dict) else None
    arguments = params.get("arguments", {}) if isinstance(params, dict) else None
    return arguments if isinstance(arguments, dict) else "the arguments cannot be read: what was recorded is no call"
