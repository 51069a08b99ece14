"""The pack `secrets`: keys, tokens and private keys in any argument, at any depth, and in the names of members.

A name stands before its text when the text is looked at: many secrets are told by what they are called alone.
"""

import re
from base64 import b64decode
from collections.abc import Iterable
from itertools import islice
from typing import Final

import re2  # type: ignore[import-untyped]  # ships no types

from callgate.screening.pack_terms import UNCLEAR, Declared, Pack, rules_with
from callgate.screening.pack_walk import Contents, contents_of
from callgate.screening.personal import TooLong, detector_of
from callgate.wire.json_strict import JsonObject

SECRETS: Final = Pack(
    "secrets",
    1,
    "Secrets in any argument: keys of well-known formats, tokens, private keys, what is called a secret",
    rules_with(
        {
            "secret": "an argument or its name holds a secret",
            "encoded_secret": "an argument holds a secret in base64",
        },
        declared=False,
    ),
)

_SECRET: Final = frozenset({"secret"})
# 24 characters are 18 bytes, less than any secret that is told by its format.
_BASE64: Final = re2.compile(r"[A-Za-z0-9+/_-]{24,}")
# In lines of 64 or 76, as RFC 7468 and RFC 2045 break them.
_LINES: Final = re.compile(r"[A-Za-z0-9+/_-]{24,76}(?:\r?\n[A-Za-z0-9+/_=-]{1,76})+")
# Decoding takes a microsecond each; a call that has more is looked at no further, and that is told.
MAX_ENCODED: Final = 1000
_URL_SAFE: Final = str.maketrans("-_", "+/")
_TEXT: Final = bytes(range(0x20, 0x7F)) + b"\t\r\n"
# One byte in this many may be something else.
_FEW: Final = 10


def look_for_secrets(_tool: str, arguments: JsonObject, _declared: Declared) -> set[str]:
    """The rules of secrets that the call breaks."""
    contents = contents_of(arguments)
    text = "\n".join(f"{name}={value}" if name and value else name or value for name, value in contents.named)
    runs = list(islice(_encoded(text, contents), MAX_ENCODED + 1))
    broken = set() if contents.is_whole and len(runs) <= MAX_ENCODED else {UNCLEAR}
    return broken | _look("secret", text) | _look("encoded_secret", "\n".join(_decoded(runs)))


def _encoded(text: str, contents: Contents) -> Iterable[str]:
    """What may be base64."""
    for _, value in contents.named:
        if "\n" in value and _LINES.fullmatch(value.strip()):
            yield "".join(value.split())
    for run in _BASE64.finditer(text):
        yield run[0]


def _look(code: str, text: str) -> set[str]:
    try:
        return {code} if text and detector_of(_SECRET, ()).find(text) else set()
    except TooLong:
        return {UNCLEAR}


def _decoded(runs: Iterable[str]) -> Iterable[str]:
    """What the runs are as base64, where that is text for the most part."""
    for run in runs:
        letters = run.rstrip("=").translate(_URL_SAFE)
        # RFC 4648, 4: a last group has two, three or four characters.
        whole = letters[:-1] if len(letters) % 4 == 1 else letters
        data = b64decode(whole + "=" * (-len(whole) % 4))
        if len(data.translate(None, _TEXT)) * _FEW <= len(data):
            yield data.decode("latin-1")
