"""A decision that really happened: found in the log, with the policy and the arguments of then where they can be had."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from callgate.audit.chain import Kind
from callgate.audit.entries import Entry
from callgate.audit.lookup import MAX_FOUND, MIN_ID_CHARS, IdName, ids_beginning, is_id, policy_record
from callgate.audit.reading import UnreadableLog, find_entries, read_last, read_records
from callgate.audit.retrace import RetracedRule, known_call, retraced
from callgate.audit.story import findings_of
from callgate.cli.files import FileProblems
from callgate.cli.kept import identities_of, kept_arguments, kept_policy
from callgate.cli.log_options import CannotShow, log_folder
from callgate.policy.compile import Policy
from callgate.policy.model import MORE_RULES
from callgate.policy.recorded import RecordedCall
from callgate.policy_files import policy_files
from callgate.telemetry.visible import visible
from callgate.trace import Finding
from callgate.wire.json_strict import JsonObject
from callgate.wire.members import number_of, text_of

_FLAGS: Final[dict[IdName, str]] = {"decision": "--decision", "trace": "--trace-id"}
_SHOWN_CHARS: Final = 200


@dataclass(frozen=True, slots=True)
class Happened:
    """What the log tells of one decision.

    `rules`: what the policy of then says to the call, as far as that is known; None where the policy was not asked or
    cannot be had.  `policy_from`: where its text was found, "" where it was not.  `arguments`: as they were sent, None
    where they are not known.  `notes`: what is not known and why, and what the record and the policy disagree about.
    `approval`: what people were asked and said, record by record.
    """

    entry: Entry
    rules: tuple[RetracedRule, ...] | None
    policy_from: str
    arguments: JsonObject | None
    notes: tuple[str, ...]
    approval: tuple[Entry, ...] = ()

    @property
    def findings(self) -> dict[str, Finding]:
        """What was found on each rule at the time, by its id."""
        return {finding.rule: finding for finding in findings_of(self.entry)}


@dataclass(frozen=True, slots=True)
class RecordedFlags:
    """The flags about a decision that happened; None: not given."""

    decision: str | None
    trace_id: str | None
    log: str | None
    identity: str | None

    @property
    def is_asked(self) -> bool:
        """Whether one is asked for.  Raises UsageError for flags that make no question."""
        if self.decision is not None and self.trace_id is not None:
            raise click.UsageError("--decision and --trace-id exclude each other")
        is_asked = self.decision is not None or self.trace_id is not None
        if not is_asked and (self.log is not None or self.identity is not None):
            raise click.UsageError("--log and --identity are about a decision; name one by --decision or --trace-id")
        return is_asked

    def found(self, config: Path | None, policies: tuple[str, ...]) -> Happened:
        """What the log tells of it.  Raises ClickException: exit code 2 for a log that cannot be read."""
        identity = Path(self.identity) if self.identity is not None else None
        try:
            folder = log_folder(Path(self.log) if self.log is not None else None, config)
            name: IdName = "decision" if self.decision is not None else "trace"
            return happened(folder, find(folder, name, self.decision or self.trace_id or ""), policies, identity)
        except UnreadableLog as fault:
            raise CannotShow(fault) from None
        except OSError as fault:
            raise click.ClickException(f"cannot read what was recorded: {fault}") from None


def _the_id(folder: Path, name: IdName, given: str) -> str:
    """The whole id of which `given` is the beginning.  Raises UsageError; blocks."""
    beginning = given.strip().lower()
    if not is_id(beginning):
        hint = f"an id, or its first characters: {MIN_ID_CHARS} to 32 hexadecimal digits"
        raise click.BadParameter(f"{visible(given, 40)!r} is not {hint}", param_hint=_FLAGS[name])
    found = ids_beginning(folder, name, beginning)
    if len(found) == 1:
        return found[0]
    if not found:
        raise click.UsageError(f"the log in {folder} has no {name} {beginning}; {_reach(folder)}")
    more = " and more" if len(found) >= MAX_FOUND else ""
    raise click.UsageError(
        f"{name} {beginning} could be any of {', '.join(each[:_SHOWN_CHARS] for each in found)}{more}; write more of it"
    )


def find(folder: Path, name: IdName, given: str) -> Entry:
    """The one request of that decision or trace id.  Raises UsageError; blocks."""
    entries = find_entries(folder, name, _the_id(folder, name, given))
    if len({entry.decision for entry in entries}) > 1:
        lines = "\n".join(f"  {_line(entry)}" for entry in entries)
        raise click.UsageError(f"the trace holds {len(entries)} decisions; name one by --decision:\n{lines}")
    return entries[-1]


def happened(folder: Path, entry: Entry, policies: Sequence[str], identity: Path | None) -> Happened:
    """All that can be known of it.  Blocks.  Raises ClickException for a policy or a key that is not the right one."""
    arguments = kept_arguments(folder, entry, identities_of(identity))
    notes = [arguments] if isinstance(arguments, str) and arguments else []
    known_arguments = arguments if isinstance(arguments, dict) else None
    known = known_call(entry, known_arguments)
    policy = _policy(folder, entry, policies) if isinstance(known, RecordedCall) else known
    if isinstance(policy, str) or isinstance(known, str):
        return Happened(entry, None, "", known_arguments, (*notes, str(policy)), _approval(folder, entry))
    rules = retraced(policy, known)
    source = "given by --policy" if policies else "as kept in the log"
    notes += _disagreements(entry, rules)
    return Happened(entry, rules, source, known_arguments, tuple(notes), _approval(folder, entry))


def _approval(folder: Path, entry: Entry) -> tuple[Entry, ...]:
    if not is_id(entry.approval):
        return ()
    found = find_entries(folder, "approval", entry.approval, others=frozenset({Kind.APPROVAL.value}))
    return tuple(each for each in found if each.kind == Kind.APPROVAL)


def _reach(folder: Path) -> str:
    first = next(read_records(folder), None)
    last = next(read_last(folder), None)
    if first is None or last is None:
        return "it holds no request yet"
    return f"it reaches from {text_of(first, 'time')} to {last.time_text}"


def _line(entry: Entry) -> str:
    words = f"{entry.decision}  {entry.time_text}  {entry.method} {entry.tool} on {entry.server}: {entry.verdict}"
    return visible(" ".join(words.split(" ")), _SHOWN_CHARS)


def _policy(folder: Path, entry: Entry, given: Sequence[str]) -> Policy | str:
    """The policy that decided, or why it cannot be had.  One that is given has to be that one."""
    digest = text_of(entry.record, "policy")
    if not digest:
        return "the record names no policy"
    if given:
        return _given(given, digest)
    found = kept_policy(folder, policy_record(folder, digest, entry.seq))
    return found if isinstance(found, Policy) else f"the policy {digest} {found}; --policy can give it"


def _given(paths: Sequence[str], digest: str) -> Policy:
    policy = policy_files(Path(), paths).load()
    if isinstance(policy, tuple):
        raise FileProblems(policy)
    if policy.digest != digest:
        raise click.ClickException(
            f"the decision was made by the policy {digest}, and --policy gives {policy.digest}; what another policy would "
            "have decided is for `callgate policy diff` to tell"
        )
    return policy


def _disagreements(entry: Entry, rules: Sequence[RetracedRule]) -> Iterator[str]:
    """Where the record says otherwise than the policy does to a call like that: neither is to be taken for the other."""
    recorded = {finding.rule: finding.matched for finding in findings_of(entry)}
    is_complete = number_of(entry.record, "more_rules", 0) == 0 and MORE_RULES not in recorded
    for rule in rules:
        was = recorded.get(rule.rule.id, False if is_complete else None)
        if rule.applies is not None and was is not None and rule.applies != was:
            applied, says = ("applied", "does not") if was else ("did not apply", "does")
            yield f"the record says that {rule.rule.id} {applied}, and by this policy it {says}"
