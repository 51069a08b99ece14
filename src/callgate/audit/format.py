"""The record format as people and other programs read it: each kind of record, field by field.

The published JSON Schema (docs/reference/audit-record.schema.json) and the tables of docs/reference/audit.md are made
from it.  The gate writes records without asking here; a test holds every record of every test against it.  Pure.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from callgate.audit.chain import Kind
from callgate.audit.entries import Status
from callgate.audit.record_parts import (
    ANSWER,
    ANSWERED,
    COMMON,
    COUNTS,
    COVER,
    FILES,
    FROM,
    HAPPENINGS,
    IDS,
    MORE,
    ON_BEHALF_OF,
    PATH,
    PERSON,
    REQUEST,
    TOKEN,
    VERDICTS,
    WHO,
)
from callgate.audit.shapes import (
    ADDRESS,
    COUNT,
    COUNTED,
    DIGEST,
    HASH,
    ID,
    LEVEL,
    NOTHING,
    REASON,
    REASON_OR_NONE,
    SERVER,
    SHORT_ID,
    STAGE,
    TEXT,
    TIME,
    WORKLOAD,
    Field,
    Schema,
    constant,
    list_of,
    may,
    number,
    object_schema,
    one_of,
    optional,
    pair,
    text,
)
from callgate.wire.json_strict import JsonValue

SCHEMA_FILENAME: Final = "audit-record.schema.json"
# What an outcome can say; the others are of requests that have none.
_STATUSES: Final = tuple(status for status in Status if status not in {Status.REFUSED, Status.ABSORBED, Status.OPEN})


@dataclass(frozen=True, slots=True)
class KindFormat:
    """One kind of record: when there is one, and its fields beside those that all have.

    `unless_closed`: fields that are there as well, unless `closed_by` is.
    """

    meaning: str
    fields: tuple[Field, ...] = ()
    unless_closed: tuple[str, ...] = ()


KINDS: Final[Mapping[Kind, KindFormat]] = MappingProxyType(
    {
        Kind.SEGMENT: KindFormat(
            "A file begins: all that it takes to go on from here without the files before it.",
            (
                Field("origin", TEXT, "The log's name in its checkpoints."),
                Field("segment", COUNT, "The file's number, from 0."),
                Field(
                    "peaks", list_of(HASH), "The perfect subtrees over all records before this one, the largest first."
                ),
                Field(
                    "open",
                    list_of(pair("pair", COUNT, ID), "list of pairs"),
                    "The intents without an outcome so far: number and decision.",
                ),
            ),
        ),
        Kind.START: KindFormat(
            "The gate started.",
            (
                Field("version", TEXT, "callgate's version."),
                Field("instance", SHORT_ID, "This process: random, new at each start."),
                Field("issuer", TEXT, "The `iss` of its tokens."),
                Field("key", TEXT, "The public key of its checkpoints (C2SP signed-note verifier key)."),
                Field("policy", DIGEST, "The policy in force."),
            ),
        ),
        Kind.STOP: KindFormat(
            "The gate stopped as it should. A log that ends without it is still written to, or was left by a crash."
        ),
        Kind.POLICY: KindFormat(
            "A policy came into force, before the first decision under it.",
            (
                Field("digest", DIGEST, "Of all its files, as decisions name it."),
                Field("files", FILES, "What it was read from."),
            ),
        ),
        Kind.INTENT: KindFormat(
            "A call is about to be forwarded. It is on disk before the first byte of the call goes out.",
            (
                *IDS,
                FROM,
                *WHO,
                *MORE,
                Field("reason", NOTHING, "Nothing: it was allowed."),
                Field("path", PATH, "The stages that it passed."),
                Field("token", TOKEN, "The token that it carries."),
                Field("record", LEVEL, "How much of request and answer goes on record."),
                may("request", REQUEST, "The message as it was sent to the tool server. Not where `record` is `none`."),
            ),
        ),
        Kind.OUTCOME: KindFormat(
            "What became of a call. One for each intent; one that is missing is written at the next start.",
            (
                Field("intent", COUNT, "The number of the intent."),
                Field("decision", ID, "As there."),
                Field("status", one_of(_STATUSES), "How it ended."),
                *optional(
                    (
                        Field("trace", ID, "As there."),
                        Field("reason", REASON_OR_NONE, "Why it did not end well."),
                        Field("took_us", COUNT, "From the intent to the end, in microseconds."),
                        Field("path", PATH, "The stages after the intent."),
                    )
                ),
                may("answer", ANSWER, "What was passed on to the agent."),
                may("http", number("number", 100), "The tool server's HTTP status."),
                may("hidden", COUNT, "Tools that were taken out of a list."),
                may("masked", list_of(COUNTED), "What was masked in the answer, by name. The values are nowhere."),
                may("deceptive", list_of(COUNTED), "What text in the answer could deceive with, taken out or not."),
                may("drifted", list_of(TEXT), "Tools that are not what was approved, and how they differ."),
                may("began", SHORT_ID, "The session that an `initialize` began."),
                may(
                    "closed_by",
                    one_of(("recovery",)),
                    "Written at the next start: what became of the call is not known.",
                ),
            ),
            unless_closed=("trace", "reason", "took_us", "path"),
        ),
        Kind.REFUSAL: KindFormat(
            "A connection or a request was refused before it was forwarded. What is known of it depends on how far it came.",
            (
                *IDS,
                may("address", ADDRESS, FROM.meaning),
                *optional(WHO),
                *MORE,
                Field("path", PATH, "The stages up to the one that refused."),
                Field("stage", STAGE, "The one that refused."),
                Field("reason", REASON, "Why."),
                Field("detail", text("text"), "The same for operators, in 400 characters at most."),
                may(
                    "record",
                    LEVEL,
                    "How much of the request goes on record: as if it had been allowed.",
                ),
                may("request", REQUEST, "The message as it was read. Not where `record` is `none`."),
                may("answered", ANSWERED, "What the agent was told. Left out where it could be told nothing."),
            ),
        ),
        Kind.ABSORBED: KindFormat(
            "A notification that ended at the gate: it was allowed, and no tool server is told of it.",
            (
                *IDS,
                FROM,
                *WHO,
                *MORE,
                Field("reason", NOTHING, "Nothing: it was allowed."),
                Field("path", PATH, "The stages that it passed."),
            ),
        ),
        Kind.SUMMARY: KindFormat(
            "Refusals that have no record of their own, because there were too many.",
            (
                Field("since", TIME, "From when …"),
                Field("until", TIME, "… until when."),
                Field("counts", COUNTS, "How many there were of each sort."),
            ),
        ),
        Kind.OUTAGE: KindFormat(
            "The log could not be written, and every call was refused. Written when that was over.",
            (
                Field("since", TIME, "From when …"),
                Field("until", TIME, "… until when."),
                Field("error", TEXT, "What was wrong: the system's name for it, such as `ENOSPC`, or `slow`."),
                Field("counts", COUNTS, "The refusals of that time."),
            ),
        ),
        Kind.RECOVERY: KindFormat(
            "The process before did not stop as it should, and what it left behind was put right.",
            (
                Field("orphans", COUNT, "Intents without an outcome. Each is closed by a record that follows."),
                may("cut_bytes", COUNT, "Bytes at the end that were no whole record, and were cut off."),
                may("cut_sha256", HASH, "Of those bytes."),
            ),
        ),
        Kind.CLOCK: KindFormat(
            "The machine's clock was set.",
            (Field("step_us", number("number", None), "By how many microseconds; backwards is negative."),),
        ),
        Kind.RETENTION: KindFormat(
            "Content files were deleted. The records that name them stay, and verify as before.",
            (
                Field("deleted", list_of(HASH), "Which."),
                Field("why", one_of(("age", "size")), "They were too old, or there was too much."),
            ),
        ),
        Kind.APPROVAL: KindFormat(
            "Something happened to a request for a person's approval. An answer is on disk before it counts.",
            (
                Field("happening", one_of(HAPPENINGS), "What: `agreed` is one of several who are needed."),
                Field("approval", ID, "The request's id, as the agent and the people who were asked know it."),
                may(
                    "binding",
                    HASH,
                    "What an approval is for and nothing else: the digest of what follows. Not where `record` is `none`.",
                ),
                Field("caller", WORKLOAD, "Who asked, as its SVID proved."),
                Field("server", SERVER, "The tool server."),
                Field("tool", TEXT, "The tool."),
                may(
                    "args",
                    HASH,
                    "Of the arguments as they go to the tool server, in their canonical form. Not where `record` is `none`.",
                ),
                may("definition", DIGEST, "Of the tool's definition, where the gate knows one."),
                Field("policy", DIGEST, "The policy that asked for it."),
                may("user", ON_BEHALF_OF, "On whose behalf."),
                Field("rules", list_of(TEXT), "The grants that ask for a person, by their ids."),
                may("session", SHORT_ID, "The session of the call that asked first."),
                may("asked_by", ID, "The decision of that call."),
                may("decision", ID, "Of the call that asked or used it just now."),
                may("trace", ID, "Its trace."),
                may("by", PERSON, "Who looked at it, or answered."),
                may("verdict", one_of(VERDICTS), "The answer."),
                may("reason", TEXT, "Why, in that person's words: 500 characters at most, credentials taken out."),
                may("cover", COVER, "What the person lets through beyond this one call."),
                may("calls", number("number, from 1", 1), "How many calls it lets through."),
                may("used", COUNT, "How many it did so far."),
                Field("expires", COUNT, "Until when it can be decided on and used, in Unix seconds."),
            ),
        ),
    }
)


def record_schema() -> Schema:
    """The JSON Schema (2020-12) of one record."""
    kinds: list[JsonValue] = [{"$ref": f"#/$defs/{kind}"} for kind in KINDS]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_FILENAME,
        "title": "callgate audit record",
        "description": "One line of the log of calls, format 1. docs/reference/audit.md says what is proved by it.",
        "oneOf": kinds,
        "$defs": {kind.value: _schema_of(kind) for kind in KINDS},
    }


def fields_of(kind: Kind) -> tuple[Field, ...]:
    """All fields of a record of that kind, those that every record has first."""
    what = Field("kind", constant(kind.value), "What the record tells of.")
    return (*COMMON, what, *KINDS[kind].fields)


def rows_of(kind: Kind) -> Iterator[tuple[str, str, str]]:
    """Each field for a table, those that every record has left out: its path, its form, its meaning."""
    yield from _rows("", KINDS[kind].fields, KINDS[kind].unless_closed)


def _rows(before: str, fields: Iterable[Field], also: Collection[str] = ()) -> Iterator[tuple[str, str, str]]:
    for field in fields:
        is_list = field.shape.schema.get("type") == "array"
        form = field.shape.words if field.always or field.name in also else f"{field.shape.words}, or left out"
        yield f"{before}{field.name}", form, field.meaning
        yield from _rows(f"{before}{field.name}{'[]' if is_list else ''}.", field.shape.fields)


def _schema_of(kind: Kind) -> JsonValue:
    made = {"description": KINDS[kind].meaning, **object_schema(fields_of(kind))}
    if also := KINDS[kind].unless_closed:
        return {**made, "anyOf": [{"required": ["closed_by"]}, {"required": [*also]}]}
    return made
