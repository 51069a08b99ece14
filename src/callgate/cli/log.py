"""`callgate log`: who called what, when, and how it was decided."""

import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final, TextIO

import click

from callgate.audit.chain import Kind
from callgate.audit.entries import REQUESTS, Entry
from callgate.audit.live import Live
from callgate.audit.query import COUNTING, Query
from callgate.audit.reading import (
    UnreadableLog,
    find_entries,
    follow,
    has_torn_end,
    read_entries,
    read_last,
    size_of,
    start_of,
)
from callgate.cli.log_filters import Filters, filter_options, query_of
from callgate.cli.log_forms import AsCsv, AsJson, AsOcsf, Form, TraceLinks
from callgate.cli.log_options import CannotShow, log_folder, log_options
from callgate.cli.log_table import AsTable, counts_text
from callgate.cli.progress import watched
from callgate.yaml_strict import shown

# A screenful; what is older is asked for.
_LAST_ON_TERMINAL: Final = 50
# As `tail -f` shows before it waits.
_LAST_BEFORE_FOLLOWING: Final = 10
_LOOK_BACK: Final = 100
_ALL: Final = "all"
# Soon enough for eyes, and nothing for the machine.
_POLL_S: Final = 0.25


def _read_count(ctx: click.Context, _param: click.Parameter, text: str | None) -> int | None:
    """A number; None for `all`."""
    if text is None and ctx.params["follows"]:
        return _LAST_BEFORE_FOLLOWING
    if text is None:
        return _LAST_ON_TERMINAL if sys.stdout.isatty() else None
    if text == _ALL:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise click.BadParameter(f"'{shown(text)}' is no number of entries, and not '{_ALL}'")
    return int(text)


@dataclass(slots=True)
class _View:
    """What goes out, and what there is to say below it."""

    query: Query
    form: Form
    out: TextIO
    counts: Counter[str] = field(default_factory=Counter)

    def show(self, entry: Entry) -> None:
        if entry.kind in COUNTING:
            self.counts += self.query.counted(entry)
        if self.query.matches(entry):
            self.out.write(self.form.line(entry))

    @property
    def others(self) -> frozenset[str]:
        """The kinds of records to read beside requests."""
        return (self.query.kinds - REQUESTS) | COUNTING


@click.command("log")
@log_options
@filter_options
@click.option(
    "-f", "--follow", "follows", is_flag=True, is_eager=True, help="Go on with new ones as they come, until Ctrl-C."
)
@click.option(
    "-n", "--last", callback=_read_count, metavar="N|all", help="The latest N alone.  [50 on a terminal, else all]"
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv", "ocsf"]),
    help="ocsf: API Activity events, for a SIEM.  [table on a terminal, else json]",
)
@click.option("--utc", is_flag=True, help="Times of the table in UTC, and not in the time of this place.")
@click.option("--trace-url", metavar="TEMPLATE", help="Link traces: https://jaeger.test/trace/{trace_id}")
def log_command(
    *,
    log: Path | None,
    config: Path | None,
    follows: bool,
    last: int | None,
    form: str | None,
    utc: bool,
    trace_url: str | None,
    **filters: str | bool | tuple[str, ...] | None,
) -> None:
    """Show what the gate has on record: each request, how it was decided and how it ended.

    What people were asked and said to a call stands between the requests, in the place where it happened.  Every filter
    that is given has to hold; one that is given several times holds with any of its values.  json has all
    of each record, and its outcome.  With --follow a call that takes long is shown while it is open, and again when it
    has ended.

    Exit status: 0 shown (perhaps nothing), 1 a configuration that is not good, 2 a wrong command line, or a log that
    cannot be read; what comes before the damage is shown.  Whether a log was changed: callgate audit verify.

    \b
      callgate log --decision deny --since 2h
      callgate log --agent 'spiffe://acme.test/ns/billing/**' --tool 'refund*' --format csv > refunds.csv
      callgate log --trace-id 4bf92f3577b34da6a3ce929d0e0e4736
    """  # noqa: D301  # click's \b
    folder = log_folder(log, config)
    query = query_of(Filters(**{name: value for name, value in filters.items() if value is not None}), time.time())  # type: ignore[arg-type]  # click's own types
    view = _View(query, _form(form, _links(trace_url), utc=utc), sys.stdout)
    try:
        if follows:
            _follow(folder, view, last or 0)
        else:
            _show(folder, view, last)
    except UnreadableLog as error:
        view.out.flush()
        raise CannotShow(error) from error
    view.out.flush()
    _print_below(folder, view)


