"""The part `audit` of callgate.yaml: where the log of every request is, and how much it keeps.

Pure: it looks at the form of recipients and addresses and opens nothing.  docs/reference/audit.md has the log.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from callgate.addresses import Url
from callgate.config_values import MAX_PATH_CHARACTERS, Text
from callgate.policy.record_level import RecordLevel
from callgate.yaml_model import Items, LongSeconds, Seconds, StrictModel, text_form
from callgate.yaml_strict import Document, Problem, YamlPath, YamlValue

# Each content file is encrypted to every one of them, some 200 bytes and 0.1 ms each; auditors are few.
MAX_RECIPIENTS: Final = 32
# Each is written every second.
MAX_CHECKPOINT_PLACES: Final = 8
# A key name of C2SP signed-note stands in each checkpoint, twice.
MAX_ORIGIN_CHARACTERS: Final = 255
# A file of MAX_RECIPIENTS keys with comments many times over.
MAX_RECIPIENTS_BYTES: Final = 64 * 1024
_MIB: Final = 1024**2
_DAY_S: Final = 24 * 3600

WITHOUT_AUDIT: Final = (
    "no call goes out that is not on record; add 'audit: {folder: audit}', and make its key: callgate audit init"
)
NO_RECIPIENTS: Final = "needs somebody who can read it: give audit.recipients, such as the age1… that age-keygen prints"

# C2SP signed-note: a key name has no spaces and no '+'.
_ORIGIN: Final = re.compile(r"[!-*,-~]{1,255}")
# C2SP age, section "The X25519 recipient type": Bech32 of 32 bytes with the prefix "age".
_AGE: Final = re.compile(r"age1[02-9ac-hj-np-z]{58}")
# RFC 8709, section 4, in base64: 4 + 11 + 4 bytes that are always the same, then 32 of the key; and a comment.
_SSH: Final = re.compile(r"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI[A-Za-z0-9+/]{43}(?: [^\r\n]{1,255})?")
# Private keys of age, of its plugins, and of SSH and OpenSSL; never repeated in a message.
_SECRETS: Final = ("age-secret-key", "age-plugin-", "-----begin")


def _check_origin(text: str) -> str:
    if _ORIGIN.fullmatch(text) is None:
        raise ValueError(f"must be 1 to {MAX_ORIGIN_CHARACTERS} printable ASCII characters without spaces and '+'")
    return text


def _check_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be one line of printable characters")
    return text


def _check_place(text: str) -> str:
    return Url.parse(text).text if "://" in text else text


def _check_recipient(text: str) -> str:
    """A recipient or a path; what tries to be a key and is none is not taken for a path."""
    if text.lower().startswith(_SECRETS):
        raise ValueError("holds a private key: the gate must not be able to read what it records; give the public half")
    if text.lower().startswith("age1") and _AGE.fullmatch(text) is None:
        raise ValueError("is no X25519 recipient of age: age1 and 58 of 0-9 and a-z, without 1, b, i and o")
    if text.startswith(("ssh-", "ecdsa-", "sk-")) and _SSH.fullmatch(text) is None:
        raise ValueError("is no SSH key that age takes: it must be a whole 'ssh-ed25519 AAAA…', as in a .pub file")
    return text


def is_recipient(text: str) -> bool:
    """Whether a text of `audit.recipients` is a key itself, and no path."""
    return _AGE.fullmatch(text) is not None or _SSH.fullmatch(text) is not None


def parse_recipients(text: str, filename: str) -> tuple[str, ...] | tuple[Problem, ...]:
    """The keys of a recipients file of age: one a line, beside empty lines and comments; or what is wrong with it."""
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    told = [(number, line) for number, line in lines if line and not line.startswith("#")]
    problems = [Problem(filename, number, 1, words) for number, line in told if (words := _fault_of(line))]
    if not told or len(told) > MAX_RECIPIENTS:
        problems.append(Problem(filename, 0, 0, f"must hold 1 to {MAX_RECIPIENTS} recipients; it has {len(told)}"))
    return tuple(problems) or tuple(line for _, line in told)


def _fault_of(line: str) -> str:
    try:
        _check_recipient(line)
    except ValueError as fault:
        return f"the line {fault}"
    return "" if is_recipient(line) else "the line is no recipient of age: age1… or ssh-ed25519 …"


LogOrigin = Annotated[str, AfterValidator(_check_origin), text_form(_ORIGIN.pattern, "gate.acme.test/audit")]
Recipient = Annotated[
    Text,
    AfterValidator(_check_line),
    AfterValidator(_check_recipient),
    text_form(
        f"[^\r\n]{{1,{MAX_PATH_CHARACTERS}}}",
        "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
        "auditors.txt",
    ),
]
CheckpointPlace = Annotated[
    Text,
    AfterValidator(_check_line),
    AfterValidator(_check_place),
    text_form(f"[^\r\n]{{1,{MAX_PATH_CHARACTERS}}}", "https://witness.acme.test/callgate", "/mnt/other/checkpoint"),
]


class AuditConfig(StrictModel):
    """The log of every request.  Paths are relative to the folder of callgate.yaml.

    `key`: the folder's own `key.pem` unless it is given.  `origin`: `Config` fills it in.
    """

    folder: Text = "audit"
    key: Text | None = None
    origin: LogOrigin = ""
    record: RecordLevel = Field(
        default="digest", description="digests prove what was said to who has it, and tell nothing to who has not"
    )
    recipients: Items[Recipient] = Field(default=(), max_length=MAX_RECIPIENTS)
    checkpoint_to: Items[CheckpointPlace] = Field(default=(), max_length=MAX_CHECKPOINT_PLACES)
    segment_bytes: int = Field(
        default=64 * _MIB, ge=_MIB, le=1024 * _MIB, description="some 40,000 calls, searched in a second"
    )
    segment_age_s: Seconds = Field(
        default=_DAY_S, alias="segment_age", ge=60, le=31 * _DAY_S, description="a day is what people ask for"
    )
    keep_content_s: LongSeconds = Field(
        default=90 * _DAY_S,
        alias="keep_content",
        ge=3600,
        le=3660 * _DAY_S,
        description="most incidents are found within it, and what is gone cannot leak",
    )
    keep_content_bytes: int = Field(
        default=10 * 1024 * _MIB, ge=_MIB, le=1024**5, description="a disk that is full stops every call"
    )
    refusals_per_second: int = Field(
        default=50, ge=1, le=10_000, description="8 GB a day at the very most; honest agents are not refused so often"
    )


def recordings_for_nobody(document: Document) -> Iterator[Problem]:
    """Each level that is `full` where there are no recipients.  The document may have any shape."""
    if not is_without_recipients(document.value):
        return
    for path in _levels(document.value):
        yield document.problem(path, f"record: full {NO_RECIPIENTS}")


def is_without_recipients(value: YamlValue) -> bool:
    """Whether a configuration of any shape certainly names nobody who could read what is recorded in full."""
    audit = _dict(value).get("audit")
    # Another shape is a mistake of its own.
    return isinstance(audit, dict) and audit.get("recipients", []) == []


def _levels(value: YamlValue) -> Iterator[YamlPath]:
    """Where `record: full` stands."""
    if _dict(_dict(value).get("audit")).get("record") == "full":
        yield ("audit", "record")
    for name, server in _dict(_dict(value).get("servers")).items():
        if _dict(server).get("record") == "full":
            yield ("servers", name, "record")


def _dict(value: YamlValue) -> dict[str, YamlValue]:
    return value if isinstance(value, dict) else {}
