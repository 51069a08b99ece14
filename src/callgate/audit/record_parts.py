"""What records of several kinds have in common, and what stands within their fields.  Pure."""

from typing import Final

from callgate.audit.chain import FORMAT_VERSION
from callgate.audit.shapes import (
    ADDRESS,
    BOOLEAN,
    COUNT,
    COUNTED,
    DIGEST,
    HASH,
    ID,
    REASON,
    REASON_OR_NONE,
    SERVER,
    SHORT_ID,
    STAGE,
    STEP,
    TEXT,
    TIME,
    WORKLOAD,
    Field,
    constant,
    list_of,
    may,
    nested,
    number,
    one_of,
    pair,
)

COMMON: Final = (
    Field("v", constant(FORMAT_VERSION), "The version of this format."),
    Field("seq", COUNT, "The record's number, from 0, without gaps: the index of its leaf in the tree."),
    Field("prev", HASH, "The leaf hash of the record before; of the first record 64 zeros."),
    Field("time", TIME, "When it was written, by the clock of the machine: UTC, to the nanosecond."),
    Field("mono_us", COUNT, "The same by a clock that nobody can set, in microseconds from an arbitrary moment."),
)

COUNTS: Final = list_of(
    nested(
        Field("stage", STAGE, "Where they were refused."),
        Field("reason", REASON, "Why."),
        may("caller", WORKLOAD, "Who; left out where nobody proved who it was, or there were too many to tell."),
        Field("count", number("number, from 1", 1), "How many."),
    ),
    "list of objects",
)
RULES: Final = list_of(
    nested(
        Field("rule", TEXT, "Its id in the policy, or `default-deny`."),
        Field("kind", TEXT, "`grant`, `denial`, `shadow-grant`, `shadow-denial`, or `default`."),
        Field("matched", BOOLEAN, "Whether it applied."),
        Field("why", TEXT, "In one sentence."),
    ),
    "list of objects",
)
USER: Final = nested(
    Field("issuer", TEXT, "The `iss` of the user's token."),
    Field("subject", TEXT, "The `sub`."),
    Field("groups", list_of(TEXT), "The first 64 of the user's groups."),
)
SHADOW: Final = nested(
    Field("decision", one_of(("allow", "deny")), "What it would have been."),
    Field("reason", REASON_OR_NONE, "Why it would have been refused."),
    Field("rules", list_of(TEXT), "The rules in shadow that applied."),
)
TOKEN: Final = nested(
    Field("jti", TEXT, "Its `jti`, by which tool servers tell tokens apart."),
    Field("sha256", HASH, "Of the token as it was sent. The token itself is nowhere."),
    Field("aud", TEXT, "The tool server that it is good for."),
    Field("exp", COUNT, "Until when, in Unix seconds."),
    Field("scope", TEXT, "What it allows."),
)
REQUEST: Final = nested(
    Field("sha256", HASH, "Of the message: one line of JSON, without a line feed."),
    Field("bytes", COUNT, "Its size."),
    may("object", HASH, "The content file with the message: the SHA-256 of that file."),
)
ANSWERED: Final = nested(
    Field("http", number("number", 100), "The HTTP status."),
    may("rpc", number("number", None), "The JSON-RPC error's code. Left out where it was told as a tool's own error."),
)
ANSWER: Final = nested(
    may(
        "sha256",
        HASH,
        "Of all messages that were passed on, each followed by a line feed. Not where `record` is `none`.",
    ),
    Field("bytes", COUNT, "Their size together, without the line feeds."),
    Field("events", COUNT, "How many there were."),
    may("objects", list_of(HASH), "The content files with the messages, in order."),
)
FILES: Final = list_of(
    nested(
        Field("name", TEXT, "The file."),
        Field("sha256", HASH, "Of its bytes, as `sha256sum` prints it. Its text is in `policies/<sha256>.yaml`."),
    ),
    "list of objects",
)
PATH: Final = list_of(STEP)
APPROVED: Final = nested(
    Field("id", ID, "Its id, as `approval` records have it."),
    may("by", list_of(TEXT), "Who agreed, by name."),
    may("use", number("number, from 1", 1), "Which of the calls this is that it lets through."),
)
# What can happen to a request for approval, what a person can say to it, and how one proves who one is.
HAPPENINGS: Final = ("asked", "seen", "agreed", "approved", "denied", "used", "expired", "void")
VERDICTS: Final = ("approve", "deny")
MEANS: Final = ("oidc", "socket", "slack")
PERSON: Final = nested(
    Field("name", TEXT, "What the policy calls that person."),
    may("means", one_of(MEANS), "How it proved who it is. Not of one who only looked."),
    may("issuer", TEXT, "Its identity provider."),
    may("subject", TEXT, "The `sub` there."),
    may("uid", COUNT, "The user of the gate's machine that it is there, as the kernel said."),
    may("signed_in", COUNT, "When it signed in, in Unix seconds. Not of one who only looked."),
)
ON_BEHALF_OF: Final = nested(
    Field("issuer", TEXT, "The `iss` of the user's token."),
    Field("subject", TEXT, "The `sub`."),
)
COVER: Final = nested(
    Field("calls", number("number, from 1", 1), "So many calls …"),
    Field("seconds", number("number, from 1", 1), "… within so many seconds."),
)

IDS: Final = (
    Field("decision", ID, "The decision's id, as the refusal says it and the token has it (`txn`)."),
    Field("trace", ID, "The trace id."),
    Field("span", SHORT_ID, "The gate's own SERVER span."),
)
WHO: Final = (
    Field(
        "session",
        SHORT_ID,
        "What belongs together: a legacy MCP session, or else what one workload did for one user without a pause of 30 minutes; dry runs apart.",
    ),
    Field("caller", WORKLOAD, "The workload, as its SVID proved."),
    Field("leaf", HASH, "Of that certificate, in DER."),
    Field(
        "svid", pair("two numbers", COUNT, COUNT), "From when until when the certificate was valid, in Unix seconds."
    ),
    Field("server", SERVER, "The tool server, as `callgate.yaml` calls it."),
    Field("method", TEXT, "The MCP method."),
    Field("revision", TEXT, "The revision of MCP."),
    Field("size", COUNT, "Bytes of the request's body."),
    Field("policy", DIGEST, "The policy that decided."),
    Field("rules", RULES, "The rules that were looked at, those that applied first; 16 at most."),
)
MORE: Final = (
    may("mcp_session", SHORT_ID, "The legacy MCP session's name here. Its handle is in no record."),
    may("tool", TEXT, "The tool that was called."),
    may("args", HASH, "Of its arguments in their canonical form (RFC 8785). Not where `record` is `none`."),
    may("rpc", TEXT, "The JSON-RPC request's id, as text."),
    may("user", USER, "On whose behalf."),
    may("purpose", TEXT, "What the agent said that it was for. Its word, and no more."),
    may("definition", DIGEST, "Of the tool's definition that the call was held against, where the gate knows one."),
    may(
        "masked_arguments",
        list_of(COUNTED),
        "What was masked in the arguments, before anything else was done with them.",
    ),
    may("dry_run", BOOLEAN, "`true` where the agent only asked what would be decided."),
    may("more_rules", number("number, from 1", 1), "How many further rules were looked at."),
    may("shadow", SHADOW, "What the rules in shadow would have made of it."),
    may("approval", APPROVED, "Where a person had to agree: the request for approval."),
)
FROM: Final = Field("address", ADDRESS, "Where the request came from.")