def _links(template: str | None) -> TraceLinks | None:
    if template is None:
        return None
    try:
        return TraceLinks.parse(template)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--trace-url") from None


def _form(name: str | None, links: TraceLinks | None, *, utc: bool) -> Form:
    on_terminal = sys.stdout.isatty()
    match name or ("table" if on_terminal else "json"):
        case "csv":
            return AsCsv(links)
        case "ocsf":
            return AsOcsf()
        case "json":
            return AsJson(links)
        case _:
            return AsTable(shutil.get_terminal_size().columns if on_terminal else None, on_terminal, utc, links)


def _show(folder: Path, view: _View, last: int | None) -> None:
    view.out.write(view.form.head())
    if (name := _id_given(view.query)) is not None:
        for entry in find_entries(folder, name, getattr(view.query, name), others=view.others - COUNTING):
            view.show(entry)
    elif last is not None:
        _show_latest(folder, view, last)
    else:
        # Lines that appear are progress enough.
        for entry in watched(_within(folder, view), _far, wanted=not sys.stdout.isatty()):
            view.show(entry)


def _id_given(query: Query) -> str | None:
    """An id that leads to the few lines in which it stands."""
    return next((name for name in ("approval", "decision", "trace", "jti") if getattr(query, name)), None)


def _within(folder: Path, view: _View) -> Iterator[Entry]:
    """What may be wanted, in order; files that are too old are not opened, and none after the time has passed."""
    since = view.query.since
    start = start_of(folder, since.seconds) if since is not None else 0
    for entry in read_entries(folder, start=start, others=view.others):
        if view.query.is_past(entry):
            return
        yield entry


def _show_latest(folder: Path, view: _View, last: int) -> None:
    """Those that are wanted, in order, with what was counted meanwhile.  Says so where there are more."""
    found: list[Entry] = []
    try:
        has_more = _collect_latest(folder, view, last, found)
    finally:
        # Also what comes after a place where the log cannot be read.
        for entry in reversed(found):
            view.show(entry)
    if has_more:
        click.echo(f"the last {last} of more; -n {10 * max(1, last)} shows more, -n all everything", err=True)


def _collect_latest(folder: Path, view: _View, last: int, found: list[Entry]) -> bool:
    wanted = 0
    for entry in read_last(folder, others=view.others):
        if view.query.is_before(entry):
            return False
        matches = view.query.matches(entry)
        if matches and wanted == last:
            return True
        wanted += matches
        if matches or entry.kind in COUNTING:
            found.append(entry)
    return False


def _follow(folder: Path, view: _View, last: int) -> None:
    """Ends with Ctrl-C."""
    start = size_of(folder)
    # Those who look on want to begin now: where a filter leaves most out, there may be fewer than `last`.
    before = [entry for entry in islice(read_last(folder, others=view.others), _LOOK_BACK * last) if entry.seq < start]
    live = Live((entry for entry in before if entry.kind == Kind.INTENT and entry.outcome is None), others=view.others)
    view.out.write(view.form.head())
    wanted = [entry for entry in before if view.query.matches(entry)][:last]
    for entry in reversed(wanted):
        view.show(entry)

    def pause() -> bool:
        for entry in live.lasting(time.monotonic()):
            view.show(entry)
        view.out.flush()
        time.sleep(_POLL_S)
        return True

    try:
        for record in follow(folder, pause, start=start):
            if (told := live.record(record, time.monotonic())) is not None:
                view.show(told)
    except KeyboardInterrupt:
        return


def _far(number: int, entry: Entry) -> str:
    return f"{number:,} requests read, at {entry.time_text[:19]}Z"


def _print_below(folder: Path, view: _View) -> None:
    if view.counts:
        click.echo(f"and {counts_text(view.counts)} that were counted and have no record of their own", err=True)
    if has_torn_end(folder):
        click.echo("the log ends amid a record: the gate is writing it, or stopped before it was whole", err=True)
